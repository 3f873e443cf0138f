"""The divergence, and the base of all regularisers: they live with the layers, which need them."""

from __future__ import annotations

from tfvae.layers.kl_divergence import KLDivergenceRegularizer
from tfvae.layers.latent_regularizer import LatentRegularizer

__all__ = ["KLDivergenceRegularizer", "LatentRegularizer"]
