"""Positive data, such as waiting times, intensities and power spectra."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from tfvae.distributions import Gamma, positive_concentration, positive_scale
from tfvae.layers.independent import IndependentLayer


@keras.saving.register_keras_serializable(package="tfvae")
class IndependentGamma(IndependentLayer):
    """Independent gamma elements, from raw concentrations and raw rates `[..., 2 * event_size]`.

    The concentration is `positive_concentration(raw)`, the rate `positive_scale(raw)`. Support: the
    numbers above 0; at 0 itself the density is zero or infinite, so data with zeros wants a small
    shift or another family. `validate_args` refuses negative data.

    Args:
        event_shape: shape of an event.
        convert_to_tensor_fn: how the distribution becomes a tensor.
        validate_args: whether TFP checks parameters and data at every call.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.

    Example:
        >>> p = IndependentGamma(2)(tf.zeros([3, 4]))
        >>> tuple(p.log_prob(tf.ones([3, 2])).shape)
        (3,)
    """

    support = (0.0, math.inf)
    params_per_element = 2

    @staticmethod
    def elements(
        raw_concentration: tf.Tensor, raw_rate: tf.Tensor, *, validate_args: bool
    ) -> Gamma:
        return Gamma(
            positive_concentration(raw_concentration),
            positive_scale(raw_rate),
            validate_args=validate_args,
        )
