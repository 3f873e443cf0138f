"""What a trained model is worth on the test images, each image by itself, in nats."""

from __future__ import annotations

from typing import Any

import numpy as np

ACTIVE_VARIANCE = 0.01
"""A dimension is active if the posterior's mean varies by more; arXiv:1509.00519, section 5."""
ELBO_SAMPLES = 100
MEAN_SAMPLES = 1000
"""Draws that stand for the mean of a posterior without one in closed form."""
_CODED_AT_ONCE = 100


def measure(model: Any, images: np.ndarray, num_samples: int) -> tuple[dict[str, Any], np.ndarray]:
    """Scores a model.

    Args:
        model: a trained VAE.
        images: float32 `[M, H, W, 1]` of zeros and ones.
        num_samples: importance samples.

    Returns:
        The figures by name, and the negative log-likelihood of each image `[M]`.
    """
    nll = -model.log_likelihood(images, num_samples)
    terms = model.elbo_terms(images, ELBO_SAMPLES)
    figures = {
        "nll": float(nll.mean(dtype=np.float64)),
        "nll_error": standard_error(nll),
        "elbo": float(terms["elbo"].mean(dtype=np.float64)),
        "kl": float(terms["kl"].mean(dtype=np.float64)),
        "reconstruction": float(terms["reconstruction"].mean(dtype=np.float64)),
        "active_units": active_units(model, images),
        "num_samples": num_samples,
        "num_images": len(images),
    }
    return figures, nll


def standard_error(values: np.ndarray) -> float:
    """That of the mean over the images.

    Example:
        >>> standard_error(np.array([1.0, 3.0]))
        1.0
    """
    return float(values.std(ddof=1, dtype=np.float64) / np.sqrt(len(values)))


def active_units(model: Any, images: np.ndarray) -> int:
    """Latent dimensions whose posterior mean varies over the images by more than 0.01."""
    try:
        codes = model.transform(images)
    except NotImplementedError:
        # A flow has no closed-form mean; that of so many draws varies by a thousandth at most.
        starts = range(0, len(images), _CODED_AT_ONCE)
        parts = [images[start : start + _CODED_AT_ONCE] for start in starts]
        codes = np.concatenate([_mean_of_draws(model, part) for part in parts])
    return int((codes.reshape(len(codes), -1).var(axis=0) > ACTIVE_VARIANCE).sum())


def _mean_of_draws(model: Any, images: np.ndarray) -> np.ndarray:
    from tfvae.distributions import plain

    return plain(model.encode(images)).sample(MEAN_SAMPLES, seed=(0, 0)).numpy().mean(axis=0)
