"""Priors p(z): Keras layers without an input, so that what they learn is seen, trained and saved.

Calling a prior gives its distribution; `draw` samples it from seeds, one a row, with
`tfvae.random`, so that a seed means the same code in Python, TF Serving and TFLite.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae import random
from tfvae.distributions import float_dtype, positive_scale


class Prior(keras.layers.Layer):
    """Abstract base of priors.

    Args:
        event_shape: shape of one code, such as `(16,)`; an integer is the size of a vector.
        **kwargs: `name`, `dtype`, `trainable` as for every Keras layer.
    """

    def __init__(self, event_shape: Any, **kwargs: Any) -> None:
        super().__init__(dtype=float_dtype(kwargs.pop("dtype", None)), **kwargs)
        shape = (event_shape,) if isinstance(event_shape, int) else tuple(event_shape)
        if not shape or not all(isinstance(d, int) and d >= 1 for d in shape):
            raise ValueError(
                "`event_shape` of a prior must be a size or a tuple of sizes, each at least 1. "
                f"Received: {event_shape!r}"
            )
        self.event_shape = shape
        self.built = True

    def __call__(self) -> tfd.Distribution:
        # `Layer.__call__` needs an input; a prior has none, and its weights ask for no autocast.
        return self.distribution()

    @abstractmethod
    def distribution(self) -> tfd.Distribution:
        """The distribution p(z), with batch shape `[]` and event shape `event_shape`."""

    @abstractmethod
    def draw(self, row_seeds: Any) -> tf.Tensor:
        """Samples p(z) from seeds, int32 `[N, 2]`: returns `[N, *event_shape]`."""

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "event_shape": list(self.event_shape)}


def _normal(loc: tf.Tensor, scale: tf.Tensor) -> tfd.Distribution:
    """A normal of independent elements: of the class that has closed-form divergences."""
    if loc.shape.rank == 1:
        return tfd.MultivariateNormalDiag(loc, scale)
    return tfd.Independent(tfd.Normal(loc, scale), reinterpreted_batch_ndims=loc.shape.rank)


def _draw_standard_normal(row_seeds: Any, event_shape: tuple[int, ...], dtype: Any) -> tf.Tensor:
    size = 1
    for dim in event_shape:
        size *= dim
    noise = random.normal(row_seeds, size)
    return tf.cast(noise if len(event_shape) == 1 else tf.reshape(noise, [-1, *event_shape]), dtype)


@keras.saving.register_keras_serializable(package="tfvae")
class StandardNormal(Prior):
    """The standard normal prior N(0, I).

    Args:
        event_shape: shape of one code.
        **kwargs: `name`, `dtype`.

    Example:
        >>> prior = StandardNormal(3)
        >>> tuple(prior().sample(2).shape), tuple(prior.draw(random.seeds(0, 2)).shape)
        ((2, 3), (2, 3))

    Reference:
        Kingma and Welling (2014), Auto-Encoding Variational Bayes, arXiv:1312.6114.
    """

    def distribution(self) -> tfd.Distribution:
        zeros = tf.zeros(self.event_shape, self.compute_dtype)
        return _normal(zeros, tf.ones_like(zeros))

    def draw(self, row_seeds: Any) -> tf.Tensor:
        return _draw_standard_normal(row_seeds, self.event_shape, self.compute_dtype)


@keras.saving.register_keras_serializable(package="tfvae")
class TrainableNormal(Prior):
    """A normal prior with a mean and a scale that are learned, one for each element.

    It starts as the standard normal. The scale is `positive_scale` of its weight.

    Args:
        event_shape: shape of one code.
        **kwargs: `name`, `dtype`, `trainable`.

    Example:
        >>> prior = TrainableNormal(3)
        >>> len(prior.trainable_weights), [round(float(s), 3) for s in prior().stddev()]
        (2, [1.0, 1.0, 1.0])
    """

    def __init__(self, event_shape: Any, **kwargs: Any) -> None:
        super().__init__(event_shape, **kwargs)
        self.loc = self.add_weight(
            shape=self.event_shape, initializer="zeros", autocast=False, name="loc"
        )
        # softplus(log(e - 1)) = 1
        self.raw_scale = self.add_weight(
            shape=self.event_shape,
            initializer=keras.initializers.Constant(0.5413248546129181),
            autocast=False,
            name="raw_scale",
        )

    def distribution(self) -> tfd.Distribution:
        return _normal(tf.convert_to_tensor(self.loc), positive_scale(self.raw_scale))

    def draw(self, row_seeds: Any) -> tf.Tensor:
        noise = _draw_standard_normal(row_seeds, self.event_shape, self.compute_dtype)
        return tf.convert_to_tensor(self.loc) + positive_scale(self.raw_scale) * noise
