"""Samplers for a model that is trained: a density of its codes, fitted afterwards.

A VAE generates from its prior, but its decoder has seen codes of the aggregate posterior
q(z) = mean_n q(z|x_n), and where the two differ its samples are poor; an autoencoder has no prior
at all. A sampler fits a density to the codes of the training data and generates from that, with the
model's own decoder. The model does not change.

Codes are points of a vector space here, each element standardised before the fit. On codes that lie
on a sphere the densities put mass beside it.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import random as python_random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfvae import random
from tfvae.latent import density
from tfvae.latent.codes import BATCH_SIZE, draw_codes
from tfvae.latent.density import CodeDensity
from tfvae.latent.seeding import seeded
from tfvae.models.examples import as_batch, check_choice
from tfvae.models.loading import load
from tfvae.models.vae import VAE
from tfvae.priors import Affine, Prior
from tfvae.saving import save_model

SAMPLER_FILE = "sampler.keras"
"""The name of a sampler in a run folder, beside `model.keras`."""

_FITS: dict[str, Callable[..., Prior]] = {
    "gaussian_mixture": density.gaussian_mixture,
    "flow": density.flow,
    "two_stage": density.two_stage,
}
KINDS = tuple(_FITS)


def fit_sampler(
    model: Any,
    x: Any,
    kind: str = "gaussian_mixture",
    num_draws: int = 1,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    **options: Any,
) -> Sampler:
    """Fits a density to a model's codes of its training data, and makes a sampler of it.

    Args:
        model: a built `tfvae.VAE`, or a `tfvae.Autoencoder`.
        x: the training data, `[N, *data_shape]`.
        kind: `"gaussian_mixture"`, fitted by expectation-maximisation (`pip install
            'tfvae[sklearn]'`); `"flow"`, a normalizing flow fitted by maximum likelihood; or
            `"two_stage"`, a second VAE, of codes.
        num_draws: draws of q(z|x) for each example; of an autoencoder its code is taken once.
        seed: fixes the draws, the weights and the order of the training.
        batch_size: how many examples are encoded at a time.
        **options: of the kind. A mixture: `num_components` (10), `covariance` (`"full"` or
            `"diagonal"`). A flow: `flow` (the kind of `tfvae.priors.NormalizingFlow`),
            `num_layers` (4), `hidden_units` ((64, 64)). Two stages: `latent_dim` (that of the
            model), `hidden` ((128, 128)), `num_samples` (100, behind a density). The last two:
            `epochs` (100), `fit_batch_size` (128), `learning_rate` (1e-3, falling to zero along a
            cosine), `verbose` (0).

    Returns:
        The sampler.

    Raises:
        ImportError: for a mixture, without scikit-learn.
        TypeError: if the model is none, or an option is not one of the kind's.
        ValueError: if the kind is unknown, the data has another shape, or there are too few codes,
            or all the same.

    Example:
        >>> from tfvae.models import Autoencoder
        >>> x = np.random.default_rng(0).random((50, 8, 8, 1), "float32")
        >>> model = Autoencoder.for_images((8, 8, 1), latent_dim=2, hidden=(16,))
        >>> sampler = fit_sampler(model, x, num_components=2)
        >>> sampler.sample(3, seed=0).shape, sampler.log_prob(model.transform(x)).shape
        ((3, 8, 8, 1), (50,))

    Reference:
        Ghosh, Sajjadi, Vergari, Black and Schölkopf (2020), From Variational to Deterministic
        Autoencoders, arXiv:1903.12436, for mixtures after the training ("ex-post density
        estimation"); Dai and Wipf (2019), Diagnosing and Enhancing VAE Models, arXiv:1903.05789,
        section 4, for the second stage.
    """
    check_choice("kind", kind, KINDS)
    _check_options(kind, options)
    batch, _ = as_batch(model, x)
    if isinstance(num_draws, bool) or not isinstance(num_draws, int) or num_draws < 1:
        raise ValueError(f"`num_draws` must be an integer of at least 1. Received: {num_draws!r}")
    repeats = num_draws if isinstance(model, VAE) else 1
    draws = [draw_codes(model, batch, batch_size, seed + i) for i in range(repeats)]
    codes = np.concatenate(draws)
    shift, scale = _standardisation(codes)
    rows = ((codes - shift) / scale).astype(np.float32)
    with seeded(seed):
        base = _FITS[kind](rows, **options)
    shape = model.latent_shape
    prior = Affine(base, shape, shift.reshape(shape), scale.reshape(shape))
    return Sampler(model, CodeDensity(prior, kind, fingerprint(model)))


def _check_options(kind: str, options: dict[str, Any]) -> None:
    known = list(inspect.signature(_FITS[kind]).parameters)[1:]
    unknown = sorted(set(options).difference(known))
    if unknown:
        raise TypeError(
            f"The options of kind={kind!r} are {', '.join(known)}. Received: {', '.join(unknown)}"
        )


def _standardisation(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the deviation of each element; 1 for one that is constant up to rounding."""
    if not np.isfinite(codes).all():
        raise ValueError("The codes must be finite. Received: codes with NaN or infinity")
    shift, deviation = codes.mean(axis=0), codes.std(axis=0)
    varies = deviation > 1e-6 * np.maximum(np.abs(shift), 1e-6)
    if len(codes) < 2 or not varies.any():
        raise ValueError(
            "A density needs several codes that differ. "
            f"Received: {len(codes)} code(s), of standard deviation {deviation.max():g}"
        )
    return shift, np.where(varies, deviation, 1.0)


def load_sampler(path: str | os.PathLike[str], model: Any) -> Sampler:
    """Loads a sampler, with the checks of `tfvae.load`.

    Args:
        path: the file, or the run folder with `sampler.keras` in it.
        model: the model that it was fitted on.

    Returns:
        The sampler, bit for bit.

    Raises:
        ValueError: if the file is refused, is not a sampler, or is that of another model or of
            other weights.

    Example:
        >>> import tempfile
        >>> from tfvae.models import Autoencoder
        >>> x = np.random.default_rng(0).random((50, 6), "float32")
        >>> model = Autoencoder.for_images((6,), latent_dim=2, hidden=(16,))
        >>> path = fit_sampler(model, x, num_components=2).save(tempfile.mkdtemp())
        >>> path.name, load_sampler(path, model).kind
        ('sampler.keras', 'gaussian_mixture')
    """
    path = Path(path)
    if path.is_dir():
        path = path / SAMPLER_FILE
    fitted = load(path, compile=False)
    if not isinstance(fitted, CodeDensity):
        raise ValueError(
            f"The file holds no sampler, but a {type(fitted).__name__}. Received: {str(path)!r}"
        )
    return Sampler(model, fitted)


class Sampler:
    """Generates with a model's decoder from a density that was fitted to its codes.

    Made by `fit_sampler` or `load_sampler`.

    Args:
        model: the model.
        fitted: the density, with the fingerprint of the model.

    Attributes:
        model: the model.
        prior: the density of codes, a layer of `tfvae.priors`.
        kind: how it was fitted.

    Raises:
        ValueError: if the density was fitted on another model or on other weights.
    """

    def __init__(self, model: Any, fitted: CodeDensity) -> None:
        found = fingerprint(model)
        if found != fitted.fingerprint:
            raise ValueError(
                "The sampler was fitted on another model, or on other weights of it: fit one on "
                f"this model, `fit_sampler(model, x)`. Received: a model of fingerprint {found}, a "
                f"sampler of {fitted.fingerprint}"
            )
        self.model = model
        self.prior: Prior = fitted.prior
        self.kind = fitted.kind
        self._fitted = fitted
        # One graph for batches of every size, so that a loaded sampler rounds as this one does.
        seeds = tf.TensorSpec([None, 2], tf.int32)
        codes = tf.TensorSpec([None, *self.prior.event_shape], tf.float32)
        self._draw = _compiled(self.prior.draw, seeds)
        self._decode = _compiled(lambda rows: model.decode(self.prior.draw(rows)).mean(), seeds)
        self._log_prob = _compiled(lambda z: self.prior().log_prob(z), codes)

    def sample(self, n: int, seed: int | None = None, batch_size: int = BATCH_SIZE) -> np.ndarray:
        """Generates examples: codes from the density, decoded to the mean of p(x|z).

        A seed means one set of examples; example `i` is the same whatever `n` is.

        Args:
            n: number of examples.
            seed: an integer; drawn from Python's generator if `None`.
            batch_size: how many examples are held at a time.

        Returns:
            `[n, *data_shape]`.

        Raises:
            ValueError: if `n` is not a positive integer.
        """
        return _in_batches(self._decode, _row_seeds(n, seed), batch_size)

    def sample_codes(
        self, n: int, seed: int | None = None, batch_size: int = BATCH_SIZE
    ) -> np.ndarray:
        """The codes that `sample` decodes, float32 `[n, *latent_shape]`; arguments as there."""
        return _in_batches(self._draw, _row_seeds(n, seed), batch_size)

    def log_prob(self, z: Any, batch_size: int = BATCH_SIZE) -> np.ndarray:
        """The log-density of codes, in nats.

        That of two stages is an importance-weighted estimate; see `tfvae.priors.SecondStage`.

        Args:
            z: codes `[N, *latent_shape]`.
            batch_size: how many codes are held at a time.

        Returns:
            float32 `[N]`.

        Raises:
            ValueError: if the codes have another shape, or there are none.
        """
        z = np.asarray(z, np.float32)
        if z.shape[1:] != self.prior.event_shape or not len(z):
            raise ValueError(
                f"Codes of this model have the shape [N, {self.prior.event_shape}]. "
                f"Received: shape {z.shape}"
            )
        return _in_batches(self._log_prob, z, batch_size)

    def as_vae(self) -> VAE:
        """The VAE with the density in place of its prior: it shares the networks of the model.

        It samples the examples of the sampler, is saved as any other model and is exported with
        `sample` for every format.

        Raises:
            TypeError: for an autoencoder, which has no posterior.
        """
        if not isinstance(self.model, VAE):
            raise TypeError(
                "Only a VAE has a posterior to stand beside the density. "
                f"Received: {type(self.model).__name__}"
            )
        return VAE(self.model.encoder, self.model.decoder, prior=self.prior)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the density, without the model, to a `.keras` file: all of it or nothing.

        Args:
            path: a file name ending in `.keras`, or a run folder, which gets `sampler.keras`.

        Returns:
            The path written.

        Raises:
            ValueError: if the name has another ending.
        """
        path = Path(path)
        return save_model(self._fitted, path / SAMPLER_FILE if path.is_dir() else path)


def fingerprint(model: Any) -> str:
    """What tells one trained model from another: SHA-256 of the networks' weights, in hexadecimal.

    Whole numbers, which count draws, are left out: they change with every call.

    Args:
        model: a built model of tfvae.
    """
    shapes = tuple(map(int, model.data_shape)), tuple(map(int, model.latent_shape))
    digest = hashlib.sha256(repr(shapes).encode())
    for weight in (*model.encoder.weights, *model.decoder.weights):
        value = np.asarray(weight)
        if value.dtype.kind not in "iu":
            digest.update(repr(value.shape).encode() + value.tobytes())
    return digest.hexdigest()


def _compiled(fn: Callable, spec: tf.TensorSpec) -> Callable:
    return tf.function(fn, input_signature=[spec], autograph=False)


def _row_seeds(n: int, seed: int | None) -> np.ndarray:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise ValueError(f"`n` must be an integer of at least 1. Received: {n!r}")
    return random.seeds(python_random.getrandbits(31) if seed is None else seed, int(n))


def _in_batches(fn: Callable, rows: np.ndarray, batch_size: int) -> np.ndarray:
    parts = [
        fn(tf.convert_to_tensor(rows[start : start + batch_size])).numpy()
        for start in range(0, len(rows), batch_size)
    ]
    return np.concatenate(parts)
