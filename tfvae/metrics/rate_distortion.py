"""The two terms of the evidence lower bound under the names of coding theory."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfvae.layers.seeded import unchanged_draws
from tfvae.metrics.posteriors import BATCH_SIZE, require_posterior
from tfvae.models.examples import as_batch


def rate(
    model: Any, x: Any, num_samples: int = 1, seed: int = 0, batch_size: int = BATCH_SIZE
) -> float:
    """The rate, R = E_x KL(q(z|x) || p(z)): what it costs to say the code, in nats an example.

    Args:
        model: a built `tfvae.VAE`.
        x: data `[N, *data_shape]`.
        num_samples: number of draws, which count where TFP has no closed form.
        seed: fixes the draws.
        batch_size: how many examples are held at a time.

    Returns:
        The mean over the examples, in nats.

    Raises:
        TypeError: if the model has no posterior.
        ValueError: if the data does not fit the model.

    Example:
        >>> from tfvae.models import VAE
        >>> vae = VAE.for_images((4,), latent_dim=2, hidden=(4,))
        >>> x = np.random.default_rng(0).random((10, 4), "float32")
        >>> bound = vae.elbo(x).mean()
        >>> bool(np.isclose(-rate(vae, x) - distortion(vae, x), bound, rtol=1e-5))
        True

    Reference:
        Alemi, Poole, Fischer, Dillon, Saurous and Murphy (2018), Fixing a Broken ELBO,
        arXiv:1711.00464.
    """
    return rate_and_distortion(model, x, num_samples, seed, batch_size)[0]


def distortion(
    model: Any, x: Any, num_samples: int = 1, seed: int = 0, batch_size: int = BATCH_SIZE
) -> float:
    """The distortion, D = -E_x E_q(z|x) log p(x|z): what the code leaves to be said of the data.

    The evidence lower bound is -(R + D). A model with all of it in D has not used its code.

    Args:
        model: as for `rate`.
        x: as for `rate`.
        num_samples: number of draws of the code for each example.
        seed: fixes the draws.
        batch_size: as for `rate`.

    Returns:
        The mean over examples and draws, in nats.

    Raises:
        TypeError: if the model has no posterior.
        ValueError: if the data does not fit the model.

    Reference:
        Alemi, Poole, Fischer, Dillon, Saurous and Murphy (2018), Fixing a Broken ELBO,
        arXiv:1711.00464.
    """
    return rate_and_distortion(model, x, num_samples, seed, batch_size)[1]


def rate_and_distortion(
    model: Any, x: Any, num_samples: int, seed: int, batch_size: int
) -> tuple[float, float]:
    """Both from one pass."""
    require_posterior(model)
    x, _ = as_batch(model, x)
    with unchanged_draws(model):
        terms = model.elbo_terms(x, num_samples, seed, batch_size)
    return (
        float(terms["kl"].mean(dtype=np.float64)),
        -float(terms["reconstruction"].mean(dtype=np.float64)),
    )
