"""Draws made of gamma variables: their distribution, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats
from tensorflow_probability import distributions as tfd

from tfvae.distributions import Beta, Gamma, NegativeBinomial, StudentT
from tfvae.distributions.gamma_draws import log_gamma_draws

N = 20_000
# Kolmogorov and Smirnov: passed by one in a million samples.
BOUND = 2.7 / np.sqrt(N)
CONCENTRATIONS = np.float32([1e-3, 0.1, 0.9, 1.0, 3.0, 100.0, 1e4])


def log_cdf_power(log_g, a):
    """The distribution function of the logarithm of a gamma variable, close to zero too."""
    close = np.exp(np.minimum(a * log_g - special.gammaln(a + 1), 0))
    return np.where(log_g < -60, close, special.gammainc(a, np.exp(np.maximum(log_g, -60))))


def test_logarithms_of_gamma_variables():
    draws = log_gamma_draws(N, tf.constant(CONCENTRATIONS), tf.constant([1, 2])).numpy()
    assert np.isfinite(draws).all()
    for column, a in zip(draws.T, np.float64(CONCENTRATIONS), strict=True):
        assert (
            stats.kstest(np.float64(column), lambda x, a=a: log_cdf_power(x, a)).statistic < BOUND
        )


def test_their_gradient():
    """The derivative of a quantile, by differences of SciPy's."""
    a = tf.constant(CONCENTRATIONS[1:])
    with tf.GradientTape() as tape:
        tape.watch(a)
        draws = log_gamma_draws(1, a, tf.constant([5, 6]))
    slopes = tape.gradient(draws, a).numpy()
    a, draws = np.float64(CONCENTRATIONS[1:]), np.float64(draws[0])
    level, step = special.gammainc(a, np.exp(draws)), 1e-4 * a
    above, below = (np.log(special.gammaincinv(a + s, level)) for s in (step, -step))
    np.testing.assert_allclose(slopes, (above - below) / (2 * step), rtol=5e-3)


def test_gradient_where_a_gamma_variable_underflows():
    a = tf.constant(0.01)
    with tf.GradientTape() as tape:
        tape.watch(a)
        draws = log_gamma_draws(200, a, tf.constant([5, 6]))
    slopes = tape.jacobian(draws, a).numpy()
    small = draws.numpy() < -100
    assert small.sum() > 20
    # g = (u Gamma(a + 1))^(1/a)
    expected = (special.digamma(1.01) - draws.numpy()[small]) / 0.01
    np.testing.assert_allclose(slopes[small], expected, rtol=1e-5)
    assert np.isfinite(slopes).all()


A = tf.constant([0.7, 3.0])
FAMILIES = {
    "gamma": (lambda a: Gamma(a, 2.0 * a), lambda a: stats.gamma(a, scale=0.5 / a)),
    "beta": (lambda a: Beta(a, 1.0 + a), lambda a: stats.beta(a, 1 + a)),
    "student": (lambda a: StudentT(3.0 + a, a * a, a), lambda a: stats.t(3 + a, a * a, a)),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_draws(name):
    make, oracle = FAMILIES[name]
    draws = make(A).sample(N, seed=(3, 4)).numpy()
    for column, a in zip(draws.T, np.float64(A), strict=True):
        assert stats.kstest(np.float64(column), oracle(a).cdf).statistic < BOUND
    assert make(A).sample((3, 5), seed=(3, 4)).shape == (3, 5, 2)


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_of_draws_are_those_of_the_second_moment(name):
    make, _ = FAMILIES[name]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(A)
        p = make(A)
        of_draws = tf.reduce_mean(tf.square(p.sample(4 * N, seed=(5, 6))), axis=0)
        exact = p.variance() + tf.square(p.mean())
    assert p.reparameterization_type == tfd.FULLY_REPARAMETERIZED
    np.testing.assert_allclose(tape.gradient(of_draws, A), tape.gradient(exact, A), rtol=0.1)


def test_negative_binomial_draws():
    a = np.array([0.7, 3.0])
    p = NegativeBinomial(A, logits=tf.math.log(A))
    draws = p.sample(N, seed=(3, 4)).numpy()
    np.testing.assert_array_equal(draws, draws.round())
    counts = np.arange(30)
    for column, each in zip(draws.T, a, strict=True):
        pmf = stats.nbinom(each, 1 / (1 + each)).pmf(counts)
        share = (column[:, None] == counts).mean(0)
        np.testing.assert_array_less(np.abs(share - pmf), 5 * np.sqrt(pmf * (1 - pmf) / N))


def test_divergences_are_tfps():
    p, q = Beta(A, 1.0), Beta(2.0 * A, 3.0)
    theirs = tfd.kl_divergence(tfd.Beta(A, 1.0), tfd.Beta(2.0 * A, 3.0))
    np.testing.assert_array_equal(tfd.kl_divergence(p, q), theirs)
