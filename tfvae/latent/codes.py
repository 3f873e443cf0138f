"""The codes of examples as matrices, for the linear algebra of this package.

A latent of any shape is one vector of D numbers here, and takes its own shape again when it is
decoded. A posterior is its mean and its covariance: where a distribution has no closed form of
them, as flows have none, they are those of draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from tensorflow_probability import distributions as tfd

from tfvae.distributions import plain
from tfvae.layers.seeded import unchanged_draws

BATCH_SIZE = 256
_DRAWS, _SEED = 256, (0, 0)


class Codes(NamedTuple):
    """What an encoder says of N examples.

    Attributes:
        mean: means of q(z|x), or an autoencoder's codes, float64 `[N, D]`.
        covariance: of q(z|x): `[N, D, D]`, or `[N, D]` where the dimensions are independent; zero
            for an autoencoder.
    """

    mean: np.ndarray
    covariance: np.ndarray

    def variance_along(self, directions: np.ndarray) -> np.ndarray:
        """The variance of the inner product of z and a direction of its own, `[N, D]`: `[N]`."""
        if self.covariance.ndim == 2:
            return np.sum(self.covariance * directions**2, axis=1)
        return np.einsum("ni,nij,nj->n", directions, self.covariance, directions)


def encode(model: Any, x: np.ndarray, batch_size: int = BATCH_SIZE) -> Codes:
    """The codes of data `[N, *data_shape]`."""
    parts = [_moments(model.encode(batch)) for batch in _batches(x, batch_size)]
    return Codes(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def encode_means(model: Any, x: np.ndarray, batch_size: int = BATCH_SIZE) -> np.ndarray:
    """The means alone, float64 `[N, D]`."""
    return encode(model, x, batch_size).mean


def draw_codes(
    model: Any, x: np.ndarray, batch_size: int = BATCH_SIZE, seed: int = 0
) -> np.ndarray:
    """A draw of q(z|x) for each example, float64 `[N, D]`; an autoencoder's codes as they are."""

    def draw(number: int, batch: np.ndarray) -> np.ndarray:
        q = model.encode(batch)
        # A seed of its own for each batch: the noise of no two examples is the same.
        z = plain(q).sample(seed=(seed, number)) if isinstance(q, tfd.Distribution) else q
        return _vectors(z, 1)

    with unchanged_draws(model):
        batches = enumerate(_batches(x, batch_size))
        return np.concatenate([draw(number, batch) for number, batch in batches])


def decode_means(model: Any, codes: np.ndarray, batch_size: int = BATCH_SIZE) -> np.ndarray:
    """The means of p(x|z) for codes `[N, D]`: float32 `[N, *data_shape]`."""
    codes = codes.astype(np.float32).reshape(-1, *model.latent_shape)
    return np.concatenate([model.decode(z).mean().numpy() for z in _batches(codes, batch_size)])


def _batches(x: np.ndarray, batch_size: int) -> list[np.ndarray]:
    return [x[start : start + batch_size] for start in range(0, len(x), batch_size)]


def _vectors(z: Any, leading: int) -> np.ndarray:
    """Flattens what follows the leading axes, in float64."""
    z = np.asarray(z, np.float64)
    return z.reshape(*z.shape[:leading], -1)


def _moments(q: Any) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(q, tfd.Distribution):
        codes = _vectors(q, 1)
        return codes, np.zeros_like(codes)
    q = plain(q)
    try:
        mean = _vectors(q.mean(), 1)
    except NotImplementedError:
        draws = _vectors(q.sample(_DRAWS, seed=_SEED), 2)
        centred = draws - draws.mean(axis=0)
        return draws.mean(axis=0), np.einsum("sni,snj->nij", centred, centred) / (_DRAWS - 1)
    if q.event_shape.rank == 1 and not isinstance(q, tfd.MultivariateNormalDiag):
        full = _or_none(q.covariance)
        if full is not None:
            return mean, np.asarray(full, np.float64)
    return mean, _vectors(q.variance(), 1)


def _or_none(fn: Callable[[], Any]) -> Any:
    try:
        return fn()
    except NotImplementedError:
        return None
