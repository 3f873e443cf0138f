"""Counts with more zeros than their distribution explains, such as reads of single cells."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from tfvae.distributions.scales import softplus


class ZeroInflated(tfd.AutoCompositeTensorDistribution):
    """A distribution of counts that is replaced by zero with the probability `sigmoid(logits)`.

        P(0) = pi + (1 - pi) P_counts(0),   P(k) = (1 - pi) P_counts(k) for k >= 1

    TFP's own `Inflated` takes `logits` for half of the log-odds (it softmaxes `[l, -l]`) and does
    not check values.

    Args:
        distribution: the distribution of the counts, with scalar events.
        logits: log-odds of a zero that is not a count, pi; broadcasts against the batch shape.
        validate_args: whether values are checked to be counts.
        allow_nan_stats: as for every TFP distribution.
        name: name of the distribution.

    Example:
        >>> p = ZeroInflated(tfd.Poisson(3.0), logits=0.0)
        >>> round(float(p.prob(0.0)), 4), round(float(p.mean()), 4)
        (0.5249, 1.5)

    Reference:
        Lambert (1992), Zero-Inflated Poisson Regression, Technometrics 34(1); Lopez et al. (2018),
        Deep generative modeling for single-cell transcriptomics, Nature Methods 15, for counts of
        a negative binomial.
    """

    def __init__(
        self,
        distribution: tfd.Distribution,
        logits: Any,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "ZeroInflated",
    ) -> None:
        parameters = dict(locals())
        with tf.name_scope(name) as name:
            self._distribution = distribution
            self._logits = tf.convert_to_tensor(logits, dtype=distribution.dtype)
            super().__init__(
                dtype=distribution.dtype,
                reparameterization_type=tfd.NOT_REPARAMETERIZED,
                validate_args=validate_args,
                allow_nan_stats=allow_nan_stats,
                parameters=parameters,
                name=name,
            )

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        return {
            "distribution": tfp.util.BatchedComponentProperties(),
            "logits": tfp.util.ParameterProperties(),
        }

    @property
    def distribution(self) -> tfd.Distribution:
        """The distribution of the counts."""
        return self._distribution

    @property
    def logits(self) -> tf.Tensor:
        """Log-odds of a zero that is not a count."""
        return self._logits

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([], tf.int32)

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        counted = self.distribution.log_prob(x) - softplus(self.logits)
        zero = tfp.math.log_add_exp(-softplus(-self.logits), counted)
        return tf.where(tf.equal(x, 0.0), zero, counted)

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        count_seed, zero_seed = tfp.random.split_seed(seed, salt="ZeroInflated")
        shape = tf.concat([[n], self.batch_shape_tensor()], axis=0)
        counts = tf.broadcast_to(self.distribution.sample(n, count_seed), shape)
        is_zero = tfd.Bernoulli(logits=self.logits, dtype=tf.bool).sample(n, zero_seed)
        return tf.where(is_zero, tf.zeros_like(counts), counts)

    def _mean(self) -> tf.Tensor:
        return tf.sigmoid(-self.logits) * self.distribution.mean()

    def _variance(self) -> tf.Tensor:
        # The mean of the variance, plus the variance of the mean, over whether the zero is extra.
        kept, mean = tf.sigmoid(-self.logits), self.distribution.mean()
        spread = self.distribution.variance() + tf.sigmoid(self.logits) * tf.square(mean)
        return kept * spread

    def _mode(self) -> tf.Tensor:
        mode = self.distribution.mode() + tf.zeros_like(self.logits)
        zero = tf.zeros_like(mode)
        return tf.where(self.log_prob(mode) > self.log_prob(zero), mode, zero)

    def _sample_control_dependencies(self, x: tf.Tensor) -> list[Any]:
        if not self.validate_args:
            return []
        message = "Values must be counts: whole numbers that are not negative."
        return [
            tf.debugging.assert_non_negative(x, message=message),
            tf.debugging.assert_equal(x, tf.round(x), message=message),
        ]

    def _default_event_space_bijector(self) -> None:
        """None: the values are discrete."""
