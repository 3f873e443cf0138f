"""The spline of TFLite's operators, against TFP's; the export's tests run it there."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from tfvae.distributions.spline import RationalQuadraticSpline

RNG = np.random.default_rng(8)
UNITS, K, BOUND = 3, 5, 2.0


def sizes(dtype="float64"):
    shares = RNG.dirichlet(np.ones(K), size=(4, UNITS))
    return tf.constant(2 * BOUND * (0.05 / K + 0.95 * shares), dtype)


WIDTHS, HEIGHTS = sizes(), sizes()
SLOPES = tf.constant(np.exp(RNG.normal(size=(4, UNITS, K - 1))))
KNOTS = np.cumsum(WIDTHS, axis=-1) - BOUND
# Anywhere, at the knots, at both ends, and outside.
X = np.concatenate(
    [
        RNG.uniform(-BOUND, BOUND, size=(20, 4, UNITS)),
        np.moveaxis(KNOTS[..., :-1], -1, 0),
        np.full((1, 4, UNITS), -BOUND),
        RNG.uniform(BOUND, 9, size=(2, 4, UNITS)) * [[[-1]], [[1]]],
    ]
)


def pair():
    arguments = (WIDTHS, HEIGHTS, SLOPES, tf.constant(-BOUND, tf.float64))
    return RationalQuadraticSpline(*arguments), tfb.RationalQuadraticSpline(*arguments)


@pytest.mark.parametrize("method", ["forward", "inverse", "forward_log_det_jacobian"])
def test_equals_tfp(method):
    ours, theirs = pair()
    found, expected = (getattr(spline, method)(tf.constant(X)) for spline in (ours, theirs))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert isinstance(ours, tfb.RationalQuadraticSpline)


def test_gradients_equal_those_of_tfp():
    inputs = [tf.constant(X[:20]), WIDTHS, HEIGHTS, SLOPES]
    gradients = []
    for cls in (RationalQuadraticSpline, tfb.RationalQuadraticSpline):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            spline = cls(*inputs[1:], tf.constant(-BOUND, tf.float64))
            total = tf.reduce_sum(spline.inverse_log_det_jacobian(inputs[0], event_ndims=1))
        gradients.append(tape.gradient(total, inputs))
    for found, expected in zip(*gradients, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
