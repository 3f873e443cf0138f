"""Mixtures of distributions of one family: several modes for one input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions import plain
from tfvae.layers.distribution_layer import (
    DistributionLayer,
    deserialize_callable,
    serialize_callable,
)
from tfvae.layers.logistic import IndependentLogistic
from tfvae.layers.normal import IndependentNormal
from tfvae.layers.parameters import event_shape_tuple, positive_integer, split_mixture


@keras.saving.register_keras_serializable(package="tfvae")
class MixtureSameFamily(DistributionLayer):
    """A mixture of distributions that a layer makes, from `[..., params_size]`.

    The parameters are the logits of the components, followed by the parameters of each component in
    turn. A component stands for a whole event. Support: that of the components. A draw takes
    one of every component, and has no gradient to the parameters; over the layers of counts, whose
    draws are slow, say `convert_to_tensor_fn="mean"`.

    Args:
        num_components: the number of components K.
        component_layer: a distribution layer such as `IndependentNormal(2)`, or another function
            from parameters `[..., K, n]` to a distribution of batch shape `[..., K]`. What a layer
            owns is trained; of its options only those of the distribution count. A model is saved
            only with a layer or a registered function.
        convert_to_tensor_fn: how the distribution becomes a tensor.
        validate_args: whether TFP checks the mixture at every call; what a component checks is for
            `component_layer` to say.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.

    Raises:
        TypeError: if `component_layer` cannot be called, or does not make a distribution.
        ValueError: if `num_components` is not a positive integer, or if the component layer has a
            regulariser of its own.

    Example:
        >>> size = MixtureSameFamily.params_size(5, IndependentNormal.params_size(2))
        >>> p = MixtureSameFamily(5, IndependentNormal(2))(tf.zeros([3, size]))
        >>> size, isinstance(p, tfd.MixtureSameFamily), tuple(p.log_prob(tf.zeros([3, 2])).shape)
        (25, True, (3,))

    Reference:
        Bishop (1994), Mixture Density Networks, Aston University, NCRG/94/004.
    """

    def __init__(
        self,
        num_components: int,
        component_layer: Callable[[tf.Tensor], tfd.Distribution],
        convert_to_tensor_fn: Any = tfd.Distribution.sample,
        validate_args: bool = False,
        **kwargs: Any,
    ) -> None:
        component_layer = deserialize_callable(component_layer)
        if not callable(component_layer):
            raise TypeError(
                "`component_layer` must be a distribution layer or a function from parameters to a "
                f"distribution. Received: {component_layer!r}"
            )
        if getattr(component_layer, "latent_regularizer", None) is not None:
            raise ValueError(
                "A component has no value to regularise: give `activity_regularizer` to the "
                f"mixture. Received: component_layer={component_layer!r} with a regulariser"
            )
        arguments = {
            "num_components": positive_integer(num_components, "num_components"),
            "component_layer": component_layer,
            "validate_args": validate_args,
        }
        super().__init__(arguments, convert_to_tensor_fn, **kwargs)
        self.component_layer = component_layer
        self.support = getattr(component_layer, "support", None)

    def build(self, input_shape: Any) -> None:
        layer = self.component_layer
        if isinstance(layer, DistributionLayer) and not layer.built:
            k = self.arguments["num_components"]
            layer.build((*input_shape[:-1], k, input_shape[-1] // k - 1))
        super().build(input_shape)

    @staticmethod
    def new(
        params: Any,
        num_components: int,
        component_layer: Callable[[tf.Tensor], tfd.Distribution],
        validate_args: bool = False,
        name: str | None = None,
    ) -> tfd.MixtureSameFamily:
        """Makes the distribution from `[..., params_size]`."""
        logits, component_params = split_mixture(params, num_components)
        if isinstance(component_layer, DistributionLayer):
            # Without a call, which would draw.
            components = component_layer.make_distribution(component_params)
        else:
            components = component_layer(component_params)
        if not isinstance(components, tfd.Distribution):
            raise TypeError(
                "`component_layer` must make a `tfd.Distribution`. "
                f"Received: {components!r} from {component_layer!r}"
            )
        return tfd.MixtureSameFamily(
            tfd.Categorical(logits=logits, validate_args=validate_args),
            plain(components),
            validate_args=validate_args,
            name=name or "MixtureSameFamily",
        )

    @staticmethod
    def params_size(
        num_components: int, component_params_size: int, name: str | None = None
    ) -> int:
        """Number of parameters: a logit and the parameters of each component."""
        num_components = positive_integer(num_components, "num_components")
        return num_components * (1 + int(component_params_size))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "component_layer": serialize_callable(self.component_layer, "component_layer"),
        }


class _IndependentMixture(DistributionLayer):
    """Abstract base of mixtures whose components are layers of independent elements.

    Args:
        num_components: the number of components K.
        event_shape: shape of an event.
        convert_to_tensor_fn: how the distribution becomes a tensor.
        validate_args: whether TFP checks the parameters at every call.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.
    """

    component_class: Any

    def __init__(
        self,
        num_components: int,
        event_shape: Any = (),
        convert_to_tensor_fn: Any = tfd.Distribution.sample,
        validate_args: bool = False,
        **kwargs: Any,
    ) -> None:
        arguments = {
            "num_components": positive_integer(num_components, "num_components"),
            "event_shape": event_shape_tuple(event_shape),
            "validate_args": validate_args,
        }
        super().__init__(arguments, convert_to_tensor_fn, **kwargs)

    @classmethod
    def new(
        cls,
        params: Any,
        num_components: int,
        event_shape: Any = (),
        validate_args: bool = False,
        name: str | None = None,
    ) -> tfd.MixtureSameFamily:
        """Makes the distribution from `[..., params_size]`."""

        def components(component_params: tf.Tensor) -> tfd.Independent:
            return cls.component_class.new(component_params, event_shape, validate_args)

        return MixtureSameFamily.new(
            params, num_components, components, validate_args, name or cls.__name__
        )

    @classmethod
    def params_size(
        cls, num_components: int, event_shape: Any = (), name: str | None = None
    ) -> int:
        """Number of parameters: a logit, and two for each element, for each component."""
        size = cls.component_class.params_size(event_shape)
        return MixtureSameFamily.params_size(num_components, size)


@keras.saving.register_keras_serializable(package="tfvae")
class MixtureNormal(_IndependentMixture):
    """A mixture of independent normals, from `[..., num_components * (1 + 2 * event_size)]`.

    Support: all numbers.

    Args:
        num_components: the number of components.
        event_shape: shape of an event.
        convert_to_tensor_fn: how the distribution becomes a tensor.
        validate_args: whether TFP checks the parameters at every call.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.

    Example:
        >>> p = MixtureNormal(5, event_shape=2)(tf.zeros([3, MixtureNormal.params_size(5, 2)]))
        >>> tuple(p.log_prob(tf.zeros([3, 2])).shape)
        (3,)
    """

    component_class = IndependentNormal


@keras.saving.register_keras_serializable(package="tfvae")
class MixtureLogistic(_IndependentMixture):
    """A mixture of independent logistics, from `[..., num_components * (1 + 2 * event_size)]`.

    Support: all numbers.

    Args:
        num_components: the number of components.
        event_shape: shape of an event.
        convert_to_tensor_fn: how the distribution becomes a tensor.
        validate_args: whether TFP checks the parameters at every call.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.

    Example:
        >>> p = MixtureLogistic(5, event_shape=2)(tf.zeros([3, MixtureLogistic.params_size(5, 2)]))
        >>> tuple(p.log_prob(tf.zeros([3, 2])).shape)
        (3,)
    """

    component_class = IndependentLogistic
