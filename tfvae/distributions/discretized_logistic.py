"""Grey levels as what they are: the probability that a logistic variable rounds to each of them.

A level takes the mass of the logistic distribution between the middles to its neighbours; the
first and the last take the tails beyond them as well, so that the probabilities sum to one. With
the edges `l < u` of a level in units of the scale, the mass is

    sigmoid(u) - sigmoid(l) = sigmoid(u) sigmoid(-l) (1 - exp(l - u)),

and the logarithm of the right-hand side is a sum of numbers that float32 holds at any location and
scale: `u - l` is the width of a level, the same for all of them. PixelCNN++ and NVAE subtract the
two sigmoids, which cancel in the tails, and switch to the density below a mass of 1e-5; here
nothing cancels, so there is no branch to switch and no jump where it switches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from tfvae.distributions.scales import softplus

# How many levels' tail probabilities a mean holds at a time: a bound on its memory.
_CHUNK = 16


class DiscretizedLogistic(tfd.AutoCompositeTensorDistribution):
    """A logistic distribution rounded to the levels `k / (num_levels - 1)` of [0, 1].

    Values are levels as they stand in an image, `0, 1/255, ..., 1`, and `log_prob` is the logarithm
    of a probability, in nats. A draw is rounded, so it has no gradient.

    Args:
        loc: location of the logistic variable, in units of the data, any shape.
        scale: its scale, positive; broadcasts against `loc`.
        num_levels: number of levels, at least 2.
        validate_args: whether values are checked to be levels.
        allow_nan_stats: as for every TFP distribution.
        name: name of the distribution.

    Raises:
        ValueError: if `num_levels` is below 2.

    Example:
        >>> p = DiscretizedLogistic(0.4, 0.05)
        >>> levels = np.arange(256, dtype="float32") / 255
        >>> round(float(tf.reduce_sum(p.prob(levels))), 5), round(float(p.mode() * 255), 3)
        (1.0, 102.0)

    Reference:
        Salimans, Karpathy, Chen and Kingma (2017), PixelCNN++, arXiv:1701.05517, section 2.1.
    """

    def __init__(
        self,
        loc: Any,
        scale: Any,
        num_levels: int = 256,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "DiscretizedLogistic",
    ) -> None:
        parameters = dict(locals())
        if not isinstance(num_levels, int) or num_levels < 2:
            raise ValueError(
                f"`num_levels` must be an integer of at least 2. Received: {num_levels!r}"
            )
        with tf.name_scope(name) as name:
            self._loc = tf.convert_to_tensor(loc, dtype_hint=tf.float32)
            self._scale = tf.convert_to_tensor(scale, dtype=self._loc.dtype)
            self._num_levels = num_levels
            super().__init__(
                dtype=self._loc.dtype,
                reparameterization_type=tfd.NOT_REPARAMETERIZED,
                validate_args=validate_args,
                allow_nan_stats=allow_nan_stats,
                parameters=parameters,
                name=name,
            )

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        return {"loc": tfp.util.ParameterProperties(), "scale": tfp.util.ParameterProperties()}

    @property
    def loc(self) -> tf.Tensor:
        """Location of the logistic variable."""
        return self._loc

    @property
    def scale(self) -> tf.Tensor:
        """Scale of the logistic variable."""
        return self._scale

    @property
    def num_levels(self) -> int:
        """Number of levels."""
        return self._num_levels

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([], tf.int32)

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        half = 0.5 / (self.num_levels - 1)
        low = (x - half - self.loc) / self.scale
        high = (x + half - self.loc) / self.scale
        below_high = -softplus(-high)
        above_low = -softplus(low)
        inside = below_high + above_low + tfp.math.log1mexp(2.0 * half / self.scale)
        return tf.where(x < half, below_high, tf.where(x > 1.0 - half, above_low, inside))

    def _round(self, x: tf.Tensor) -> tf.Tensor:
        steps = self.num_levels - 1
        return tf.round(tf.clip_by_value(x, 0.0, 1.0) * steps) / steps

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        return self._round(tf.stop_gradient(tfd.Logistic(self.loc, self.scale).sample(n, seed)))

    def _sum_of_tails(self, weight: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        """Returns the sum over k >= 1 of `w P(K >= k)`, or of `-w P(K < k)` where `w < 0`.

        Args:
            weight: gives `w` for numbers of levels `[n]`, as `[..., n]`.
        """
        steps = self.num_levels - 1
        loc, scale = self.loc[..., tf.newaxis], self.scale[..., tf.newaxis]
        total = tf.zeros(self._batch_shape_tensor(), self.dtype)
        for start in range(1, steps + 1, _CHUNK):
            k = tf.range(start, min(start + _CHUNK, steps + 1), dtype=self.dtype)
            above = (loc - (k - 0.5) / steps) / scale
            w = weight(k)
            total += tf.reduce_sum(tf.abs(w) * tf.sigmoid(tf.where(w > 0, above, -above)), axis=-1)
        return total

    def _mean(self) -> tf.Tensor:
        # E[K] = sum of P(K >= k)
        return self._sum_of_tails(tf.ones_like) / (self.num_levels - 1)

    def _variance(self) -> tf.Tensor:
        # With m = E[K], Abel's summation of (k - m)^2 from the level next to m towards both ends:
        # every term is positive, so that nothing cancels where the scale is small.
        steps = self.num_levels - 1
        mean = steps * self.mean()
        spread = self._sum_of_tails(lambda k: 2.0 * (k - mean[..., tf.newaxis]) - 1.0)
        return (spread + tf.square(tf.floor(mean + 0.5) - mean)) / steps**2

    def _mode(self) -> tf.Tensor:
        # The level next to the location, or one of the two that hold a tail.
        nearest = self._round(self.loc + tf.zeros_like(self.scale))
        candidates = tf.stack([nearest, tf.zeros_like(nearest), tf.ones_like(nearest)])
        best = tf.argmax(self.log_prob(candidates), axis=0)
        return tf.where(best == 0, nearest, tf.cast(best == 2, self.dtype))

    def _sample_control_dependencies(self, x: tf.Tensor) -> list[Any]:
        if not self.validate_args:
            return []
        steps = self.num_levels - 1
        message = (
            f"Values must be levels k / {steps} of [0, 1], such as an image of {self.num_levels} "
            f"grey levels divided by {steps}."
        )
        return [
            tf.debugging.assert_near(
                x, self._round(x), rtol=0.0, atol=0.01 / steps, message=message
            )
        ]

    def _default_event_space_bijector(self) -> None:
        """None: the values are discrete."""
