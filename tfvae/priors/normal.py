"""Normal priors of independent elements: the standard one, and one that is learned."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae import random
from tfvae.distributions import positive_scale
from tfvae.priors.base import Prior


def independent_normal(
    loc: tf.Tensor, scale: tf.Tensor, event_rank: int | None = None
) -> tfd.Distribution:
    """A normal of independent elements: of the class that has closed-form divergences."""
    event_rank = loc.shape.rank if event_rank is None else event_rank
    if event_rank == 1:
        return tfd.MultivariateNormalDiag(loc, scale)
    return tfd.Independent(tfd.Normal(loc, scale), reinterpreted_batch_ndims=event_rank)


def draw_standard_normal(row_seeds: Any, event_shape: tuple[int, ...], dtype: Any) -> tf.Tensor:
    """Standard normal codes, `[N, *event_shape]`, from seeds `[N, 2]`."""
    noise = random.normal(row_seeds, math.prod(event_shape))
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
        return independent_normal(zeros, tf.ones_like(zeros))

    def draw(self, row_seeds: Any) -> tf.Tensor:
        return draw_standard_normal(row_seeds, self.event_shape, self.compute_dtype)


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
        return independent_normal(tf.convert_to_tensor(self.loc), positive_scale(self.raw_scale))

    def draw(self, row_seeds: Any) -> tf.Tensor:
        noise = draw_standard_normal(row_seeds, self.event_shape, self.compute_dtype)
        return tf.convert_to_tensor(self.loc) + positive_scale(self.raw_scale) * noise
