"""Probabilistic layers and variational autoencoders for Keras 3 and TensorFlow.

Names are loaded when they are first used, so that `tfvae --help` does not wait for TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Autoencoder": "tfvae.models",
    "Embedding": "tfvae.latent.embedding",
    "VAE": "tfvae.models",
    "load": "tfvae.models",
}
_MODULES = (
    "callbacks",
    "data",
    "distributions",
    "divergences",
    "export",
    "latent",
    "layers",
    "losses",
    "metrics",
    "models",
    "networks",
    "objectives",
    "plots",
    "priors",
    "random",
    "regularizers",
    "saving",
    "schedules",
    "serving",
)

__all__ = [*_HOME, *_MODULES]

if TYPE_CHECKING:
    from tfvae.latent.embedding import Embedding as Embedding
    from tfvae.models import VAE as VAE
    from tfvae.models import Autoencoder as Autoencoder
    from tfvae.models import load as load


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"tfvae.{name}")
    raise AttributeError(f"module 'tfvae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
