"""Draws on the hypersphere: the distribution of the angle, and its gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tensorflow_probability import distributions as tfd

from tfvae.distributions import VonMisesFisher

N = 20_000
RNG = np.random.default_rng(3)
CASES = [(d, k) for d in (2, 3, 5, 30) for k in (1e-3, 1.0, 30.0, 1e4)]


def direction(dimension):
    mu = RNG.normal(size=dimension)
    return (mu / np.linalg.norm(mu)).astype("f")


def angles(dimension, concentration):
    """A fine grid of the angle from the mean, and its probabilities, in float64."""
    grid = np.linspace(0, np.pi, 400_001)[1:-1]
    log_density = concentration * np.cos(grid) + (dimension - 2) * np.log(np.sin(grid))
    density = np.exp(log_density - log_density.max())
    return grid, density / density.sum()


@pytest.mark.parametrize(("dimension", "concentration"), CASES)
def test_angles_and_their_gradient(dimension, concentration):
    mu = direction(dimension)
    k = tf.constant(concentration)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(k)
        x = VonMisesFisher(mu, k).sample(N, seed=(1, 2))
        cosine = tf.linalg.matvec(x, mu)
        means = [tf.reduce_mean(cosine), tf.reduce_mean(cosine**3)]
    np.testing.assert_allclose(np.linalg.norm(x, axis=-1), 1.0, atol=1e-5)
    grid, prob = angles(dimension, concentration)
    drawn = np.arctan2(np.linalg.norm(x - cosine[:, None] * mu, axis=-1), cosine)
    # Kolmogorov and Smirnov: passed by one in a million samples.
    distance = stats.kstest(drawn, lambda t: np.interp(t, grid, np.cumsum(prob))).statistic
    assert distance < 2.7 / np.sqrt(N)
    # d E[f(cos)] / dk = Cov(f(cos), cos)
    c = np.cos(grid)
    for power, mean in zip((1, 3), means, strict=True):
        expected = (prob * c ** (power + 1)).sum() - (prob * c).sum() * (prob * c**power).sum()
        np.testing.assert_allclose(tape.gradient(mean, k), expected, rtol=0.06)


def test_gradient_to_the_direction():
    mu = tf.constant([0.6, 0.0, 0.8])
    with tf.GradientTape() as tape:
        tape.watch(mu)
        mean = tf.reduce_mean(VonMisesFisher(mu, 20.0).sample(N, seed=(1, 2)), axis=0)
    # The mean is (coth k - 1/k) mu, and mu counts as the draws use it: cos(t) mu + sin(t) v(mu).
    jacobian = tape.jacobian(mean, mu).numpy()
    length = 1 / np.tanh(20) - 1 / 20
    tangent = np.array([0.0, 1.0, 0.0])
    np.testing.assert_allclose(jacobian @ tangent, length * tangent, atol=0.02)


def test_batches():
    mu = np.stack([direction(4) for _ in range(3)])
    p = VonMisesFisher(mu, [1.0, 10.0, 100.0])
    x = p.sample((2, 500), seed=(1, 2)).numpy()
    assert x.shape == (2, 500, 3, 4)
    cosine = (x * mu).sum(-1).mean((0, 1))
    expected = np.linalg.norm(p.mean(), axis=-1)
    np.testing.assert_allclose(cosine, expected, atol=0.08)
    assert VonMisesFisher(mu[0], [1.0, 2.0]).sample(5, seed=(1, 2)).shape == (5, 2, 4)


def test_it_is_tfps_with_its_divergence():
    p = VonMisesFisher(direction(4), 3.0)
    theirs = tfd.VonMisesFisher(p.mean_direction, 3.0)
    uniform = tfd.SphericalUniform(4)
    assert isinstance(p, tfd.VonMisesFisher)
    assert p.reparameterization_type == tfd.FULLY_REPARAMETERIZED
    np.testing.assert_allclose(
        tfd.kl_divergence(p, uniform), tfd.kl_divergence(theirs, uniform), rtol=1e-6
    )


def test_why_draws_are_not_tfps():
    """The day this fails, TFP's own draws will do."""
    k = tf.constant(5.0)
    with tf.GradientTape() as tape:
        tape.watch(k)
        draws = tfd.VonMisesFisher([0.0, 1.0], k).sample(N, seed=(1, 2))
        mean = tf.reduce_mean(draws[:, 1])
    grid, prob = angles(2, 5.0)
    expected = (prob * np.cos(grid) ** 2).sum() - (prob * np.cos(grid)).sum() ** 2
    assert not np.isclose(tape.gradient(mean, k), expected, rtol=0.1)
