"""Models: the variational autoencoder and, to compare it with, the deterministic one."""

from tfvae.models.autoencoder import Autoencoder
from tfvae.models.loading import load
from tfvae.models.vae import VAE

__all__ = ["VAE", "Autoencoder", "load"]
