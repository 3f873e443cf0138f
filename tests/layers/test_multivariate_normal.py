"""MultivariateNormalDiag: the posterior of the standard VAE."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tensorflow_probability import distributions as tfd

from tfvae.layers import MultivariateNormalDiag, Samples

RNG = np.random.default_rng(0)
B, D = 4, 3
LOC, RAW = RNG.normal(size=(2, B, D)).astype("f")
PARAMS = np.concatenate([LOC, RAW], axis=1)
SCALE = np.logaddexp(0, np.float64(RAW)) + 1e-5


def test_density_is_that_of_scipy():
    q = MultivariateNormalDiag(D)(PARAMS)
    z = RNG.normal(size=(B, D)).astype("f")
    expected = [
        stats.multivariate_normal(LOC[i], np.diag(SCALE[i] ** 2)).logpdf(z[i]) for i in range(B)
    ]
    assert type(q).__name__ == "MultivariateNormalDiag"
    assert isinstance(q, tfd.MultivariateNormalDiag)
    assert (tuple(q.batch_shape), tuple(q.event_shape)) == ((B,), (D,))
    np.testing.assert_allclose(q.log_prob(z), expected, rtol=1e-5)


def test_mean_and_scale_come_from_the_parameters_in_this_order():
    q = MultivariateNormalDiag(D)(PARAMS)
    np.testing.assert_array_equal(q.mean(), LOC)
    np.testing.assert_allclose(q.stddev(), SCALE, rtol=1e-6)


def test_draws_have_the_moments_of_the_distribution():
    draws = 20_000
    q = MultivariateNormalDiag(D, Samples(draws), seed=1)(PARAMS).numpy()
    # Seed 1, 20,000 draws, four standard errors for each of twelve means and deviations.
    assert np.all(np.abs(q.mean(0) - LOC) < 4 * SCALE / np.sqrt(draws))
    assert np.all(np.abs(q.std(0) - SCALE) < 4 * SCALE / np.sqrt(2 * draws))


def test_gradient_of_a_draw_is_that_of_the_reparametrisation():
    params = tf.constant(PARAMS)
    with tf.GradientTape() as tape:
        tape.watch(params)
        z = tf.convert_to_tensor(MultivariateNormalDiag(D, seed=1)(params))
    gradient = tape.gradient(z, params).numpy()
    noise = (z.numpy() - LOC) / SCALE
    np.testing.assert_allclose(gradient[:, :D], np.ones((B, D)), rtol=1e-6)
    # z = loc + scale * noise, and the derivative of the scale is the logistic function.
    expected = noise / (1 + np.exp(-np.float64(RAW)))
    np.testing.assert_allclose(gradient[:, D:], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("raw", [1e4, 1e10, 1e30, 3e38])
def test_extreme_parameters_stay_finite(raw):
    params = tf.constant(np.float32([[0.5, -0.5, raw, -raw]]))
    prior = tfd.MultivariateNormalDiag(tf.zeros(2), tf.ones(2))
    with tf.GradientTape() as tape:
        tape.watch(params)
        q = MultivariateNormalDiag(2)(params)
        kl = tfd.kl_divergence(q, prior)
    assert np.all(q.stddev() > 0)
    assert np.all(np.isfinite(q.numpy()))
    assert np.all(np.isfinite(kl))
    assert np.all(np.isfinite(tape.gradient(kl, params)))


def test_params_size():
    assert MultivariateNormalDiag.params_size(D) == 6
    with pytest.raises(ValueError, match=r"size 6: .*Received: .*\(4, 5\)"):
        MultivariateNormalDiag(D)(np.zeros((B, 5), "f"))


@pytest.mark.parametrize("wrong", [0, -2, 1.5], ids=repr)
def test_refuses_a_size_without_dimensions(wrong):
    with pytest.raises(ValueError, match=r"`event_shape` must be .*Received"):
        MultivariateNormalDiag.params_size(wrong)
