"""The bounds of concentrations and of logarithms: where they hold, and where they are not felt."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfvae.distributions import positive_concentration, smooth_clip

EXTREMES = np.float32([-1e30, -1e4, 0.0, 1e4, 1e30])


def with_slope(bound, raw):
    raw = tf.constant(raw)
    with tf.GradientTape() as tape:
        tape.watch(raw)
        value = bound(raw)
    return value.numpy(), tape.gradient(value, raw).numpy()


def test_concentrations():
    value, slope = with_slope(positive_concentration, EXTREMES)
    assert np.all((value >= 1e-3) & (value <= 1e4 + 1e-3))
    assert np.all(np.diff(value) >= 0)
    assert np.isfinite(slope).all()
    np.testing.assert_allclose(value[[0, -1]], [1e-3, 1e4], rtol=1e-5)
    # Where data lies it is a softplus, but for the floor and one part in a thousand.
    raw = np.linspace(-3, 10, 50)
    expected = 1e-3 + np.logaddexp(0, raw)
    np.testing.assert_allclose(positive_concentration(np.float32(raw)), expected, rtol=1.1e-3)


@pytest.mark.parametrize(("low", "high"), [(-7.0, 7.0), (-40.0, 40.0), (0.0, 3.0)])
def test_logarithms(low, high):
    value, slope = with_slope(lambda x: smooth_clip(x, low, high), EXTREMES)
    assert np.all((value >= low) & (value <= high))
    assert np.all(np.diff(value) >= 0)
    assert np.all((slope >= 0) & (slope <= 1))
    np.testing.assert_allclose(value[[0, -1]], [low, high])


def test_logarithms_far_from_the_bounds_are_left_alone():
    raw = np.linspace(-20, 20, 101, dtype="f")
    value, slope = with_slope(lambda x: smooth_clip(x, -40.0, 40.0), raw)
    np.testing.assert_allclose(value, raw, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(slope, 1.0, rtol=1e-6)


def test_the_slope_at_a_bound_is_a_half():
    """Where `tf.maximum` and `tf.abs` have a tie of their own."""
    _, slope = with_slope(lambda x: smooth_clip(x, -40.0, 40.0), np.float32([-40.0, 40.0]))
    np.testing.assert_allclose(slope, 0.5, rtol=1e-6)
