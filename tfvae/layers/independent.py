"""What the families have in common whose elements are independent, given the parameters."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.layers.distribution_layer import DistributionLayer
from tfvae.layers.parameters import event_shape_tuple, event_size, split_parameters


class IndependentLayer(DistributionLayer):
    """Abstract base: a family says how many parameters an element has, and what they make.

    Args:
        event_shape: shape of an event, such as `(28, 28, 1)`.
        convert_to_tensor_fn: how the distribution becomes a tensor.
        validate_args: whether TFP checks parameters and data at every call.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.
    """

    params_per_element: int

    def __init__(
        self,
        event_shape: Any = (),
        convert_to_tensor_fn: Any = tfd.Distribution.sample,
        validate_args: bool = False,
        **kwargs: Any,
    ) -> None:
        arguments = {
            "event_shape": event_shape_tuple(event_shape),
            "validate_args": validate_args,
        }
        super().__init__(arguments, convert_to_tensor_fn, **kwargs)

    @staticmethod
    @abstractmethod
    def elements(*parameters: tf.Tensor, validate_args: bool) -> tfd.Distribution:
        """The distribution of the elements, from `params_per_element` tensors of their shape."""

    @classmethod
    def new(
        cls,
        params: Any,
        event_shape: Any = (),
        validate_args: bool = False,
        name: str | None = None,
    ) -> tfd.Independent:
        """Makes the distribution from `[..., params_size]`, without a layer."""
        parameters = split_parameters(params, event_shape, cls.params_per_element)
        return tfd.Independent(
            cls.elements(*parameters, validate_args=validate_args),
            reinterpreted_batch_ndims=len(event_shape_tuple(event_shape)),
            validate_args=validate_args,
            name=name or cls.__name__,
        )

    @classmethod
    def params_size(cls, event_shape: Any = (), name: str | None = None) -> int:
        """Number of parameters: those of an element, for each element."""
        return cls.params_per_element * event_size(event_shape)
