"""Continuous data with Laplace noise: the likelihood of the absolute error."""

from __future__ import annotations

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions import positive_scale
from tfvae.layers.independent import IndependentLayer


@keras.saving.register_keras_serializable(package="tfvae")
class IndependentLaplace(IndependentLayer):
    """Independent Laplace elements, from locations and raw scales `[..., 2 * event_size]`.

    At a fixed scale its negative log-likelihood is the absolute error, which blurs images less than
    the squared error of a normal. The scale is `tfvae.distributions.positive_scale(raw)`. Support:
    all numbers.

    Args:
        event_shape: shape of an event, such as `(32, 32, 3)`.
        convert_to_tensor_fn: how the distribution becomes a tensor.
        validate_args: whether TFP checks the parameters at every call.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.

    Example:
        >>> p = IndependentLaplace(2)(tf.zeros([3, 4]))
        >>> tuple(p.log_prob(tf.ones([3, 2])).shape)
        (3,)
    """

    params_per_element = 2

    @staticmethod
    def elements(loc: tf.Tensor, raw: tf.Tensor, *, validate_args: bool) -> tfd.Laplace:
        return tfd.Laplace(loc, positive_scale(raw), validate_args=validate_args)
