"""Bijectors of flow posteriors that TFP lacks: cheap from noise to a code, exact on the way back.

The planar and the Sylvester flow are one map, with M hidden units and M = 1 for the planar one,

    f(x) = x + A tanh(B x + b),   A of [d, M], B of [M, d].

Where C = B A is upper triangular, as a number is, the determinant is the product over the units of
1 + C_ii tanh'(.), and the inverse is a matter of M numbers: a = B x + b, what goes into the units,
fulfils

    a + C tanh(a) = B y + b,   and then   x = y - A tanh(a).

Solved from the last row up, each row is one increasing function of one number, `s + c tanh(s)` with
c = C_ii > -1. By symmetry let its value be positive: for c > 0 it is concave there, for c < 0
convex, so Newton's method from the left, or the right, goes to the root without ever passing it.
The steps themselves have no gradient: that of the root is the implicit one, and comes from one more
step, differentiated as a formula of y and the parameters.

TFP remembers the pair of every map, so the density of a distribution's own draw needs no inverse.

Reference:
    Rezende and Mohamed (2015), Variational Inference with Normalizing Flows, arXiv:1505.05770,
    equations 10 to 14 and appendix A.
    Van den Berg, Hasenclever, Tomczak and Welling (2018), Sylvester Normalizing Flows for
    Variational Inference, arXiv:1803.05649, section 3.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import util as tfp_util

# For every c from -0.99 to 1e4 the root is that of float32 in 10.
NEWTON_STEPS = 12
# Of a squared distance: keeps the gradient at the centre finite.
_TINY = 1e-30


class Sylvester(tfb.AutoCompositeTensorBijector):
    """The map `f(x) = x + A tanh(B x + b)` of vectors, with B A upper triangular.

    Args:
        outward: A, `[..., d, M]`.
        inward: B, `[..., M, d]`. `B A` must be upper triangular, with a diagonal above -1; what
            rounding leaves below the diagonal is not read.
        bias: b, `[..., M]`.
        validate_args: whether the diagonal is checked.
        name: name of the bijector.

    Example:
        >>> planar = Sylvester([[1.0], [0.0]], [[2.0, 1.0]], [0.5])
        >>> y = planar.forward([0.1, -0.2])
        >>> [f"{x:.4f}" for x in planar.inverse(y + 0.0).numpy()]
        ['0.1000', '-0.2000']

    Reference:
        Van den Berg et al. (2018), arXiv:1803.05649, equations 8 to 14.
    """

    def __init__(
        self,
        outward: Any,
        inward: Any,
        bias: Any,
        validate_args: bool = False,
        name: str = "sylvester",
    ) -> None:
        parameters = dict(locals())
        with tf.name_scope(name):
            self._outward = tf.convert_to_tensor(outward, dtype_hint=tf.float32)
            self._inward = tf.convert_to_tensor(inward, dtype=self._outward.dtype)
            self._bias = tf.convert_to_tensor(bias, dtype=self._outward.dtype)
            super().__init__(
                forward_min_event_ndims=1,
                dtype=self._outward.dtype,
                validate_args=validate_args,
                parameters=parameters,
                name=name,
            )

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict[str, Any]:
        return {
            "outward": tfp_util.ParameterProperties(event_ndims=2),
            "inward": tfp_util.ParameterProperties(event_ndims=2),
            "bias": tfp_util.ParameterProperties(event_ndims=1),
        }

    def _diagonal(self) -> tf.Tensor:
        """C_ii, `[..., M]`."""
        diagonal = tf.reduce_sum(self._inward * tf.linalg.matrix_transpose(self._outward), axis=-1)
        if self.validate_args:
            message = "The diagonal of B A must be above -1, or the map has no inverse."
            check = tf.debugging.assert_greater(diagonal, -tf.ones_like(diagonal), message)
            with tf.control_dependencies([] if check is None else [check]):
                diagonal = tf.identity(diagonal)
        return diagonal

    def _units(self, x: tf.Tensor) -> tf.Tensor:
        """tanh(B x + b), `[..., M]`."""
        return tf.tanh(tf.linalg.matvec(self._inward, x) + self._bias)

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return x + tf.linalg.matvec(self._outward, self._units(x))

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        mixing = tf.linalg.matmul(self._inward, self._outward)
        target = tf.linalg.matvec(self._inward, y) + self._bias
        hidden = solve_units(tf.stop_gradient(mixing), tf.stop_gradient(target))
        # a - (1 + C diag(tanh'(a)))^-1 (a + C tanh(a) - B y - b), with a and the slope constant
        units = tf.tanh(hidden)
        excess = hidden + _upper_matvec(mixing, units) - target
        slope = tf.stop_gradient(mixing) * (1.0 - tf.square(units))[..., tf.newaxis, :]
        hidden -= _solve_upper(slope, excess)
        return y - tf.linalg.matvec(self._outward, tf.tanh(hidden))

    def _forward_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        # sum_i log(1 + C_ii tanh'(.)_i)
        slope = 1.0 - tf.square(self._units(x))
        return tf.reduce_sum(tf.math.log1p(self._diagonal() * slope), axis=-1)


class Radial(tfb.AutoCompositeTensorBijector):
    """The map `f(x) = x + beta (x - centre) / (alpha + |x - centre|)` of vectors.

    Args:
        centre: the point that stays where it is, `[..., d]`.
        alpha: how far the map reaches, positive, `[...]`.
        beta: above -alpha; positive pushes outwards, negative pulls in, `[...]`.
        validate_args: whether the parameters are checked.
        name: name of the bijector.

    Example:
        >>> radial = Radial([0.0, 0.0], 1.0, 2.0)
        >>> y = radial.forward([0.0, 1.0])
        >>> y.numpy().tolist(), radial.inverse(y + 0.0).numpy().round(6).tolist()
        ([0.0, 2.0], [0.0, 1.0])

    Reference:
        Rezende and Mohamed (2015), arXiv:1505.05770, equation 14 and appendix A.2.
    """

    def __init__(
        self,
        centre: Any,
        alpha: Any,
        beta: Any,
        validate_args: bool = False,
        name: str = "radial",
    ) -> None:
        parameters = dict(locals())
        with tf.name_scope(name):
            self._centre = tf.convert_to_tensor(centre, dtype_hint=tf.float32)
            self._alpha = tf.convert_to_tensor(alpha, dtype=self._centre.dtype)
            self._beta = tf.convert_to_tensor(beta, dtype=self._centre.dtype)
            super().__init__(
                forward_min_event_ndims=1,
                dtype=self._centre.dtype,
                validate_args=validate_args,
                parameters=parameters,
                name=name,
            )

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict[str, Any]:
        return {
            "centre": tfp_util.ParameterProperties(event_ndims=1),
            "alpha": tfp_util.ParameterProperties(event_ndims=0),
            "beta": tfp_util.ParameterProperties(event_ndims=0),
        }

    def _offset(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """x - centre, `[..., d]`, and its length, `[...]`."""
        offset = x - self._centre
        return offset, tf.sqrt(tf.maximum(tf.reduce_sum(tf.square(offset), axis=-1), _TINY))

    def _checked_beta(self) -> tf.Tensor:
        if not self.validate_args:
            return self._beta
        message = "`alpha` must be positive, and `beta` above -alpha, or the map has no inverse."
        checks = [
            tf.debugging.assert_positive(self._alpha, message),
            tf.debugging.assert_positive(self._alpha + self._beta, message),
        ]
        with tf.control_dependencies([check for check in checks if check is not None]):
            return tf.identity(self._beta)

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        offset, length = self._offset(x)
        return x + (self._checked_beta() / (self._alpha + length))[..., tf.newaxis] * offset

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        # R = r + beta r / (alpha + r), so r^2 + p r - alpha R = 0 with p = alpha + beta - R
        offset, length = self._offset(y)
        beta = self._checked_beta()
        p = self._alpha + beta - length
        product = 4.0 * self._alpha * length
        root = tf.sqrt(tf.square(p) + product)
        # Each form of the root where its sum does not cancel.
        inside = product / (2.0 * (tf.maximum(p, 0.0) + root))
        radius = tf.where(p > 0.0, inside, 0.5 * (root - p))
        # (x - centre) (1 + beta / (alpha + r)) = y - centre
        total = self._alpha + beta
        return self._centre + ((self._alpha + radius) / (total + radius))[..., tf.newaxis] * offset

    def _forward_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        # (d - 1) log(1 + beta h) + log(1 + beta h + beta h' r), with h = 1 / (alpha + r)
        offset, length = self._offset(x)
        h = 1.0 / (self._alpha + length)
        pull = self._checked_beta() * h
        size = tf.cast(tf.shape(offset)[-1], offset.dtype)
        # h + h' r = alpha h^2
        return (size - 1.0) * tf.math.log1p(pull) + tf.math.log1p(pull * self._alpha * h)


class InverseAutoregressive(tfb.Bijector):
    """The map `f(x)_i = x_i exp(s_i) + t_i`, with t and s a network's word on what comes before.

    TFP's `MaskedAutoregressiveFlow`, inverted, with a context that belongs to each example: as a
    parameter, not as a part of a function, so that a slice of a batch takes its own part of it. A
    map takes one call of the network, its inverse as many as an event has elements.

    Args:
        network: maps `x`, `[..., d]`, and `conditional_input` to `[..., d, 2]`: shifts t and
            logarithms s of scales.
        context: the network's `conditional_input`, `[..., C]`.
        unroll_loop: whether the inverse is written out without a loop.
        validate_args: as for every TFP bijector.
        name: name of the bijector.

    Example:
        >>> def network(x, conditional_input):
        ...     shift = tf.cumsum(x, axis=-1, exclusive=True) + conditional_input
        ...     return tf.stack([shift, tf.zeros_like(shift)], axis=-1)
        >>> flow = InverseAutoregressive(network, [[0.5]])
        >>> y = flow.forward([[1.0, 2.0]])
        >>> y.numpy().tolist(), flow.inverse(y + 0.0).numpy().tolist()
        ([[1.5, 3.5]], [[1.0, 2.0]])

    Reference:
        Kingma, Salimans, Jozefowicz, Chen, Sutskever and Welling (2016), Improving Variational
        Inference with Inverse Autoregressive Flow, arXiv:1606.04934, section 3.
    """

    def __init__(
        self,
        network: Any,
        context: Any,
        unroll_loop: bool = True,
        validate_args: bool = False,
        name: str = "inverse_autoregressive",
    ) -> None:
        parameters = dict(locals())
        with tf.name_scope(name):
            self._context = tf.convert_to_tensor(context, dtype_hint=tf.float32)

            def undo(x: tf.Tensor) -> tfb.Bijector:
                params = network(x, conditional_input=self._context)
                shift, log_scale = tf.unstack(params, num=2, axis=-1)
                return tfb.Invert(tfb.Shift(shift)(tfb.Scale(log_scale=log_scale)))

            self._undo = tfb.MaskedAutoregressiveFlow(
                bijector_fn=undo, unroll_loop=unroll_loop, validate_args=validate_args
            )
            super().__init__(
                forward_min_event_ndims=1,
                dtype=self._context.dtype,
                validate_args=validate_args,
                parameters=parameters,
                name=name,
            )

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict[str, Any]:
        return {"context": tfp_util.ParameterProperties(event_ndims=1)}

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return self._undo.inverse(x)

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        return self._undo.forward(y)

    def _forward_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        return self._undo.inverse_log_det_jacobian(x, event_ndims=1)


def solve_units(mixing: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Solves `a + C tanh(a) = t` for an upper triangular C, from the last row up; no gradient.

    Args:
        mixing: C, `[..., M, M]`, with a diagonal above -1; what is below the diagonal is not read.
        target: t, `[..., M]`.

    Returns:
        a, of the broadcast shape `[..., M]`.

    Example:
        >>> a = solve_units(tf.constant([[0.5]]), tf.constant([[1.0 + 0.5 * 0.76159416]]))
        >>> round(float(a[0, 0]), 5)
        1.0
    """
    size = mixing.shape[-1]
    roots: list[tf.Tensor] = []
    units: list[tf.Tensor] = []
    for i in reversed(range(size)):
        # units holds tanh(a) of the rows below, the last first
        rest = sum(
            (mixing[..., i, size - 1 - k] * unit for k, unit in enumerate(units)),
            start=tf.zeros_like(target[..., i]),
        )
        roots.append(_solve_unit(mixing[..., i, i], target[..., i] - rest))
        units.append(tf.tanh(roots[-1]))
    return tf.stack(roots[::-1], axis=-1)


def _solve_unit(c: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
    """The root s of `s + c tanh(s) = t`, for c > -1, by Newton's method."""
    value = tf.abs(t)
    # Right of the root where the function is convex, c < 0; left of it where it is concave.
    start = tf.maximum(value - c, 0.0)

    def step(s: tf.Tensor) -> tuple[tf.Tensor]:
        unit = tf.tanh(s)
        return (s - (s + c * unit - value) / (1.0 + c * (1.0 - tf.square(unit))),)

    (root,) = tf.while_loop(lambda s: True, step, (start,), maximum_iterations=NEWTON_STEPS)
    return tf.where(t < 0.0, -root, root)


def _upper_matvec(matrix: tf.Tensor, vector: tf.Tensor) -> tf.Tensor:
    """The product with the upper triangle of a matrix."""
    return tf.linalg.matvec(tf.linalg.band_part(matrix, 0, -1), vector)


def _solve_upper(above: tf.Tensor, vector: tf.Tensor) -> tf.Tensor:
    """Solves `(I + U) x = vector`, with U the upper triangle of `above`."""
    identity = tf.eye(above.shape[-1], dtype=above.dtype)
    matrix = identity + tf.linalg.band_part(above, 0, -1)
    return tf.linalg.triangular_solve(matrix, vector[..., tf.newaxis], lower=False)[..., 0]
