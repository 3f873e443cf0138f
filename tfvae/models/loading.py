"""Loading a model of this package: the file names its classes, which must be registered first."""

from __future__ import annotations

# Imported so that their classes are registered with Keras.
import tfvae.layers
import tfvae.losses
import tfvae.models.autoencoder
import tfvae.models.vae
import tfvae.objectives
import tfvae.priors
import tfvae.regularizers  # noqa: F401
from tfvae.saving import load

__all__ = ["load"]
