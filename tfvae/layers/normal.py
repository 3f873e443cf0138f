"""Continuous data with Gaussian noise."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions import positive_scale
from tfvae.layers.distribution_layer import DistributionLayer
from tfvae.layers.parameters import event_shape_tuple, event_size, split_parameters

SHARED = "shared"


@keras.saving.register_keras_serializable(package="tfvae")
class IndependentNormal(DistributionLayer):
    """Independent normal elements, with a scale that is learned, fixed, or one for all.

    The scale is `tfvae.distributions.positive_scale` of its parameter: at least 1e-5, finite.

    Args:
        event_shape: shape of an event, such as `(32, 32, 3)`.
        convert_to_tensor_fn: how the distribution becomes a tensor.
        validate_args: whether TFP checks the parameters at every call.
        scale: `None`, a scale for each element from the layer's input, as TFP does; a positive
            number, that scale for all elements; `"shared"`, one weight of the layer, learned, for
            all elements and examples.
        initial_scale: where the shared scale starts; near the noise of the data it has less way
            to go, and one weight moves slowly.
        activity_regularizer: a cost in nats, `[B]`.
        seed: fixes the draws.
        **kwargs: `name`, `dtype`, `trainable`.

    Raises:
        ValueError: if `scale` is neither `None`, nor a positive number, nor `"shared"`.

    Example:
        >>> p = IndependentNormal((2, 2), scale=0.1)(tf.zeros([3, 4]))
        >>> tuple(p.mean().shape), round(float(p.stddev()[0, 0, 0]), 3)
        ((3, 2, 2), 0.1)

    Reference:
        Rybkin, Daniilidis and Levine (2021), Simple and Effective VAE Training with Calibrated
        Decoders, arXiv:2006.13202, section 3, for the shared scale.
    """

    def __init__(
        self,
        event_shape: Any = (),
        convert_to_tensor_fn: Any = tfd.Distribution.sample,
        validate_args: bool = False,
        scale: float | str | None = None,
        initial_scale: float = 1.0,
        **kwargs: Any,
    ) -> None:
        if scale is not None and scale != SHARED:
            _positive("scale", scale)
        arguments = {
            "event_shape": event_shape_tuple(event_shape),
            "validate_args": validate_args,
        }
        super().__init__(arguments, convert_to_tensor_fn, **kwargs)
        self.scale = scale
        self.initial_scale = _positive("initial_scale", initial_scale)
        if scale == SHARED:
            # The inverse of softplus.
            raw = initial_scale + math.log(-math.expm1(-initial_scale))
            self.raw_scale = self.add_weight(
                shape=(), initializer=keras.initializers.Constant(raw), name="raw_scale"
            )

    def make_distribution(self, params: tf.Tensor) -> tfd.Independent:
        scale = positive_scale(self.raw_scale) if self.scale == SHARED else self.scale
        return self.new(params, *self.arguments.values(), scale=scale)

    @staticmethod
    def new(
        params: Any,
        event_shape: Any = (),
        validate_args: bool = False,
        name: str | None = None,
        scale: Any = None,
    ) -> tfd.Independent:
        """Makes the distribution from `[..., params_size]`.

        Args:
            params: means, followed by raw scales unless `scale` is given.
            event_shape: shape of an event.
            validate_args: whether TFP checks the parameters.
            name: name of the distribution.
            scale: a scale that broadcasts against the event, or `None`.
        """
        if scale is None:
            loc, raw = split_parameters(params, event_shape, 2)
            scale = positive_scale(raw)
        else:
            (loc,) = split_parameters(params, event_shape)
            scale = tf.cast(scale, loc.dtype)
        return tfd.Independent(
            tfd.Normal(loc, scale, validate_args=validate_args),
            reinterpreted_batch_ndims=len(event_shape_tuple(event_shape)),
            validate_args=validate_args,
            name=name or "IndependentNormal",
        )

    @staticmethod
    def params_size(
        event_shape: Any = (), name: str | None = None, scale: float | str | None = None
    ) -> int:
        """Number of parameters: a mean for each element, and a raw scale unless `scale` is set."""
        return (2 if scale is None else 1) * event_size(event_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "scale": self.scale,
            "initial_scale": self.initial_scale,
        }


def _positive(name: str, value: Any) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (is_number and 0 < value < math.inf):
        also = f", None (learned for each element) or {SHARED!r} (one learned for all)"
        raise ValueError(
            f"`{name}` must be a positive number{also if name == 'scale' else ''}. "
            f"Received: {value!r}"
        )
    return float(value)
