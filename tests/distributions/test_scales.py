"""Scales stay positive and finite, and are what `tfp.layers` computes where it matters."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfvae.distributions import positive_scale, softplus
from tfvae.distributions.scales import SCALE_CEILING, SCALE_FLOOR

EXTREMES = np.float32([s * raw for raw in (1e4, 1e10, 1e30, 3e38) for s in (-1, 1)])
ROUNDING = np.finfo(np.float32).eps
USUAL = np.linspace(-20, 100, 4801, dtype=np.float32)


def gradient(fn, raw):
    raw = tf.constant(raw)
    with tf.GradientTape() as tape:
        tape.watch(raw)
        scale = fn(raw)
    return tape.gradient(scale, raw).numpy()


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "xla"])
def test_extreme_parameters_give_scales_within_the_bounds_and_finite_gradients(jit):
    fn = tf.function(positive_scale, jit_compile=True) if jit else positive_scale
    scale = fn(EXTREMES).numpy()
    assert np.all(scale >= np.float32(SCALE_FLOOR))
    assert np.all(scale <= np.float32(SCALE_CEILING) * (1 + ROUNDING))
    assert np.all(np.isfinite(np.square(scale)))
    assert np.all(np.isfinite(gradient(fn, EXTREMES)))


def test_extreme_parameters_give_finite_divergences():
    scale = positive_scale(EXTREMES).numpy()
    kl = 0.5 * (np.square(scale) - 1 - 2 * np.log(scale))
    assert np.all(np.isfinite(kl))


def test_equals_softplus_plus_the_floor_in_the_usual_range():
    # 3e-7 is the ceiling's share at 100, 1e-7, and two roundings of float32.
    expected = np.logaddexp(0, USUAL.astype(np.float64)) + 1e-5
    np.testing.assert_allclose(positive_scale(USUAL), expected, rtol=3e-7)


def test_gradient_equals_the_logistic_function_in_the_usual_range():
    expected = 1 / (1 + np.exp(-USUAL.astype(np.float64)))
    np.testing.assert_allclose(gradient(positive_scale, USUAL), expected, rtol=1e-6)


def test_never_decreases():
    raw = np.sort(np.concatenate([EXTREMES, USUAL, -np.logspace(2, 38, 300), np.logspace(2, 38)]))
    scale = positive_scale(raw.astype(np.float32)).numpy()
    # Where the ceiling is reached, the rounding of the quotient and of the sum may show.
    assert np.all(np.diff(scale) >= -2 * ROUNDING * scale[1:])
    assert scale[-1] == pytest.approx(SCALE_CEILING, rel=1e-6)


def test_own_bounds_and_float64():
    raw = np.float64([-500.0, 0.0, 3.0, 1e6])
    rise = np.logaddexp(0, raw)
    scale = positive_scale(raw, floor=0.1, ceiling=2.0)
    assert scale.dtype == tf.float64
    np.testing.assert_allclose(scale, 0.1 + rise / (1 + rise / 2.0), rtol=1e-14)


def test_softplus_is_exact_at_both_ends():
    raw = np.concatenate([USUAL, -USUAL[USUAL < 87], EXTREMES])
    expected = np.logaddexp(0, raw.astype(np.float64))
    np.testing.assert_allclose(softplus(raw), expected, rtol=3e-7)
