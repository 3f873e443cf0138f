"""Categories: what TFP's classes lack for data that Keras hands over as floats."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd


class Categorical(tfd.Categorical):
    """`tfd.Categorical` whose checks also work where `dtype` is a float.

    A likelihood needs the dtype of the data, or Keras casts it to a bare tensor. TFP's checks
    (`validate_args=True`) raise a `TypeError` for every float, and let the number of categories
    itself pass as a category.

    Example:
        >>> p = Categorical(logits=tf.zeros([2, 4]), dtype=tf.float32, validate_args=True)
        >>> p.prob([0.0, 3.0]).numpy().tolist()
        [0.25, 0.25]
    """

    def _log_prob(self, k: tf.Tensor) -> tf.Tensor:
        # Without `validate_args`: the values have been checked below.
        return tfd.Categorical(logits=self.logits_parameter(), dtype=self.dtype).log_prob(k)

    def _sample_control_dependencies(self, x: tf.Tensor) -> list[Any]:
        if not self.validate_args:
            return []
        last = self._num_categories() - 1
        message = "Values must be categories: whole numbers from 0 to one less than their number."
        return [
            tf.debugging.assert_non_negative(x, message=message),
            tf.debugging.assert_less_equal(x, tf.cast(last, x.dtype), message=message),
            tf.debugging.assert_equal(x, tf.round(x), message=message),
        ]


class OneHotCategoricalMixture(tfd.MixtureSameFamily):
    """A mixture of one-hot categorical distributions, which has a mean and its logarithm.

    Example:
        >>> components = tfd.OneHotCategorical(logits=tf.zeros([2, 4]))
        >>> p = OneHotCategoricalMixture(tfd.Categorical(logits=[0.0, 0.0]), components)
        >>> tf.exp(p.log_mean()).numpy().tolist()
        [0.25, 0.25, 0.25, 0.25]
    """

    def log_mean(self) -> tf.Tensor:
        """Returns the log-probability of each category, `[..., num_categories]`."""
        weights = tf.nn.log_softmax(self.mixture_distribution.logits_parameter())
        categories = tf.nn.log_softmax(self.components_distribution.logits_parameter())
        return tf.reduce_logsumexp(weights[..., tf.newaxis] + categories, axis=-2)
