"""Flows whose maps are networks: fast to draw from, as a posterior q(z|x) must be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions.flow_bijectors import InverseAutoregressive
from tfvae.flows import FIRST_SCALE, AutoregressiveNetwork, bounded_log_scale
from tfvae.layers.autoregressive import UNROLLED
from tfvae.layers.distribution_layer import DistributionLayer
from tfvae.layers.flow_posteriors import flow_of_normal
from tfvae.layers.parameters import positive_integer, split_parameters


@keras.saving.register_keras_serializable(package="tfvae")
class InverseAutoregressiveFlow(DistributionLayer):
    """A posterior of inverse autoregressive flows, from `[..., 2 d + context_size]`.

        f(z)_i = z_i exp(s_i) + t_i,   t_i and s_i of the elements before z_i and of the context

    t and s are the outputs of a network of the layer's own, one for each map; the order of the
    elements is turned round from one map to the next. What the encoder says of an example beside
    its mean and raw scales is the networks' context. The logarithm of a scale is 3 tanh(s / 3), and
    the networks start near zero. A map takes one call of its network, its inverse as many as there
    are dimensions. Support: all numbers.

    Args:
        event_size: the number of dimensions d.
        num_flows: the number T of maps.
        context_size: the number of features that the encoder gives to every network.
        hidden_units: sizes of each network's hidden layers.
        activation: activation of the hidden layers.
        convert_to_tensor_fn: how the distribution becomes a tensor; it has no closed-form mean.
        validate_args: whether TFP checks the parameters at every call.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.

    Raises:
        ValueError: if a size is not a positive integer.

    Example:
        >>> layer = InverseAutoregressiveFlow(2, context_size=3, hidden_units=(8,))
        >>> q = layer(tf.zeros([4, InverseAutoregressiveFlow.params_size(2, context_size=3)]))
        >>> tuple(q.shape), tuple(q.log_prob(tf.zeros([4, 2])).shape)
        ((4, 2), (4,))

    Reference:
        Kingma, Salimans, Jozefowicz, Chen, Sutskever and Welling (2016), Improving Variational
        Inference with Inverse Autoregressive Flow, arXiv:1606.04934, equations 9 to 11.
    """

    def __init__(
        self,
        event_size: int,
        num_flows: int = 4,
        context_size: int = 16,
        hidden_units: Sequence[int] = (64,),
        activation: Any = "relu",
        convert_to_tensor_fn: Any = tfd.Distribution.sample,
        validate_args: bool = False,
        **kwargs: Any,
    ) -> None:
        arguments = {
            "event_size": positive_integer(event_size, "event_size"),
            "num_flows": positive_integer(num_flows, "num_flows"),
            "context_size": positive_integer(context_size, "context_size"),
            "hidden_units": [positive_integer(n, "hidden_units") for n in hidden_units],
            "activation": keras.activations.get(activation),
            "validate_args": validate_args,
        }
        super().__init__(arguments, convert_to_tensor_fn, **kwargs)
        self.networks = [
            AutoregressiveNetwork(
                2,
                event_shape=event_size,
                conditional=True,
                conditional_event_shape=context_size,
                hidden_units=hidden_units,
                activation=activation,
                input_order="right-to-left" if number % 2 else "left-to-right",
                dtype=self.dtype_policy,
            )
            for number in range(num_flows)
        ]

    def build(self, input_shape: Any) -> None:
        for network in self.networks:
            network.build((None, self.arguments["event_size"]))
            for kernel in (network.kernels[-1], network.conditional_kernels[-1]):
                kernel.assign(FIRST_SCALE * kernel)
        super().build(input_shape)

    @staticmethod
    def new(
        params: Any,
        event_size: int,
        networks: Sequence[Any],
        context_size: int = 16,
        validate_args: bool = False,
        name: str | None = None,
    ) -> tfd.TransformedDistribution:
        """Makes the distribution from `[..., 2 d + context_size]` and a network for each map."""
        size = InverseAutoregressiveFlow.params_size(event_size, context_size=context_size)
        (params,) = split_parameters(params, size)
        maps = [
            InverseAutoregressive(
                _bounded_network(network),
                params[..., 2 * event_size :],
                unroll_loop=event_size <= UNROLLED,
                validate_args=validate_args,
            )
            for network in networks
        ]
        return flow_of_normal(
            params, event_size, maps, validate_args, name or "InverseAutoregressiveFlow"
        )

    def make_distribution(self, params: tf.Tensor) -> tfd.TransformedDistribution:
        size, context, validate_args = (
            self.arguments[name] for name in ("event_size", "context_size", "validate_args")
        )
        return self.new(params, size, self.networks, context, validate_args)

    @staticmethod
    def params_size(
        event_size: int, num_flows: int = 4, context_size: int = 16, name: str | None = None
    ) -> int:
        """Number of parameters: a mean and a raw scale for each dimension, and the context."""
        event_size = positive_integer(event_size, "event_size")
        return 2 * event_size + positive_integer(context_size, "context_size")

    def get_config(self) -> dict[str, Any]:
        activation = keras.activations.serialize(self.arguments["activation"])
        return {**super().get_config(), "activation": activation}


def _bounded_network(network: Any) -> Any:
    """The network with bounded logarithms of scales."""

    def call(x: tf.Tensor, conditional_input: tf.Tensor) -> tf.Tensor:
        outputs = network(x, conditional_input=conditional_input)
        return tf.stack([outputs[..., 0], bounded_log_scale(outputs[..., 1])], axis=-1)

    return call
