"""The latent one dimension at a time: which carry something, and how much."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfvae.metrics.posteriors import BATCH_SIZE, Posteriors, read_posteriors, require_posterior

THRESHOLD = 0.01
"""The activity above which Burda et al. call a dimension active."""


def activity(model: Any, x: Any, batch_size: int = BATCH_SIZE) -> np.ndarray:
    """How much the posterior mean of each dimension varies over the data, A = Var_x(E_q(z|x)[z]).

    Near 1 under a standard normal prior if a dimension carries information, near 0 if its posterior
    is the prior and the decoder does without it.

    Args:
        model: a built model of tfvae; of an autoencoder the codes count.
        x: data `[N, *data_shape]`, at least two examples.
        batch_size: how many examples are held at a time.

    Returns:
        float64 `[D]`, a dimension of the flattened code each. Where a posterior's mean has no
        closed form it is that of 256 draws, whose own error is subtracted.

    Raises:
        TypeError: if the model is none of tfvae.
        ValueError: if the data does not fit it, or there are fewer than two examples.

    Reference:
        Burda, Grosse and Salakhutdinov (2016), Importance Weighted Autoencoders,
        arXiv:1509.00519, section 5.2.
    """
    return activity_of(read_posteriors(model, x, batch_size=batch_size))


def activity_of(posteriors: Posteriors) -> np.ndarray:
    """As `activity`, of a pass that is done."""
    if len(posteriors.mean) < 2:
        raise ValueError("A variance over the data needs two examples. Received: 1 example")
    return np.maximum(posteriors.mean.var(axis=0) - posteriors.mean_error.mean(axis=0), 0.0)


def active_units(
    model: Any, x: Any, threshold: float = THRESHOLD, batch_size: int = BATCH_SIZE
) -> int:
    """The number of active dimensions, those whose `activity` exceeds a threshold.

    Args:
        model: as for `activity`.
        x: as for `activity`.
        threshold: in the square of a code's unit.
        batch_size: as for `activity`.

    Returns:
        A number of 0 to D.

    Raises:
        TypeError: if the model is none of tfvae.
        ValueError: if the data does not fit it, or there are fewer than two examples.

    Example:
        >>> from tfvae.models import VAE
        >>> vae = VAE.for_images((4,), latent_dim=3, hidden=(4,))
        >>> x = np.random.default_rng(0).random((10, 4), "float32")
        >>> active_units(vae, x, threshold=1e9), active_units(vae, x, threshold=-1.0)
        (0, 3)

    Reference:
        Burda, Grosse and Salakhutdinov (2016), Importance Weighted Autoencoders,
        arXiv:1509.00519, section 5.2.
    """
    return int((activity(model, x, batch_size) > threshold).sum())


def kl_per_dimension(
    model: Any, x: Any, num_samples: int = 1, seed: int = 0, batch_size: int = BATCH_SIZE
) -> np.ndarray:
    """The divergence of each dimension, E_x KL(q(z_j|x) || p(z_j)).

    In closed form where TFP has one, otherwise the mean of log q(z_j|x) - log p(z_j) over draws.
    Their sum is the rate.

    Args:
        model: a built `tfvae.VAE`; posterior and prior must have independent dimensions, without
            which the rate is no sum over them.
        x: data `[N, *data_shape]`.
        num_samples: number of draws.
        seed: fixes the draws.
        batch_size: how many examples are held at a time.

    Returns:
        float64 `[D]`, a dimension of the flattened code each, in nats.

    Raises:
        TypeError: if the model has no posterior.
        ValueError: if the dimensions of the posterior or of the prior may depend on each other, or
            the data does not fit the model.

    Example:
        >>> from tfvae.models import VAE
        >>> vae = VAE.for_images((4,), latent_dim=3, hidden=(4,))
        >>> kl_per_dimension(vae, np.ones((10, 4), "float32")).shape
        (3,)
    """
    require_posterior(model)
    kl = read_posteriors(model, x, num_samples, seed, batch_size).kl
    if kl is None:
        raise ValueError(
            "The divergence is a sum over dimensions only if those of the posterior and those of "
            "the prior are independent, as of `tfvae.layers.MultivariateNormalDiag` and "
            f"`tfvae.priors.StandardNormal`; `rate` measures any. Received: prior {model.prior!r}, "
            f"posterior {model.encoder!r}"
        )
    return kl.mean(axis=0)
