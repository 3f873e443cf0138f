"""Walks through the latent space: between two images, and along one dimension.

There is no geodesic here. The shortest path in the metric that a decoder induces (Arvanitidis,
Hansen and Hauberg 2018, arXiv:1710.11379) stays near the data only if the decoder's variance grows
away from it; the usual decoder has one scale for all codes, so that a geodesic is free to cut
through regions without data. It also costs an optimisation for each pair, and on the faces of this
package its pictures could not be told from those of the straight line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfvae import random
from tfvae.latent.codes import BATCH_SIZE, decode_means, draw_codes, encode_means
from tfvae.metrics.dimensions import activity
from tfvae.models.examples import as_batch, check_choice

METHODS = ("linear", "spherical")
# Where the codes of a prior are counted, in draws of it; a quantile is then good to about 0.02.
_PRIOR_DRAWS = 8192
# Below this sine two directions are one, and the sphere's formula divides by zero.
_PARALLEL = 1e-6


def interpolate(
    model: Any,
    a: Any,
    b: Any,
    steps: int = 8,
    method: str = "linear",
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """Decodes points on a path between the codes of two images, or of N pairs.

    `"linear"` is the straight line. Under a normal prior in many dimensions the middle of a
    straight line is nearer to the origin than codes ever are; `"spherical"` goes around it instead:

        z(t) = sin((1 - t) w) / sin(w) z(0) + sin(t w) / sin(w) z(1),    w = the angle between them.

    Args:
        model: a built model of tfvae.
        a: one example `data_shape`, or `[N, *data_shape]`.
        b: as `a`.
        steps: number of points, the ends included; at least 2.
        method: `"linear"` or `"spherical"`. Codes that point the same way, or opposite ways, are
            joined by a straight line.
        batch_size: how many codes are decoded at a time.

    Returns:
        float32, `[steps, *data_shape]` for one pair, `[N, steps, *data_shape]` for N.

    Raises:
        ValueError: if the shapes differ, `steps` is below 2 or the method unknown.

    Example:
        >>> from tfvae.models import VAE
        >>> vae = VAE.for_images((8, 8, 1), latent_dim=2, hidden=(16,))
        >>> a, b = np.zeros((8, 8, 1), "float32"), np.ones((8, 8, 1), "float32")
        >>> interpolate(vae, a, b, steps=5, method="spherical").shape
        (5, 8, 8, 1)

    Reference:
        White (2016), Sampling Generative Networks, arXiv:1609.04468, section 2.
    """
    check_choice("method", method, METHODS)
    first, single = as_batch(model, a, "a")
    last, _ = as_batch(model, b, "b")
    if np.shape(a) != np.shape(b) or isinstance(steps, bool) or steps < 2:
        raise ValueError(
            "`interpolate` needs two arrays of one shape and at least 2 steps. "
            f"Received: shapes {np.shape(a)} and {np.shape(b)}, steps={steps!r}"
        )
    start, end = encode_means(model, first, batch_size), encode_means(model, last, batch_size)
    t = np.linspace(0.0, 1.0, steps)[:, None]
    weigh = _linear if method == "linear" else _spherical
    codes = np.stack([weigh(z0, z1, t) for z0, z1 in zip(start, end, strict=True)])
    return _frames(model, codes, single, batch_size)


def _linear(start: np.ndarray, end: np.ndarray, t: np.ndarray) -> np.ndarray:
    return (1 - t) * start + t * end


def _spherical(start: np.ndarray, end: np.ndarray, t: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(start) * np.linalg.norm(end)
    cosine = float(start @ end) / lengths if lengths else 1.0
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    if np.sin(angle) < _PARALLEL:
        return _linear(start, end, t)
    return (np.sin((1 - t) * angle) * start + np.sin(t * angle) * end) / np.sin(angle)


def traverse(
    model: Any,
    x: Any,
    dimension: int,
    quantiles: int | Sequence[float] = 9,
    images: Any = None,
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """Moves one dimension of an image's code through its quantiles; the others stay at their mean.

    Args:
        model: a built model of tfvae.
        x: one example `data_shape`, or `[N, *data_shape]`.
        dimension: which number of the code, counted in the flattened code.
        quantiles: the probabilities in (0, 1) to stop at, or a number n of them, which stands for
            (k + 1/2) / n with k = 0, ..., n - 1.
        images: `[M, *data_shape]`; the quantiles are then those of the aggregate posterior, of
            draws of q(z|x) for these images. `None` takes the prior's; an autoencoder has none.
        batch_size: how many examples are held at a time.

    Returns:
        float32, `[steps, *data_shape]` for one example, `[N, steps, *data_shape]` for N.

    Raises:
        TypeError: if an autoencoder gets no `images`.
        ValueError: if the dimension does not exist or a probability is not in (0, 1).

    Example:
        >>> from tfvae.models import VAE
        >>> vae = VAE.for_images((8, 8, 1), latent_dim=2, hidden=(16,))
        >>> traverse(vae, np.zeros((8, 8, 1), "float32"), dimension=1, quantiles=5).shape
        (5, 8, 8, 1)
    """
    batch, single = as_batch(model, x)
    mean = encode_means(model, batch, batch_size)
    size = mean.shape[1]
    if isinstance(dimension, bool) or not 0 <= dimension < size:
        raise ValueError(f"`dimension` must lie in [0, {size}). Received: {dimension!r}")
    probabilities = _probabilities(quantiles)
    values = np.quantile(_reference(model, images, batch_size)[:, dimension], probabilities)
    codes = np.repeat(mean[:, None], len(values), axis=1)
    codes[:, :, dimension] = values
    return _frames(model, codes, single, batch_size)


def _probabilities(quantiles: Any) -> np.ndarray:
    if isinstance(quantiles, (int, np.integer)) and quantiles >= 1:
        return (np.arange(quantiles) + 0.5) / quantiles
    probabilities = np.asarray(quantiles, np.float64)
    inside = probabilities.ndim == 1 and probabilities.size
    if not inside or not ((probabilities > 0) & (probabilities < 1)).all():
        raise ValueError(
            "`quantiles` must be a number of steps of at least 1, or probabilities in (0, 1). "
            f"Received: {quantiles!r}"
        )
    return probabilities


def _reference(model: Any, images: Any, batch_size: int) -> np.ndarray:
    """Codes `[M, D]` whose quantiles a traversal follows."""
    if images is not None:
        return draw_codes(model, as_batch(model, images, "images")[0], batch_size)
    prior = getattr(model, "prior", None)
    if prior is None:
        raise TypeError(
            "An autoencoder has no prior to take quantiles from: pass `images`, whose codes have "
            f"some. Received: {type(model).__name__} and images=None"
        )
    draws = np.asarray(prior.draw(random.seeds(0, _PRIOR_DRAWS)), np.float64)
    return draws.reshape(_PRIOR_DRAWS, -1)


def _frames(model: Any, codes: np.ndarray, single: bool, batch_size: int) -> np.ndarray:
    """Decodes codes `[N, steps, D]`; one row of them if there was one example."""
    images = decode_means(model, codes.reshape(-1, codes.shape[-1]), batch_size)
    frames = images.reshape(*codes.shape[:2], *images.shape[1:])
    return frames[0] if single else frames


def most_active_dimensions(
    model: Any, images: Any, count: int | None = None, batch_size: int = BATCH_SIZE
) -> np.ndarray:
    """The dimensions of the code that say most about the images, the most active first.

    What is compared is their `tfvae.metrics.activity`, the variance of a posterior mean over the
    images.

    Args:
        model: a built model of tfvae.
        images: `[N, *data_shape]`, at least two.
        count: how many to return; all if `None`.
        batch_size: how many examples are held at a time.

    Returns:
        Numbers of dimensions, int64 `[count]`.

    Raises:
        ValueError: if there are fewer than two images, or fewer dimensions than `count`.

    Example:
        >>> from tfvae.models import VAE
        >>> vae = VAE.for_images((8, 8, 1), latent_dim=3, hidden=(16,))
        >>> images = np.random.default_rng(0).random((10, 8, 8, 1), "float32")
        >>> sorted(most_active_dimensions(vae, images).tolist())
        [0, 1, 2]

    Reference:
        Burda, Grosse and Salakhutdinov (2016), Importance Weighted Autoencoders,
        arXiv:1509.00519, section 5.2.
    """
    batch, _ = as_batch(model, images, "images")
    found = activity(model, batch, batch_size)
    if count is not None and not 1 <= count <= len(found):
        raise ValueError(f"`count` must lie in [1, {len(found)}]. Received: {count!r}")
    return np.argsort(-found, kind="stable")[:count]
