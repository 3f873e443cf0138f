"""IndependentNormal: its density with a learned, a fixed and a shared scale."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.layers import IndependentNormal
from tfvae.losses import NegativeLogLikelihood

RNG = np.random.default_rng(0)
B, SHAPE = 4, (2, 3)
LOC, RAW, Y = RNG.normal(size=(3, B, *SHAPE)).astype("f")
PARAMS = np.concatenate([LOC.reshape(B, -1), RAW.reshape(B, -1)], axis=1)
FLAT_LOC = LOC.reshape(B, -1)


def softplus(raw):
    return np.logaddexp(0, np.float64(raw)) + 1e-5


def log_prob(scale):
    elements = -0.5 * ((Y - LOC) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)
    return elements.sum((1, 2))


def test_learned_scale():
    p = IndependentNormal(SHAPE)(PARAMS)
    assert isinstance(p, tfd.Independent)
    assert (tuple(p.batch_shape), tuple(p.event_shape)) == ((B,), SHAPE)
    np.testing.assert_array_equal(p.mean(), LOC)
    np.testing.assert_allclose(p.stddev(), softplus(RAW), rtol=1e-6)
    np.testing.assert_allclose(p.log_prob(Y), log_prob(softplus(RAW)), rtol=1e-5)


def test_fixed_scale():
    layer = IndependentNormal(SHAPE, scale=0.3)
    p = layer(FLAT_LOC)
    np.testing.assert_allclose(p.stddev(), np.full((B, *SHAPE), 0.3), rtol=1e-6)
    np.testing.assert_allclose(p.log_prob(Y), log_prob(0.3), rtol=1e-5)
    assert layer.trainable_weights == []


def test_shared_scale_is_one_trained_weight():
    layer = IndependentNormal(SHAPE, scale="shared")
    with tf.GradientTape() as tape:
        nll = -tf.reduce_mean(layer(FLAT_LOC).log_prob(Y))
    (raw,) = layer.trainable_weights
    scale = softplus(raw.numpy())
    np.testing.assert_allclose(nll, -log_prob(scale).mean(), rtol=1e-5)
    # d nll / d scale = n / scale - sum of squares / scale^3, and softplus' derivative is logistic.
    squares = ((Y - LOC) ** 2).sum((1, 2)).mean()
    expected = (6 / scale - squares / scale**3) / (1 + np.exp(-raw.numpy()))
    np.testing.assert_allclose(tape.gradient(nll, raw), expected, rtol=1e-4)


@pytest.mark.parametrize("initial_scale", [1.0, 0.05, 20.0])
def test_a_shared_scale_starts_where_it_is_told(initial_scale):
    p = IndependentNormal(SHAPE, scale="shared", initial_scale=initial_scale)(FLAT_LOC)
    # The floor of the scale, 1e-5, comes on top.
    np.testing.assert_allclose(p.stddev(), np.full((B, *SHAPE), initial_scale), rtol=3e-4)


def test_a_shared_scale_learns_the_deviation_of_the_noise():
    layer = IndependentNormal((), scale="shared", initial_scale=0.5)
    model = keras.Sequential([keras.Input((1,)), layer])
    y = np.random.default_rng(1).normal(scale=0.25, size=512).astype("f")
    model.compile(keras.optimizers.Adam(0.1), loss=NegativeLogLikelihood())
    model.fit(np.zeros((512, 1), "f"), y, batch_size=512, epochs=110, verbose=0)
    # The maximum of the likelihood is the root mean square of the noise.
    learned = float(softplus(layer.raw_scale.numpy()))
    assert learned == pytest.approx(np.sqrt(np.mean(y**2)), rel=0.01)


@pytest.mark.parametrize(("scale", "size"), [(None, 12), (0.1, 6), ("shared", 6)])
def test_params_size(scale, size):
    assert IndependentNormal.params_size(SHAPE, scale=scale) == size
    assert IndependentNormal(SHAPE, scale=scale)(np.zeros((1, size), "f")).shape == (1, *SHAPE)


def test_scalar_events():
    p = IndependentNormal()(np.float32([[1.0, 0.0], [2.0, 0.0]]))
    assert (tuple(p.batch_shape), tuple(p.event_shape)) == ((2,), ())
    np.testing.assert_array_equal(p.mean(), [1.0, 2.0])


@pytest.mark.parametrize("raw", [1e4, 1e10, 1e30, 3e38])
def test_extreme_parameters_stay_finite(raw):
    params = tf.constant(np.float32([[0.0, 1.0, raw, -raw]]))
    with tf.GradientTape() as tape:
        tape.watch(params)
        p = IndependentNormal(2)(params)
        nll = -p.log_prob(tf.zeros((1, 2)))
    assert np.all(p.stddev() > 0)
    assert np.all(np.isfinite(p.stddev()))
    assert np.all(np.isfinite(nll))
    assert np.all(np.isfinite(tape.gradient(nll, params)))


@pytest.mark.parametrize("wrong", [0, 0.0, -1.0, float("inf"), float("nan"), "learned", True])
def test_refuses_another_scale(wrong):
    with pytest.raises(ValueError, match=r"`scale` must be a positive number, None .*Received"):
        IndependentNormal(SHAPE, scale=wrong)
    with pytest.raises(ValueError, match=r"`initial_scale` must be a positive number. Received"):
        IndependentNormal(SHAPE, scale="shared", initial_scale=wrong)


def test_validate_args_reaches_the_distribution():
    p = IndependentNormal(SHAPE, validate_args=True)(PARAMS)
    assert p.validate_args
    assert p.tensor_distribution.distribution.validate_args
