"""What a model is worth on data, in nats an example."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tfvae import metrics
from tfvae.cli.datasets import held_out
from tfvae.cli.run import RunConfig

# The bound's own parts settle with few draws; the importance-weighted bound takes all.
_ELBO_SAMPLES = 10


@dataclass(frozen=True)
class Scores:
    """Means over examples.

    Attributes:
        nll: minus the importance-weighted estimate of log p(x), in nats.
        elbo: the evidence lower bound, in nats.
        reconstruction: E_q[log p(x|z)], in nats; for an autoencoder log p(x|z) at its code.
        kl: KL(q(z|x) || p(z)), in nats.
        bits_per_dim: `nll` in bits for each value of a pixel; for dequantised data that of the
            256 grey levels.
        active_units: latent dimensions whose posterior mean varies over the examples by more than
            0.01 (Burda et al. 2016, section 5.2).
        num_samples: importance samples.
        num_examples: examples.
    """

    nll: float | None
    elbo: float | None
    reconstruction: float
    kl: float | None
    bits_per_dim: float | None
    active_units: int
    num_samples: int
    num_examples: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        """For people: every score with its unit."""
        if self.nll is None:
            return [
                f"reconstruction {self.reconstruction:.2f} nats an example; an autoencoder has no "
                "likelihood of data",
                f"active units   {self.active_units}",
                f"on {self.num_examples} test examples",
            ]
        return [
            f"nll            {self.nll:.2f} nats an example, {self.bits_per_dim:.4f} bits a "
            f"dimension ({self.num_samples} importance samples)",
            f"elbo           {self.elbo:.2f} = reconstruction {self.reconstruction:.2f} - "
            f"kl {self.kl:.2f}",
            f"active units   {self.active_units}",
            f"on {self.num_examples} test examples",
        ]


def evaluate(config: RunConfig, model: Any, images: np.ndarray, num_samples: int) -> Scores:
    """Scores a model of a run on images that it has not been trained on.

    Args:
        config: the run's options.
        model: a `VAE` or an `Autoencoder`.
        images: `[N, H, W, C]`, uint8 or float.
        num_samples: importance samples.

    Raises:
        ValueError: if the images do not fit the model.
    """
    if images.shape[1:] != model.data_shape:
        raise ValueError(
            f"The model was trained on images of shape {model.data_shape}. "
            f"Received: images of shape {images.shape[1:]}"
        )
    x = held_out(config, images)
    active_units = metrics.active_units(model, x)
    if config.model == "ae":
        reconstruction = -float(
            model.evaluate(x, batch_size=250, verbose=0, return_dict=True)["nll"]
        )
        return Scores(None, None, reconstruction, None, None, active_units, 0, len(x))
    nll = -float(model.log_likelihood(x, num_samples).mean())
    terms = model.elbo_terms(x, min(num_samples, _ELBO_SAMPLES))
    # Dequantised pixels lie in [0, 1]: the density of a grey level is 256 times smaller.
    levels = 8.0 if config.likelihood == "normal" and images.dtype == np.uint8 else 0.0
    return Scores(
        nll=nll,
        elbo=float(terms["elbo"].mean()),
        reconstruction=float(terms["reconstruction"].mean()),
        kl=float(terms["kl"].mean()),
        bits_per_dim=nll / (math.prod(model.data_shape) * math.log(2.0)) + levels,
        active_units=active_units,
        num_samples=num_samples,
        num_examples=len(x),
    )
