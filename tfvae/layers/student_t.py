"""Continuous data with outliers."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfvae.distributions import StudentT, positive_concentration, positive_scale
from tfvae.layers.independent import IndependentLayer


@keras.saving.register_keras_serializable(package="tfvae")
class IndependentStudentT(IndependentLayer):
    """Independent Student's t elements, from `[..., 3 * event_size]`.

    The parameters are raw degrees of freedom, locations and raw scales, in this order. The degrees
    of freedom are `2 + positive_concentration(raw)`, so that the mean and the variance exist: from
    heavy tails to, within float32, the normal. The scale is `positive_scale(raw)`. Support: all
    numbers.

    Args:
        event_shape: shape of an event.
        convert_to_tensor_fn: how the distribution becomes a tensor.
        validate_args: whether TFP checks the parameters at every call.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.

    Example:
        >>> p = IndependentStudentT(2)(tf.zeros([3, 6]))
        >>> tuple(p.log_prob(tf.ones([3, 2])).shape), bool(tf.reduce_all(p.stddev() < 1.6))
        ((3,), True)

    Reference:
        Takahashi, Iwata, Yamanaka, Yamada and Yagi (2018), Student-t Variational Autoencoder for
        Robust Density Estimation, IJCAI, doi:10.24963/ijcai.2018/374.
    """

    params_per_element = 3

    @staticmethod
    def elements(
        raw_df: tf.Tensor, loc: tf.Tensor, raw_scale: tf.Tensor, *, validate_args: bool
    ) -> StudentT:
        df = 2.0 + positive_concentration(raw_df)
        return StudentT(df, loc, positive_scale(raw_scale), validate_args=validate_args)
