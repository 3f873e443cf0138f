"""The low-rank normal, against TFP's class of the same covariance and a full one."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions import MultivariateNormalLowRank

RNG = np.random.default_rng(12)
B, D, RANK = 3, 5, 2
LOC = RNG.normal(size=(B, D)).astype("f")
SCALE = np.exp(RNG.normal(size=(B, D))).astype("f")
W = RNG.normal(size=(B, D, RANK)).astype("f")


def full():
    covariance = SCALE[:, :, None] * (np.eye(D) + W @ W.transpose(0, 2, 1)) * SCALE[:, None]
    return tfd.MultivariateNormalTriL(LOC, np.linalg.cholesky(covariance).astype("f"))


def test_equals_the_full_covariance():
    p, x = MultivariateNormalLowRank(LOC, SCALE, W), RNG.normal(size=(7, B, D)).astype("f")
    np.testing.assert_allclose(p.log_prob(x), full().log_prob(x), rtol=1e-4)
    np.testing.assert_allclose(p.covariance(), full().covariance(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(p.entropy(), full().entropy(), rtol=1e-5)
    logs = np.linalg.slogdet(np.float64(full().covariance()))[1]
    np.testing.assert_allclose(p.log_determinant(), logs, rtol=1e-5)


def test_divergence_and_its_gradient_equal_those_of_the_full_covariance():
    prior = tfd.MultivariateNormalDiag(0.3 * tf.ones(D), 1.7 * tf.ones(D))
    factor = tf.constant(W)
    with tf.GradientTape() as tape:
        tape.watch(factor)
        kl = tfd.kl_divergence(MultivariateNormalLowRank(LOC, SCALE, factor), prior)
    np.testing.assert_allclose(kl, tfd.kl_divergence(full(), prior), rtol=1e-5)
    # d/dW of 1/2 (tr(P^-1 S W W' S) - log det(I + W W'))
    inverse = np.linalg.inv(np.eye(D) + W @ W.transpose(0, 2, 1))
    expected = (SCALE**2 / 1.7**2)[..., None] * W - inverse @ W
    np.testing.assert_allclose(tape.gradient(kl, factor), expected, rtol=1e-3, atol=1e-4)


def test_the_capacitance_does_not_depend_on_the_scales():
    """Scales of 1e-5 and 1e6 side by side move the log-density by their logarithms alone."""
    x = RNG.normal(size=D).astype("f")
    unit = MultivariateNormalLowRank(tf.zeros(D), tf.ones(D), W[0]).log_prob(x)
    scales = np.float32([1e-5, 1e-3, 1.0, 1e3, 1e6])
    scaled = MultivariateNormalLowRank(tf.zeros(D), scales, W[0]).log_prob(x * scales)
    np.testing.assert_allclose(scaled, unit - np.log(scales).sum(), rtol=1e-5)


def test_draws_in_front_of_the_batch():
    p = MultivariateNormalLowRank(LOC, SCALE, W)
    z = p.sample(4, seed=(1, 2))
    assert z.shape == (4, B, D)
    assert p.log_prob(z).shape == (4, B)
    assert p[:2].batch_shape == (2,)
