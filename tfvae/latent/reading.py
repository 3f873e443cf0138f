"""What is read off an image: not a number, but a distribution over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.latent.regression import sigmoid

# E[f(Z)] = sum_i w_i f(n_i) for a standard normal Z.
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(64)
_NODE_WEIGHTS = _NODE_WEIGHTS / _NODE_WEIGHTS.sum()


@dataclass(frozen=True, eq=False)
class Reading:
    """The belief about an attribute of N images, and where its uncertainty comes from.

    For a continuous attribute the label is normal, with mean `loc` and the variance that the three
    parts add up to. For a binary one the log-odds are, so that the probability of a yes is itself
    uncertain, a logit-normal variable.

    Args:
        loc: mean of the label, or of the log-odds, `[N]`, or `[]` for one image.
        image_variance: from q(z|x): what the image leaves open about its code; as `loc`.
        direction_variance: from the finite number of labelled images; as `loc`.
        noise_variance: from what of the label the code does not hold; as `loc`, zero for a binary
            attribute, whose probability says it.
        binary: whether the label is yes or no.

    Example:
        >>> one = np.ones(1)
        >>> reading = Reading(0.5 * one, 0.04 * one, 0.01 * one, 0.04 * one, binary=False)
        >>> low, high = reading.interval(0.9)
        >>> round(float(reading.stddev[0]), 2), round(float(low[0]), 2), round(float(high[0]), 2)
        (0.3, 0.01, 0.99)
    """

    loc: np.ndarray
    image_variance: np.ndarray
    direction_variance: np.ndarray
    noise_variance: np.ndarray
    binary: bool

    @property
    def scale(self) -> np.ndarray:
        """Standard deviation of the label, or of the log-odds."""
        return np.sqrt(self.image_variance + self.direction_variance + self.noise_variance)

    @property
    def mean(self) -> np.ndarray:
        """Mean of the label, or the probability of a yes."""
        return self._expectation(lambda p: p) if self.binary else self.loc

    @property
    def stddev(self) -> np.ndarray:
        """Standard deviation of the label, or of the probability of a yes."""
        if not self.binary:
            return self.scale
        return np.sqrt(np.maximum(self._expectation(np.square) - self.mean**2, 0.0))

    @property
    def distribution(self) -> tfd.Distribution:
        """`tfd.Normal` of the label, or `tfd.LogitNormal` of the probability of a yes; float32."""
        family = tfd.LogitNormal if self.binary else tfd.Normal
        return family(tf.cast(self.loc, tf.float32), tf.cast(self.scale, tf.float32))

    def interval(self, level: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """The central credible interval.

        Args:
            level: how probable it is that the value lies in it, in (0, 1).

        Returns:
            Its lower and upper end, as `loc`: of the label, or of the probability of a yes.

        Raises:
            ValueError: if the level is not in (0, 1).
        """
        if not 0 < level < 1:
            raise ValueError(f"`level` must lie in (0, 1), such as 0.9. Received: {level!r}")
        reach = NormalDist().inv_cdf(0.5 + level / 2) * self.scale
        low, high = self.loc - reach, self.loc + reach
        return (sigmoid(low), sigmoid(high)) if self.binary else (low, high)

    def of(self, index: int) -> Reading:
        """The reading of one of the images."""
        return Reading(
            self.loc[index],
            self.image_variance[index],
            self.direction_variance[index],
            self.noise_variance[index],
            self.binary,
        )

    def _expectation(self, fn: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """E[fn(sigmoid(log-odds))], by quadrature."""
        nodes = self.loc[..., None] + self.scale[..., None] * _NODES
        return fn(sigmoid(nodes)) @ _NODE_WEIGHTS
