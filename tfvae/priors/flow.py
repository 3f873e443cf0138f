"""A normalizing flow as a prior: a standard normal, bent by invertible networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfvae.distributions.spline import RationalQuadraticSpline
from tfvae.flows import FIRST_SCALE, AutoregressiveNetwork, bounded_log_scale
from tfvae.layers.parameters import reshape_last_axis
from tfvae.priors.base import Prior
from tfvae.priors.normal import draw_standard_normal, independent_normal

KINDS = ("coupling", "autoregressive", "spline")
# What of a spline's interval the bins share equally, so that none can vanish.
EQUAL_SHARE = 0.01


@keras.saving.register_keras_serializable(package="tfvae")
class NormalizingFlow(Prior):
    """A standard normal u, transformed by several invertible layers: z = f_T(...f_1(u)).

    Each layer moves and scales some elements by what a network says of others,

        coupling (RealNVP):    z_b = u_b exp(s(u_a)) + t(u_a),   z_a = u_a,
        autoregressive (MAF):  z_i = u_i exp(s(z_{<i})) + t(z_{<i}),
        spline:                z_b = g(u_b; u_a),                z_a = u_a,

    with the order of the elements reversed from one layer to the next. A coupling layer gives
    densities and draws in one pass; an autoregressive one bends more, and takes as many passes for
    a draw as a code has elements. A spline couples too, by an increasing function g of each element
    that is made of `num_bins` rational-quadratic pieces in `[-bound, bound]`, and is the identity
    outside: several modes take few layers. The logarithms of scales and of slopes are
    3 tanh(s / 3). The last layer of each network starts near zero, so that the prior starts near
    the standard normal. The divergence from it is estimated from draws.

    Args:
        event_shape: the size of a code, which is a vector; at least 2 where layers couple.
        kind: `"coupling"`, `"autoregressive"` or `"spline"`.
        num_layers: the number T of layers; at least 2 move every element by coupling.
        hidden_units: sizes of each network's hidden layers.
        activation: activation of the hidden layers.
        num_bins: the number of pieces of a spline.
        bound: where splines end, a positive number.
        **kwargs: `name`, `dtype`, `trainable`.

    Raises:
        ValueError: if a code is not a vector, or too short for coupling, if the kind is unknown, a
            size is not a positive integer, or `bound` is not positive.

    Example:
        >>> from tfvae import random
        >>> prior = NormalizingFlow(3, num_layers=2, hidden_units=(8,))
        >>> round(float(prior().log_prob([0.0, 0.0, 0.0])), 4)
        -2.7568
        >>> prior.draw(random.seeds(0, 2)).shape.as_list()
        [2, 3]

    Reference:
        Dinh, Sohl-Dickstein and Bengio (2017), Density Estimation using Real NVP, arXiv:1605.08803,
        equations 7 and 8; Papamakarios, Pavlakou and Murray (2017), Masked Autoregressive Flow for
        Density Estimation, arXiv:1705.07057; Durkan, Bekasov, Murray and Papamakarios (2019),
        Neural Spline Flows, arXiv:1906.04032, section 3.1; Chen et al. (2017), Variational Lossy
        Autoencoder, arXiv:1611.02731, for a flow as a prior.
    """

    def __init__(
        self,
        event_shape: Any,
        kind: str = "coupling",
        num_layers: int = 4,
        hidden_units: Sequence[int] = (64, 64),
        activation: Any = "relu",
        num_bins: int = 8,
        bound: float = 5.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_shape, **kwargs)
        if kind not in KINDS:
            raise ValueError(f"`kind` must be one of {KINDS}. Received: {kind!r}")
        least = 1 if kind == "autoregressive" else 2
        if len(self.event_shape) != 1 or self.event_shape[0] < least:
            raise ValueError(
                "The codes of a flow are vectors, for coupling and splines of at least 2 elements. "
                f"Received: event_shape={event_shape!r}, kind={kind!r}"
            )
        sizes = [num_layers, *hidden_units, num_bins]
        if not all(isinstance(n, (int, np.integer)) and n >= 1 for n in sizes):
            raise ValueError(
                "`num_layers`, `hidden_units` and `num_bins` must be integers of at least 1. "
                f"Received: num_layers={num_layers!r}, hidden_units={hidden_units!r}, "
                f"num_bins={num_bins!r}"
            )
        if not 0 < bound < math.inf:
            raise ValueError(f"`bound` must be a positive number. Received: {bound!r}")
        self.kind = kind
        self.num_layers = int(num_layers)
        self.hidden_units = [int(n) for n in hidden_units]
        self.activation = keras.activations.get(activation)
        self.num_bins, self.bound = int(num_bins), float(bound)
        make = self._autoregressive_network if kind == "autoregressive" else self._coupling_network
        self.networks = [make() for _ in range(self.num_layers)]

    def _coupling_network(self) -> list[keras.layers.Layer]:
        """Dense layers from the first elements to the parameters of the others."""
        size = self.event_shape[0] // 2
        layers = [
            keras.layers.Dense(units, self.activation, dtype=self.dtype_policy)
            for units in self.hidden_units
        ]
        # A shift and a log-scale, or widths, heights and log-slopes.
        each = 2 if self.kind == "coupling" else 3 * self.num_bins - 1
        outputs = each * (self.event_shape[0] - size)
        layers.append(keras.layers.Dense(outputs, dtype=self.dtype_policy))
        for layer in layers:
            layer.build((None, size))
            size = layer.units
        layers[-1].kernel.assign(FIRST_SCALE * layers[-1].kernel)
        return layers

    def _autoregressive_network(self) -> list[keras.layers.Layer]:
        made = AutoregressiveNetwork(
            2,
            event_shape=self.event_shape[0],
            hidden_units=self.hidden_units,
            activation=self.activation,
            dtype=self.dtype_policy,
        )
        made.build((None, self.event_shape[0]))
        made.kernels[-1].assign(FIRST_SCALE * made.kernels[-1])
        return [made]

    def bijector(self) -> tfb.Bijector:
        """The transformation from u to z, made anew so that gradients reach its networks."""
        size = self.event_shape[0]
        reverse = tfb.Permute(list(range(size))[::-1])
        steps = []
        for network in self.networks:
            if self.kind == "coupling":
                layer = tfb.RealNVP(
                    num_masked=size // 2, shift_and_log_scale_fn=_shift_and_log_scale(network)
                )
            elif self.kind == "spline":
                layer = tfb.RealNVP(num_masked=size // 2, bijector_fn=self._spline(network))
            else:
                layer = tfb.MaskedAutoregressiveFlow(_shift_and_log_scale(network))
            steps += [layer, reverse]
        # A chain applies its last element first; the outermost reversal would change nothing.
        return tfb.Chain(steps[:-1])

    def _spline(self, network: list[keras.layers.Layer]) -> Any:
        """What TFP's bijector asks for: a function to the map of the elements that move."""

        def call(x: tf.Tensor, units: int, **conditions: Any) -> tfb.Bijector:
            del conditions
            raw = reshape_last_axis(_apply(network, x), [units, 3 * self.num_bins - 1])
            widths, heights, slopes = tf.split(
                raw, [self.num_bins, self.num_bins, self.num_bins - 1], axis=-1
            )
            return RationalQuadraticSpline(
                self._bins(widths),
                self._bins(heights),
                tf.exp(bounded_log_scale(slopes)),
                range_min=-self.bound,
            )

        return call

    def _bins(self, raw: tf.Tensor) -> tf.Tensor:
        """Sizes of bins that fill the interval, `[..., K]`; parameters of zero share it equally."""
        shares = (1.0 - EQUAL_SHARE) * tf.nn.softmax(raw, axis=-1)
        return 2.0 * self.bound * (EQUAL_SHARE / self.num_bins + shares)

    def distribution(self) -> tfd.Distribution:
        zeros = tf.zeros(self.event_shape, self.compute_dtype)
        normal = independent_normal(zeros, tf.ones_like(zeros))
        return tfd.TransformedDistribution(normal, self.bijector())

    def draw(self, row_seeds: Any) -> tf.Tensor:
        noise = draw_standard_normal(row_seeds, self.event_shape, self.compute_dtype)
        return self.bijector().forward(noise)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kind": self.kind,
            "num_layers": self.num_layers,
            "hidden_units": self.hidden_units,
            "activation": keras.activations.serialize(self.activation),
            "num_bins": self.num_bins,
            "bound": self.bound,
        }


def _shift_and_log_scale(network: list[keras.layers.Layer]) -> Any:
    """What TFP's bijectors ask for: a function to a shift and a log-scale, here a bounded one."""

    def call(x: tf.Tensor, *sizes: Any, **conditions: Any) -> tuple[tf.Tensor, tf.Tensor]:
        del sizes, conditions
        if isinstance(network[0], AutoregressiveNetwork):
            shift, raw = tf.unstack(network[0](x), num=2, axis=-1)
        else:
            shift, raw = tf.split(_apply(network, x), 2, axis=-1)
        return shift, bounded_log_scale(raw)

    return call


def _apply(network: list[keras.layers.Layer], x: tf.Tensor) -> tf.Tensor:
    """The outputs of Dense layers, which want a batch whatever the bijector is called with."""
    outputs = tf.reshape(x, [-1, x.shape[-1]])
    for layer in network:
        outputs = layer(outputs)
    shape = tf.concat([tf.shape(x)[:-1], [outputs.shape[-1]]], axis=0)
    return tf.reshape(outputs, shape)
