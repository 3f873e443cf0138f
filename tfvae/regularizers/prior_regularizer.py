"""The regularisers that compare the latent with a prior."""

from __future__ import annotations

from typing import Any

from tensorflow_probability import distributions as tfd

from tfvae.layers.kl_divergence import KLDivergenceRegularizer
from tfvae.layers.latent_regularizer import LatentRegularizer


class PriorRegularizer(LatentRegularizer):
    """Abstract base of regularisers with a prior, which a VAE takes for its own.

    Args:
        prior: p(z), as for `KLDivergenceRegularizer`, which says what may be one.
        **kwargs: `name`, `dtype`.

    Raises:
        TypeError: if `prior` is not one.
        ValueError: if `prior` is a distribution with variables, which no model would train.
    """

    def __init__(self, prior: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.divergence = KLDivergenceRegularizer(prior)

    def build(self, input_shape: Any = None) -> None:
        self.divergence.build(input_shape)
        super().build(input_shape)

    @property
    def prior(self) -> Any:
        """The prior as it was given."""
        return self.divergence.prior

    def prior_distribution(self) -> tfd.Distribution:
        """The prior p(z) as a distribution, made anew so that gradients reach its weights."""
        return self.divergence.prior_distribution()

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "prior": self.divergence.options()["prior"]}
