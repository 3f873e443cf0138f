"""Editing images by moving their codes along an attribute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tfvae.latent.attribute import Attribute
from tfvae.latent.codes import BATCH_SIZE, decode_means, encode_means
from tfvae.models.examples import as_batch

# A reading that bends is followed in so many steps, each of at most one standard deviation of the
# codes, so that no step trusts a gradient beyond the region that it was measured in.
_STEPS, _LONGEST_STEP = 8, 1.0
# Of the correlation matrix of readings: below it one attribute is a mixture of the others.
_SMALLEST_EIGENVALUE = 1e-6


def edit(
    model: Any,
    x: Any,
    attribute: Attribute,
    amount: Any,
    keep: Iterable[Attribute] = (),
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """Adds to an attribute of images and leaves others as they are.

    Decodes the mean of q(z|x) after it was moved by `move_codes`.

    Args:
        model: the model that the attributes were fitted with.
        x: `[N, *data_shape]`, or one example.
        attribute: what to change.
        amount: what to add to the label, or to the log-odds of a binary one: a number, or `[N]`
            numbers.
        keep: attributes whose readings must stay.
        batch_size: how many images are held at a time.

    Returns:
        float32, the shape of `x`: means of p(x|z), so a little outside the data's range where the
        likelihood allows it.

    Raises:
        ValueError: as `move_codes`.

    Example:
        >>> from tfvae.data import faces
        >>> from tfvae.models import VAE
        >>> images, labels = faces(64, size=16)
        >>> images = images.astype("float32") / 255
        >>> vae = VAE.for_images((16, 16, 3), latent_dim=4, hidden=(32,), likelihood="normal")
        >>> smile, age = (Attribute.fit(vae, images, labels[name]) for name in ("smile", "age"))
        >>> edit(vae, images[0], smile, amount=0.5, keep=[age]).shape
        (16, 16, 3)
    """
    batch, single = as_batch(model, x)
    codes = move_codes(encode_means(model, batch, batch_size), attribute, amount, keep)
    images = decode_means(model, codes, batch_size)
    return images[0] if single else images


def move_codes(
    codes: np.ndarray, attribute: Attribute, amount: Any, keep: Iterable[Attribute] = ()
) -> np.ndarray:
    """Moves codes so that one reading changes by an amount and those of `keep` do not.

    Many moves do that. To first order this one is the most probable, with the codes' covariance C
    and the directions of the readings as the rows of G:

        d = argmin d'C^-1 d  subject to  G d = change   =   C G'(G C G')^-1 change.

    The metric matters for all that is not labelled. The shortest move in the plain metric leaves
    the region where codes lie, and the decoder answers with artefacts; this one goes as codes of
    images with more of the attribute go on average, so that it leaves alone, with `keep` or
    without, what varies independently of the attribute. Where readings bend, it is taken in steps.

    Args:
        codes: `[N, D]`.
        attribute: what to change.
        amount: what to add to its mean reading: a number, or `[N]` numbers. A reading of degree 2
            that has no such value nearby goes as far as eight standard deviations of the codes.
        keep: attributes whose mean readings must stay.

    Returns:
        float64 `[N, D]`.

    Raises:
        ValueError: if there are not as many amounts as codes, if an attribute belongs to codes of
            another size, or if it cannot change alone, being a mixture of those of `keep`.
    """
    codes = np.asarray(codes, np.float64)
    readings = (attribute, *keep)
    for reading in readings:
        reading.check_size(codes.shape[-1])
    amounts = np.asarray(amount, np.float64)
    if amounts.shape not in ((), (len(codes),)) or not np.isfinite(amounts).all():
        raise ValueError(
            f"`amount` must be a finite number, or {len(codes)} of them, one for each example. "
            f"Received: {amount!r}"
        )
    goal = _scores(readings, codes)
    goal[:, 0] += amounts
    for left in range(_STEPS, 0, -1):
        change = (goal - _scores(readings, codes)) / left
        codes = codes + _most_probable_move(readings, codes, change)
    return codes


def _scores(readings: Sequence[Attribute], codes: np.ndarray) -> np.ndarray:
    return np.stack([reading.score(codes) for reading in readings], axis=1)


def _most_probable_move(
    readings: Sequence[Attribute], codes: np.ndarray, change: np.ndarray
) -> np.ndarray:
    """C G'(G C G')^-1 change, `[N, D]`, shortened to the longest step."""
    directions = np.stack([reading.direction(codes) for reading in readings], axis=1)
    reach = directions @ readings[0].code_covariance
    gram = reach @ np.swapaxes(directions, 1, 2)
    deviations = np.sqrt(np.einsum("nii->ni", gram))
    if not deviations.all():
        raise ValueError(
            "A reading does not depend on the code, so there is no way along it. "
            f"Received: standard deviations of readings {deviations.min(axis=0).tolist()}"
        )
    correlation = gram / (deviations[:, :, None] * deviations[:, None, :])
    if np.linalg.eigvalsh(correlation).min() < _SMALLEST_EIGENVALUE:
        raise ValueError(
            "The attribute is a mixture of those to keep, so none can change alone: take some out "
            f"of `keep`. Received: correlations of readings {correlation[0].round(3).tolist()}"
        )
    # In units of standard deviations, where the system is well scaled.
    solution = np.linalg.solve(correlation, (change / deviations)[..., None])[..., 0]
    length = np.sqrt(np.einsum("ni,nij,nj->n", solution, correlation, solution))
    shortened = solution * np.minimum(1.0, _LONGEST_STEP / np.maximum(length, 1e-12))[:, None]
    return np.einsum("nr,nrd->nd", shortened / deviations, reach)
