"""Data between 0 and 1, such as proportions."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfvae.distributions import Beta, positive_concentration
from tfvae.layers.independent import IndependentLayer


@keras.saving.register_keras_serializable(package="tfvae")
class IndependentBeta(IndependentLayer):
    """Independent beta elements, from two raw concentrations each, `[..., 2 * event_size]`.

    The concentrations of 1 and of 0, in this order, are `positive_concentration(raw)`. Support: the
    open interval (0, 1). At 0 and 1, where the pixels of many images lie, the density is zero or
    infinite: move the data inwards, as `(x * 255 + 0.5) / 256`, or use
    `IndependentContinuousBernoulli`, whose density is finite on the closed interval.
    `validate_args` refuses data outside [0, 1].

    Args:
        event_shape: shape of an event.
        convert_to_tensor_fn: how the distribution becomes a tensor.
        validate_args: whether TFP checks parameters and data at every call.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.

    Example:
        >>> p = IndependentBeta(2)(tf.zeros([3, 4]))
        >>> p.mean()[0].numpy().tolist(), tuple(p.log_prob(p.mean()).shape)
        ([0.5, 0.5], (3,))
    """

    support = (0.0, 1.0)
    params_per_element = 2

    @staticmethod
    def elements(raw_ones: tf.Tensor, raw_zeros: tf.Tensor, *, validate_args: bool) -> Beta:
        return Beta(
            positive_concentration(raw_ones),
            positive_concentration(raw_zeros),
            validate_args=validate_args,
        )
