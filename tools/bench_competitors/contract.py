"""What a competitor must be able to do to be measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from bench_competitors.cases import Inputs

EVALUATION_IMAGES = 100
"""Images that the hand-written estimators take at once."""

EVALUATION_DRAWS = 50
"""Draws of each that they decode at once: 5,000 rows."""


class Check(NamedTuple):
    """Losses in nats an image, from the same weights, images and noise.

    Attributes:
        first: of the first batch, before any step.
        mean: of `CHECK_STEPS` batches, a step of Adam after each.
        after: of the first batch, after these steps.
    """

    first: float
    mean: float
    after: float


class Competitor(ABC):
    """Abstract base of the competitors: a VAE on some images, in some library.

    Args:
        inputs: model, weights and images.
        batch: images in a batch.
        variant: which of the modes of the library.
    """

    def __init__(self, inputs: Inputs, batch: int, variant: str) -> None:
        self.inputs = inputs
        self.batch = batch
        self.variant = variant

    @abstractmethod
    def check(self) -> Check:
        """The losses with the noise of the inputs; the weights are changed by it."""

    @abstractmethod
    def train(self, epochs: int) -> None:
        """Passes over all images, each in another order, and ends when the last step has."""

    def encode(self) -> np.ndarray:
        """The mean codes of all images, `[N, latent]`."""
        raise NotImplementedError

    def sample(self, number: int) -> np.ndarray:
        """New images, as the means of their pixels: `[number, ...]`."""
        raise NotImplementedError

    def log_likelihood(self, number: int, draws: int) -> np.ndarray:
        """The importance-weighted estimate for the first images, `[number]`, in nats."""
        raise NotImplementedError
