"""A small model and data for it."""

from __future__ import annotations

import numpy as np
import pytest
from small_models import SHAPE, make_vae

from tfvae import VAE


@pytest.fixture(scope="session")
def vae() -> VAE:
    """A dense one of binary pixels."""
    return make_vae()


@pytest.fixture(scope="session")
def pictures() -> np.ndarray:
    """Binary pictures, `[20, 6, 6, 1]`."""
    return np.random.default_rng(0).integers(0, 2, (20, *SHAPE)).astype(np.float32)
