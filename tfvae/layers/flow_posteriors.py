"""Normalizing flows as posteriors q(z|x): a diagonal normal, bent by maps of the encoder's choice.

Each layer outputs `z = f_T(... f_1(z_0))` with `z_0` from a diagonal normal. Its parameters are
those of `MultivariateNormalDiag`, a mean and raw scales, followed by those of the maps, one map
after the other; with parameters of zero every map is the identity. A flow has neither a mean nor a
divergence in closed form: the divergence from a prior is estimated from the draw that the decoder
sees, which costs no inverse; `tfvae.distributions.central_value` says what stands for the mean.

    PlanarFlow       one bend a map, along a direction
    RadialFlow       one centre a map, that pushes or pulls
    SylvesterFlow    several bends a map

and, with maps that are networks of the layer's own, `InverseAutoregressiveFlow`.

The density of any other point takes the inverse. It is exact, for a planar or a Sylvester flow by
Newton's method, and has gradients to the point and the parameters.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfvae.distributions import positive_scale
from tfvae.distributions.flow_bijectors import Radial, Sylvester
from tfvae.layers.distribution_layer import DistributionLayer
from tfvae.layers.multivariate_normal import MultivariateNormalDiag
from tfvae.layers.parameters import positive_integer, reshape_last_axis, split_parameters

# Of the elements of a map's vectors and matrices.
BOUND = 10.0
# How near the derivative of a map comes to zero: 1 - 0.99. The inverse is as steep as that is flat.
STEEPEST = 0.99
# Of the two lengths of a radial map.
SHORTEST, LONGEST = 0.05, 50.0


@keras.saving.register_keras_serializable(package="tfvae")
class PlanarFlow(DistributionLayer):
    """A posterior of planar flows, from `[..., 2 d + T (2 d + 1)]`.

        f(z) = z + u tanh(w'z + b)

    The parameters of a map are u, w and b; the elements of u and w are 10 tanh(raw / 10). A map has
    an inverse where w'u > -1. So u is scaled by `0.99 (1 + c / (sqrt(c^2 + 4) + 2)) / 2` with
    c = w'u: the new w'u increases with the old one, and stays above -0.99. (The paper moves u along
    w instead, which reaches the same maps but is not defined at w = 0.) Support: all numbers.

    Args:
        event_size: the number of dimensions d.
        num_flows: the number T of maps.
        convert_to_tensor_fn: how the distribution becomes a tensor; it has no closed-form mean.
        validate_args: whether TFP checks the parameters at every call.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.

    Raises:
        ValueError: if a size is not a positive integer.

    Example:
        >>> size = PlanarFlow.params_size(2, num_flows=3)
        >>> q = PlanarFlow(2, num_flows=3)(tf.zeros([4, size]))
        >>> isinstance(q, tfd.TransformedDistribution), tuple(q.shape), size
        (True, (4, 2), 19)

    Reference:
        Rezende and Mohamed (2015), Variational Inference with Normalizing Flows,
        arXiv:1505.05770, equations 10 to 12 and appendix A.1.
    """

    def __init__(
        self,
        event_size: int,
        num_flows: int = 4,
        convert_to_tensor_fn: Any = tfd.Distribution.sample,
        validate_args: bool = False,
        **kwargs: Any,
    ) -> None:
        arguments = {
            "event_size": positive_integer(event_size, "event_size"),
            "num_flows": positive_integer(num_flows, "num_flows"),
            "validate_args": validate_args,
        }
        super().__init__(arguments, convert_to_tensor_fn, **kwargs)

    @staticmethod
    def new(
        params: Any,
        event_size: int,
        num_flows: int = 4,
        validate_args: bool = False,
        name: str | None = None,
    ) -> tfd.TransformedDistribution:
        """Makes the distribution from `[..., 2 d + T (2 d + 1)]`."""
        (params,) = split_parameters(params, PlanarFlow.params_size(event_size, num_flows))
        maps = []
        for part in _parts(params, event_size, num_flows):
            outward, inward = _bounded(part[..., :event_size]), _bounded(part[..., event_size:-1])
            product = tf.reduce_sum(outward * inward, axis=-1, keepdims=True)
            scale = 0.5 * (1.0 + product / (tf.sqrt(tf.square(product) + 4.0) + 2.0))
            outward *= STEEPEST * scale
            maps.append(
                Sylvester(
                    outward[..., tf.newaxis],
                    inward[..., tf.newaxis, :],
                    part[..., -1:],
                    validate_args=validate_args,
                    name="planar",
                )
            )
        return flow_of_normal(params, event_size, maps, validate_args, name or "PlanarFlow")

    @staticmethod
    def params_size(event_size: int, num_flows: int = 4, name: str | None = None) -> int:
        """Number of parameters: a mean and a raw scale for each dimension, and T maps."""
        event_size = positive_integer(event_size, "event_size")
        return 2 * event_size + positive_integer(num_flows, "num_flows") * (2 * event_size + 1)


@keras.saving.register_keras_serializable(package="tfvae")
class RadialFlow(DistributionLayer):
    """A posterior of radial flows, from `[..., 2 d + T (d + 2)]`.

        f(z) = z + beta (z - c) / (alpha + |z - c|)

    The parameters of a map are the centre c, a raw alpha and a raw alpha + beta; both are
    `positive_scale(raw, 0.05, 50)`, so that the map has an inverse. Support: all numbers.

    Args:
        event_size: the number of dimensions d.
        num_flows: the number T of maps.
        convert_to_tensor_fn: how the distribution becomes a tensor; it has no closed-form mean.
        validate_args: whether TFP checks the parameters at every call.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.

    Raises:
        ValueError: if a size is not a positive integer.

    Example:
        >>> size = RadialFlow.params_size(2, num_flows=3)
        >>> q = RadialFlow(2, num_flows=3)(tf.zeros([4, size]))
        >>> isinstance(q, tfd.TransformedDistribution), tuple(q.shape), size
        (True, (4, 2), 16)

    Reference:
        Rezende and Mohamed (2015), Variational Inference with Normalizing Flows,
        arXiv:1505.05770, equation 14 and appendix A.2.
    """

    def __init__(
        self,
        event_size: int,
        num_flows: int = 4,
        convert_to_tensor_fn: Any = tfd.Distribution.sample,
        validate_args: bool = False,
        **kwargs: Any,
    ) -> None:
        arguments = {
            "event_size": positive_integer(event_size, "event_size"),
            "num_flows": positive_integer(num_flows, "num_flows"),
            "validate_args": validate_args,
        }
        super().__init__(arguments, convert_to_tensor_fn, **kwargs)

    @staticmethod
    def new(
        params: Any,
        event_size: int,
        num_flows: int = 4,
        validate_args: bool = False,
        name: str | None = None,
    ) -> tfd.TransformedDistribution:
        """Makes the distribution from `[..., 2 d + T (d + 2)]`."""
        (params,) = split_parameters(params, RadialFlow.params_size(event_size, num_flows))
        maps = []
        for part in _parts(params, event_size, num_flows):
            alpha = positive_scale(part[..., -2], SHORTEST, LONGEST)
            total = positive_scale(part[..., -1], SHORTEST, LONGEST)
            maps.append(Radial(part[..., :-2], alpha, total - alpha, validate_args=validate_args))
        return flow_of_normal(params, event_size, maps, validate_args, name or "RadialFlow")

    @staticmethod
    def params_size(event_size: int, num_flows: int = 4, name: str | None = None) -> int:
        """Number of parameters: a mean and a raw scale for each dimension, and T maps."""
        event_size = positive_integer(event_size, "event_size")
        return 2 * event_size + positive_integer(num_flows, "num_flows") * (event_size + 2)


@keras.saving.register_keras_serializable(package="tfvae")
class SylvesterFlow(DistributionLayer):
    """A posterior of orthogonal Sylvester flows, from `[..., 2 d + T (M d + M (M + 3) / 2)]`.

        f(z) = z + Q R tanh(R~ Q'z + b)

    Q has M orthonormal columns; R and R~ are upper triangular, with diagonals in (-1, 1), so that
    the map has an inverse. The parameters of a map are a d x M matrix that holds R on and above its
    diagonal and M reflections below it, whose product is Q, as LAPACK stores a QR decomposition;
    the upper triangle of R~ in the order of `tfp.math.fill_triangular`; and b. The diagonals of R
    and R~ are `sqrt(0.99) tanh(raw)`, the other elements 10 tanh(raw / 10). Support: all numbers.

    Args:
        event_size: the number of dimensions d.
        num_flows: the number T of maps.
        num_units: the number M of hidden units of a map, at most d; d if `None`.
        convert_to_tensor_fn: how the distribution becomes a tensor; it has no closed-form mean.
        validate_args: whether TFP checks the parameters at every call.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.

    Raises:
        ValueError: if a size is not a positive integer, or there are more units than dimensions.

    Example:
        >>> size = SylvesterFlow.params_size(3, num_flows=2, num_units=2)
        >>> q = SylvesterFlow(3, num_flows=2, num_units=2)(tf.zeros([4, size]))
        >>> isinstance(q, tfd.TransformedDistribution), tuple(q.shape), size
        (True, (4, 3), 28)

    Reference:
        Van den Berg, Hasenclever, Tomczak and Welling (2018), Sylvester Normalizing Flows for
        Variational Inference, arXiv:1803.05649, section 3; the reflections are those of its
        Householder flows, in the number that reaches every Q of its orthogonal flows.
    """

    def __init__(
        self,
        event_size: int,
        num_flows: int = 4,
        num_units: int | None = None,
        convert_to_tensor_fn: Any = tfd.Distribution.sample,
        validate_args: bool = False,
        **kwargs: Any,
    ) -> None:
        arguments = {
            "event_size": positive_integer(event_size, "event_size"),
            "num_flows": positive_integer(num_flows, "num_flows"),
            "num_units": _unit_count(num_units, event_size),
            "validate_args": validate_args,
        }
        super().__init__(arguments, convert_to_tensor_fn, **kwargs)

    @staticmethod
    def new(
        params: Any,
        event_size: int,
        num_flows: int = 4,
        num_units: int | None = None,
        validate_args: bool = False,
        name: str | None = None,
    ) -> tfd.TransformedDistribution:
        """Makes the distribution from `[..., 2 d + T (M d + M (M + 3) / 2)]`."""
        units = _unit_count(num_units, event_size)
        size = SylvesterFlow.params_size(event_size, num_flows, units)
        (params,) = split_parameters(params, size)
        maps = []
        for part in _parts(params, event_size, num_flows):
            packed = reshape_last_axis(part[..., : event_size * units], [event_size, units])
            second = tfp.math.fill_triangular(part[..., event_size * units : -units], upper=True)
            frame = _orthonormal(_bounded(packed))
            outward = tf.linalg.matmul(frame, _triangle(packed[..., :units, :]))
            inward = tf.linalg.matmul(_triangle(second), frame, transpose_b=True)
            maps.append(Sylvester(outward, inward, part[..., -units:], validate_args=validate_args))
        return flow_of_normal(params, event_size, maps, validate_args, name or "SylvesterFlow")

    @staticmethod
    def params_size(
        event_size: int,
        num_flows: int = 4,
        num_units: int | None = None,
        name: str | None = None,
    ) -> int:
        """Number of parameters: a mean and a raw scale for each dimension, and T maps."""
        event_size = positive_integer(event_size, "event_size")
        units = _unit_count(num_units, event_size)
        each = event_size * units + units * (units + 3) // 2
        return 2 * event_size + positive_integer(num_flows, "num_flows") * each


def flow_of_normal(
    params: tf.Tensor, event_size: int, maps: list[Any], validate_args: bool, name: str
) -> tfd.TransformedDistribution:
    """The normal of the first 2 d parameters, sent through the maps, the first map first."""
    normal = MultivariateNormalDiag.new(params[..., : 2 * event_size], event_size, validate_args)
    # A chain applies its last element first.
    flow = tfb.Chain(maps[::-1], validate_args=validate_args)
    return tfd.TransformedDistribution(normal, flow, validate_args=validate_args, name=name)


def _parts(params: tf.Tensor, event_size: int, num_flows: int) -> list[tf.Tensor]:
    """The parameters of each map: what follows those of the normal, in equal parts."""
    return tf.split(params[..., 2 * event_size :], num_flows, axis=-1)


def _bounded(raw: tf.Tensor) -> tf.Tensor:
    return BOUND * tf.tanh(raw / BOUND)


def _triangle(raw: tf.Tensor) -> tf.Tensor:
    """The upper triangular matrix of a square of parameters, `[..., M, M]`."""
    size = raw.shape[-1]
    above = tf.constant(np.triu(np.ones((size, size)), 1), raw.dtype)
    diagonal = tf.eye(size, dtype=raw.dtype)
    return above * _bounded(raw) + STEEPEST**0.5 * diagonal * tf.tanh(raw)


def _orthonormal(packed: tf.Tensor) -> tf.Tensor:
    """The first M columns of the product of M reflections, `[..., d, M]`.

    The i-th reflection turns round the vector that is zero before its place i, 1 there, and the
    parameters below the diagonal after it: never zero, whatever they are.
    """
    size, units = packed.shape[-2:]
    below = tf.constant(np.tril(np.ones((size, units)), -1), packed.dtype)
    diagonal = tf.eye(size, units, dtype=packed.dtype)
    vectors = below * packed + diagonal
    frame = diagonal + tf.zeros_like(packed)
    for i in reversed(range(units)):
        vector = vectors[..., i : i + 1]
        scale = 2.0 / tf.reduce_sum(tf.square(vector), axis=-2, keepdims=True)
        frame -= scale * vector * tf.reduce_sum(vector * frame, axis=-2, keepdims=True)
    return frame


def _unit_count(num_units: int | None, event_size: int) -> int:
    if num_units is None:
        return positive_integer(event_size, "event_size")
    if positive_integer(num_units, "num_units") > event_size:
        raise ValueError(
            "A Sylvester flow has at most as many units as dimensions. "
            f"Received: num_units={num_units!r}, event_size={event_size!r}"
        )
    return int(num_units)
