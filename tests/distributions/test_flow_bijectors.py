"""The maps of flow posteriors: there and back, their determinants, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import optimize
from tensorflow_probability import distributions as tfd

from tfvae.distributions import InverseAutoregressive, Radial, Sylvester, central_value
from tfvae.distributions.flow_bijectors import solve_units

B, D, M = 4, 3, 2
RNG = np.random.default_rng(5)
FRAME = np.linalg.qr(RNG.normal(size=(B, D, M)))[0]


def triangle():
    raw = RNG.normal(size=(B, M, M))
    diagonal = 0.95 * np.tanh(np.diagonal(raw, axis1=1, axis2=2))
    return np.triu(raw, 1) + diagonal[:, :, None] * np.eye(M)


LEFT, RIGHT = triangle(), triangle()
OUTWARD = RNG.normal(size=(B, D, 1))
# w'u from nearly -1 upwards, one an example.
INWARD = np.swapaxes(OUTWARD, 1, 2) / (OUTWARD**2).sum(1, keepdims=True)
INWARD = INWARD * np.array([-0.95, -0.3, 1.0, 30.0])[:, None, None]
MIXING = np.tril(RNG.normal(size=(D, D)), -1)


def network(x, conditional_input):
    """Autoregressive by hand: shift and log-scale of the elements before, and a context."""
    before = tf.linalg.matvec(tf.constant(MIXING, x.dtype), tf.tanh(x))
    return tf.stack([before + conditional_input, 0.5 * tf.sin(before * conditional_input)], -1)


PARAMETERS = {
    "planar": (OUTWARD, INWARD, RNG.normal(size=(B, 1))),
    "sylvester": (FRAME @ LEFT, RIGHT @ np.swapaxes(FRAME, 1, 2), RNG.normal(size=(B, M))),
    "radial": (
        RNG.normal(size=(B, D)),
        np.array([0.1, 0.7, 2.0, 3.0]),
        np.array([-0.09, 4.0, -1.9, 0.0]),
    ),
    "autoregressive": (RNG.normal(size=(B, 1)),),
}
MAPS = {
    "planar": Sylvester,
    "sylvester": Sylvester,
    "radial": Radial,
    "autoregressive": lambda context: InverseAutoregressive(network, context),
}
X = RNG.normal(size=(5, B, D))
EPSILON = 1e-6


def bijector(name, dtype="float64"):
    return MAPS[name](*(tf.constant(p, dtype) for p in PARAMETERS[name]))


def afresh(x):
    """The same numbers in another tensor: a bijector remembers the tensors it has mapped."""
    return tf.identity(x)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-4), ("float64", 1e-9)])
def test_the_inverse_undoes_the_map(name, dtype, tolerance):
    flow, x = bijector(name, dtype), tf.constant(X, dtype)
    y = flow.forward(x)
    assert np.abs(y - x).max() > 0.1
    np.testing.assert_allclose(flow.inverse(afresh(y)), x, atol=tolerance)
    assert flow.experimental_batch_shape() == (B,)


@pytest.mark.parametrize("name", MAPS)
def test_log_determinants_are_those_of_the_jacobian(name):
    flow, x = bijector(name), tf.constant(X[0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = flow.forward(x)
    sign, expected = np.linalg.slogdet(tape.batch_jacobian(y, x))
    np.testing.assert_array_equal(sign, 1.0)
    np.testing.assert_allclose(flow.forward_log_det_jacobian(x), expected, atol=1e-12)
    found = bijector(name).inverse_log_det_jacobian(afresh(y))
    np.testing.assert_allclose(found, -expected, atol=1e-8)


def log_prob(name, y, parameters):
    normal = tfd.MultivariateNormalDiag(tf.zeros([B, D], tf.float64))
    return tfd.TransformedDistribution(normal, MAPS[name](*parameters)).log_prob(y)


@pytest.mark.parametrize("name", MAPS)
def test_a_density_has_gradients_through_the_inverse(name):
    inputs = [tf.constant(value) for value in (X[0], *PARAMETERS[name])]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        total = tf.reduce_sum(log_prob(name, inputs[0], inputs[1:]))
    rng = np.random.default_rng(0)
    for number, gradient in enumerate(tape.gradient(total, inputs)):
        direction = rng.normal(size=gradient.shape)
        if name == "sylvester" and number in (1, 2):
            # Only directions in which B A stays upper triangular are changes of such a flow.
            direction = (
                FRAME @ np.triu(rng.normal(size=(B, M, M)))
                if number == 1
                else np.triu(rng.normal(size=(B, M, M))) @ np.swapaxes(FRAME, 1, 2)
            )
        sides = []
        for sign in (-1, 1):
            moved = list(inputs)
            moved[number] = inputs[number] + sign * EPSILON * direction
            sides.append(float(tf.reduce_sum(log_prob(name, moved[0], moved[1:]))))
        expected = (sides[1] - sides[0]) / (2 * EPSILON)
        assert np.sum(gradient * direction) == pytest.approx(expected, rel=1e-5, abs=1e-6), number


@pytest.mark.parametrize("name", MAPS)
def test_a_slice_of_a_batch_takes_its_own_parameters(name):
    normal = tfd.MultivariateNormalDiag(tf.zeros([B, D], tf.float64))
    p = tfd.TransformedDistribution(normal, bijector(name))
    found = p[1:3].log_prob(tf.constant(X[:, 1:3]))
    np.testing.assert_allclose(found, p.log_prob(tf.constant(X))[:, 1:3], atol=1e-12)


def test_units_are_solved_for_any_slope_and_place():
    slopes = np.concatenate([np.linspace(-0.99, 1, 30), np.logspace(0, 4, 10)])
    targets = np.concatenate([-np.logspace(-4, 3, 15), [0.0], np.logspace(-4, 3, 15)])
    c, t = (grid.ravel() for grid in np.meshgrid(slopes, targets))
    found = solve_units(tf.constant(c[:, None, None]), tf.constant(t[:, None]))[:, 0]
    expected = [
        optimize.brentq(lambda a, c=c, t=t: a + c * np.tanh(a) - t, -abs(t) - 1, abs(t) + 1)
        for c, t in zip(c, t, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)


def test_what_rounding_leaves_below_the_diagonal_is_not_read():
    above = np.array([[0.5, 2.0], [0.0, -0.5]])
    t = tf.constant([0.3, -0.7], tf.float64)
    clean = solve_units(tf.constant(above), t)
    soiled = solve_units(tf.constant(above + 9.0 * np.eye(2, k=-1)), t)
    np.testing.assert_array_equal(clean, soiled)
    np.testing.assert_allclose(clean + above @ np.tanh(clean), t, atol=1e-12)


def test_a_radial_flow_is_smooth_at_its_centre():
    centre = tf.constant([[1.0, -2.0]])
    flow = Radial(centre, [0.5], [1.0])
    with tf.GradientTape() as tape:
        tape.watch(centre)
        y = flow.forward(centre)
        total = tf.reduce_sum(y) + flow.forward_log_det_jacobian(centre)
    np.testing.assert_array_equal(y, centre)
    assert np.all(np.isfinite(tape.gradient(total, centre)))
    # The derivative there is 1 + beta / alpha in every direction.
    np.testing.assert_allclose(flow.forward_log_det_jacobian(centre), 2 * np.log(3.0), rtol=1e-6)


def test_parameters_without_an_inverse_are_refused_when_asked():
    with pytest.raises(tf.errors.InvalidArgumentError, match="above -1"):
        Sylvester([[1.0]], [[-1.0]], [0.0], validate_args=True).forward_log_det_jacobian([1.0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="above -alpha"):
        Radial([0.0], 1.0, -1.0, validate_args=True).forward([1.0])
    # Valid ones pass.
    Radial([0.0], 1.0, -0.5, validate_args=True).inverse([1.0])
    Sylvester([[1.0]], [[-0.5]], [0.0], validate_args=True).inverse([1.0])


def test_what_stands_for_a_flow_is_where_it_takes_its_bases_mean():
    loc = tf.constant(X[0])
    normal = tfd.MultivariateNormalDiag(loc, tf.ones_like(loc))
    np.testing.assert_array_equal(central_value(normal), loc)
    flow = bijector("radial")
    found = central_value(tfd.TransformedDistribution(normal, flow))
    np.testing.assert_array_equal(found, flow.forward(loc))
    with pytest.raises(NotImplementedError):
        central_value(tfd.ExpRelaxedOneHotCategorical(1.0, [0.0, 0.0]))
