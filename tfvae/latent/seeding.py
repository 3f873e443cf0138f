"""Keras' one global seed, set for a while."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds Keras, and leaves Python's and NumPy's own generators as they were.

    Args:
        seed: an integer from 0 to 2^32 - 1.

    Yields:
        Nothing; what Keras makes and trains inside is the same for the same seed.

    Example:
        >>> with seeded(1):
        ...     first = keras.random.uniform((2,)).numpy()
        >>> with seeded(1):
        ...     bool((keras.random.uniform((2,)).numpy() == first).all())
        True
    """
    states = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
