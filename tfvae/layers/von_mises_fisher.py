"""Directions: codes or data on the hypersphere."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions import VonMisesFisher as VonMisesFisherDistribution
from tfvae.distributions import positive_concentration
from tfvae.layers.distribution_layer import DistributionLayer
from tfvae.layers.parameters import positive_integer, split_parameters

# Keeps the direction of parameters that are all zero, as an initialiser may make them, defined.
_OFFSET = 1e-3


@keras.saving.register_keras_serializable(package="tfvae")
class VonMisesFisher(DistributionLayer):
    """A von Mises-Fisher distribution over unit vectors, from `[..., event_size + 1]`.

    The parameters are a vector, whose direction is that of the mean, and a raw concentration; the
    concentration is `positive_concentration(raw)`, at most 1e4. Draws have gradients to both. The
    prior that goes with it is uniform, `tfd.SphericalUniform(event_size)`: the divergence from that
    has a closed form. Support: the unit vectors; `validate_args` refuses other data.

    Args:
        event_size: the number of dimensions d of the space, at least 2; the sphere has d - 1.
        convert_to_tensor_fn: how the distribution becomes a tensor. The mean is shorter than one;
            `"mode"` is the unit vector of its direction.
        validate_args: whether TFP checks parameters and data at every call.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.

    Raises:
        ValueError: if `event_size` is not an integer of at least 2.

    Example:
        >>> q = VonMisesFisher(3)(tf.constant([[0.0, 2.0, 0.0, 5.0]]))
        >>> isinstance(q, tfd.VonMisesFisher), q.mode().numpy().round(2).tolist()
        (True, [[0.0, 1.0, 0.0]])

    Reference:
        Davidson, Falorsi, De Cao, Kipf and Tomczak (2018), Hyperspherical Variational
        Auto-Encoders, arXiv:1804.00891.
    """

    support = (-1.0, 1.0)

    def __init__(
        self,
        event_size: int,
        convert_to_tensor_fn: Any = tfd.Distribution.sample,
        validate_args: bool = False,
        **kwargs: Any,
    ) -> None:
        arguments = {
            "event_size": positive_integer(event_size, "event_size", least=2),
            "validate_args": validate_args,
        }
        super().__init__(arguments, convert_to_tensor_fn, **kwargs)

    @staticmethod
    def new(
        params: Any, event_size: int, validate_args: bool = False, name: str | None = None
    ) -> VonMisesFisherDistribution:
        """Makes the distribution from `[..., event_size + 1]`."""
        (params,) = split_parameters(params, event_size + 1)
        direction, raw = params[..., :-1], params[..., -1]
        direction += tf.one_hot(0, event_size, on_value=_OFFSET, dtype=params.dtype)
        # Dividing by the largest element first keeps the squares finite. A direction does not
        # depend on the length, so neither does its gradient.
        length = tf.reduce_max(tf.abs(direction), axis=-1, keepdims=True)
        direction /= tf.stop_gradient(tf.maximum(length, 1e-30))
        return VonMisesFisherDistribution(
            tf.math.l2_normalize(direction, axis=-1),
            positive_concentration(raw),
            validate_args=validate_args,
            name=name or "VonMisesFisher",
        )

    @staticmethod
    def params_size(event_size: int, name: str | None = None) -> int:
        """Number of parameters: a direction and a raw concentration."""
        return positive_integer(event_size, "event_size", least=2) + 1
