"""All measures of a latent at once, from as few passes over the data as they need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tfvae.metrics.dimensions import THRESHOLD, activity_of
from tfvae.metrics.information import mutual_information_of
from tfvae.metrics.posteriors import BATCH_SIZE, read_posteriors, require_posterior
from tfvae.metrics.rate_distortion import rate_and_distortion

SCALARS = ("rate", "distortion", "active_units", "mutual_information", "marginal_kl")
"""The names of what is one number, which is logged."""


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """What a model does with its code, on N examples; see the functions of the same names.

    Attributes:
        rate: in nats an example.
        distortion: in nats an example.
        mutual_information: in nats; at most log N.
        activity: of each dimension of the flattened code, `[D]`.
        kl_per_dimension: in nats, `[D]`; `None` unless posterior and prior have independent
            dimensions.
        threshold: the activity above which a dimension is active.
        num_examples: the number N.
    """

    rate: float
    distortion: float
    mutual_information: float
    activity: np.ndarray
    kl_per_dimension: np.ndarray | None
    threshold: float
    num_examples: int

    @property
    def active_units(self) -> int:
        """The number of active dimensions."""
        return int((self.activity > self.threshold).sum())

    @property
    def marginal_kl(self) -> float:
        """KL(q(z) || p(z)), in nats."""
        return self.rate - self.mutual_information

    def scalars(self) -> dict[str, float]:
        """What is one number, by name."""
        return {name: float(getattr(self, name)) for name in SCALARS}


def diagnose(
    model: Any,
    x: Any,
    num_samples: int = 1,
    threshold: float = THRESHOLD,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
) -> Diagnostics:
    """Measures rate, distortion, information, and each dimension's share in them.

    Args:
        model: a built `tfvae.VAE`.
        x: data `[N, *data_shape]`, at least two examples; the information costs N^2 densities.
        num_samples: number of draws for each example.
        threshold: the activity above which a dimension is active.
        seed: fixes the draws.
        batch_size: how many examples are held at a time.

    Returns:
        The numbers; see `Diagnostics`.

    Raises:
        TypeError: if the model has no posterior.
        ValueError: if the data does not fit the model, or there are fewer than two examples.

    Example:
        >>> from tfvae.models import VAE
        >>> vae = VAE.for_images((4,), latent_dim=3, hidden=(4,))
        >>> found = diagnose(vae, np.random.default_rng(0).random((10, 4), "float32"))
        >>> bool(np.isclose(found.kl_per_dimension.sum(), found.rate, rtol=1e-5))
        True
        >>> list(found.scalars())
        ['rate', 'distortion', 'active_units', 'mutual_information', 'marginal_kl']
    """
    require_posterior(model)
    posteriors = read_posteriors(model, x, num_samples, seed, batch_size)
    found_rate, found_distortion = rate_and_distortion(model, x, num_samples, seed, batch_size)
    return Diagnostics(
        rate=found_rate,
        distortion=found_distortion,
        mutual_information=mutual_information_of(model, x, posteriors, batch_size),
        activity=activity_of(posteriors),
        kl_per_dimension=None if posteriors.kl is None else posteriors.kl.mean(axis=0),
        threshold=threshold,
        num_examples=len(posteriors.mean),
    )
