"""What a trained model is worth on the test images, each image by itself, in nats."""

from __future__ import annotations

from typing import Any

import numpy as np

ACTIVE_VARIANCE = 0.01
"""A dimension is active if the posterior's mean varies by more; arXiv:1509.00519, section 5."""
ELBO_SAMPLES = 100
_SCORED_AT_ONCE = 500


def measure(
    model: Any, images: np.ndarray, num_samples: int
) -> tuple[dict[str, Any], np.ndarray | None]:
    """Scores a model.

    An autoencoder gives no density to the images: all that it has is `reconstruction`, log p(x|z)
    at the code, where a VAE's is the mean of log p(x|z) over q(z|x). Its other figures are `None`.

    Args:
        model: a trained VAE or autoencoder.
        images: float32 `[M, H, W, 1]` of zeros and ones.
        num_samples: importance samples.

    Returns:
        The figures by name, and the negative log-likelihood of each image `[M]` if there is one.
    """
    import tfvae

    if isinstance(model, tfvae.Autoencoder):
        none = dict.fromkeys(("nll", "nll_error", "elbo", "kl", "active_units", "num_samples"))
        fit = float(log_prob_at_code(model, images).mean(dtype=np.float64))
        return {**none, "reconstruction": fit, "num_images": len(images)}, None
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
    """Latent dimensions whose code varies over the images by more than 0.01.

    The code is the posterior's mean or, of a flow, where it takes the mean of its normal.
    """
    codes = model.transform(images)
    return int((codes.reshape(len(codes), -1).var(axis=0) > ACTIVE_VARIANCE).sum())


def log_prob_at_code(model: Any, images: np.ndarray) -> np.ndarray:
    """log p(x|z) at the code z of each image, `[M]`."""
    starts = range(0, len(images), _SCORED_AT_ONCE)
    parts = [images[start : start + _SCORED_AT_ONCE] for start in starts]
    return np.concatenate([model(part).log_prob(part).numpy() for part in parts])
