"""Grey images in [0, 1] with a density of their own."""

from __future__ import annotations

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.layers.independent import IndependentLayer


@keras.saving.register_keras_serializable(package="tfvae")
class IndependentContinuousBernoulli(IndependentLayer):
    """Independent continuous Bernoulli elements, from logits `[..., event_size]`.

    Binary cross-entropy on grey pixels is no likelihood: it does not integrate to one. This is the
    density that it is proportional to, `p(x) ~ p^x (1 - p)^(1 - x)` with `p = sigmoid(logits)`.
    Support: the closed interval [0, 1]; `validate_args` refuses data outside it.

    Args:
        event_shape: shape of an event, such as `(28, 28, 1)`.
        convert_to_tensor_fn: how the distribution becomes a tensor.
        validate_args: whether TFP checks parameters and data at every call.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.

    Example:
        >>> p = IndependentContinuousBernoulli((2, 2))(tf.zeros([3, 4]))
        >>> p.prob(tf.zeros([3, 2, 2])).numpy().tolist()
        [1.0, 1.0, 1.0]

    Reference:
        Loaiza-Ganem and Cunningham (2019), The Continuous Bernoulli: Fixing a Pervasive Error in
        Variational Autoencoders, arXiv:1907.06845.
    """

    support = (0.0, 1.0)
    params_per_element = 1

    @staticmethod
    def elements(logits: tf.Tensor, *, validate_args: bool) -> tfd.ContinuousBernoulli:
        return tfd.ContinuousBernoulli(logits=logits, validate_args=validate_args)
