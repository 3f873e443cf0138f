"""The probabilities of grey levels: exact in each of them, at any scale."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tensorflow_probability import distributions as tfd

from tfvae.distributions import DiscretizedLogistic

LOCS = np.array([-3.0, 0.0, 0.4, 0.5, 1.0, 7.0])[:, None]
# From the smallest scale of the layer, a ninth of a level, to one at which all levels are alike.
SCALES = np.array([4.6e-4, 0.01, 0.3, 50.0])
LEVELS = np.arange(256) / 255


def made(dtype, **options):
    return DiscretizedLogistic(tf.constant(LOCS, dtype), tf.constant(SCALES, dtype), **options)


def test_probabilities_sum_to_one():
    for dtype, error in ((tf.float64, 1e-13), (tf.float32, 1e-5)):
        prob = made(dtype).prob(tf.constant(LEVELS, dtype)[:, None, None])
        np.testing.assert_allclose(tf.reduce_sum(prob, axis=0), 1.0, rtol=error)


def test_every_level_is_the_mass_between_its_edges():
    logistic = stats.logistic(LOCS, SCALES)
    edges = np.concatenate([[-np.inf], (np.arange(255) + 0.5) / 255, [np.inf]])[:, None, None]
    below, above = logistic.cdf(edges), logistic.sf(edges)
    mass = np.where(edges[1:] < LOCS, np.diff(below, axis=0), -np.diff(above, axis=0))
    known = mass > 1e-290
    log_prob = made(tf.float32).log_prob(np.float32(LEVELS)[:, None, None]).numpy()
    np.testing.assert_allclose(log_prob[known], np.log(mass[known]), rtol=2e-3, atol=2e-4)
    # Both edges hold their tails. NVAE's test for the last, x > 0.999, is x > 1 - 1/510 here.
    np.testing.assert_allclose(log_prob[0], logistic.logcdf(0.5 / 255), rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(log_prob[255], logistic.logsf(254.5 / 255), rtol=2e-3, atol=1e-6)


def test_far_tails_are_finite_and_have_gradients():
    loc = tf.constant([-1e6, -3.0, 3.0, 1e6])
    with tf.GradientTape() as tape:
        tape.watch(loc)
        log_prob = DiscretizedLogistic(loc, 4.6e-4).log_prob(100 / 255)
    assert np.isfinite(log_prob).all()
    # The slope of a logistic's tail is one over the scale.
    np.testing.assert_allclose(
        tape.gradient(log_prob, loc), np.array([1, 1, -1, -1]) / 4.6e-4, 1e-4
    )


def test_moments_and_mode():
    prob = made(tf.float64).prob(LEVELS[:, None, None]).numpy()
    mean = (prob * LEVELS[:, None, None]).sum(0)
    variance = (prob * (LEVELS[:, None, None] - mean) ** 2).sum(0)
    for dtype, error in ((tf.float64, 1e-12), (tf.float32, 2e-6)):
        p = made(dtype)
        np.testing.assert_allclose(p.mean(), mean, atol=error)
        np.testing.assert_allclose(p.stddev(), np.sqrt(variance), atol=error)
        # Two levels share the peak where the location lies between them.
        np.testing.assert_allclose(p.prob(p.mode()), prob.max(0), rtol=1e-3)


def test_draws_are_levels():
    p = made(tf.float32)
    draws = p.sample(10_000, seed=(1, 2)).numpy()
    np.testing.assert_array_equal(np.float32(np.round(draws * 255)) / np.float32(255), draws)
    error = 5 * p.stddev().numpy() / 100 + 1e-7
    np.testing.assert_array_less(np.abs(np.float64(draws).mean(0) - p.mean().numpy()), error)


def test_fewer_levels():
    p = DiscretizedLogistic(0.3, 0.2, num_levels=4)
    prob = p.prob([0.0, 1 / 3, 2 / 3, 1.0])
    cdf = stats.logistic(0.3, 0.2).cdf([1 / 6, 0.5, 5 / 6])
    np.testing.assert_allclose(prob, np.diff([0, *cdf, 1]), rtol=1e-5)


@pytest.mark.parametrize("value", [-1 / 255, 0.3, 1.1, np.nan])
def test_values_are_checked(value):
    p = DiscretizedLogistic(0.5, 0.1, validate_args=True)
    assert np.isfinite(p.log_prob(np.float32(77) / 255))
    with pytest.raises(tf.errors.InvalidArgumentError, match="levels k / 255"):
        p.log_prob(value)


def test_arguments():
    with pytest.raises(ValueError, match=r"`num_levels` .* Received: 1"):
        DiscretizedLogistic(0.5, 0.1, num_levels=1)
    assert isinstance(tfd.Independent(made(tf.float32), 1), tfd.Independent)
    assert made(tf.float32)[0].batch_shape == (4,)
