"""Zero inflation and categories of a float dtype."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tensorflow_probability import distributions as tfd

from tfvae.distributions import (
    Categorical,
    NegativeBinomial,
    OneHotCategoricalMixture,
    ZeroInflated,
)

LOGITS = np.array([-1.0, 2.0, -50.0])
PI = 1 / (1 + np.exp(-LOGITS))
COUNT, RATIO = np.array([2.5, 0.3, 4.0]), np.array([1.0, 3.0, -0.5])


def zinb(**options):
    counts = NegativeBinomial(
        tf.constant(COUNT, tf.float32), logits=tf.constant(RATIO, tf.float32), **options
    )
    return ZeroInflated(counts, tf.constant(LOGITS, tf.float32), **options)


def test_zero_inflation():
    counts = stats.nbinom(COUNT, 1 - 1 / (1 + np.exp(-RATIO)))
    x = np.arange(40.0)[:, None]
    expected = np.log((1 - PI) * counts.pmf(x) + PI * (x == 0))
    np.testing.assert_allclose(zinb().log_prob(np.float32(x)), expected, rtol=1e-4)


def test_moments_mode_and_draws():
    p, x = zinb(), np.arange(4000.0, dtype="f")[:, None]
    prob = np.float64(p.prob(x))
    mean = (prob * x).sum(0)
    np.testing.assert_allclose(prob.sum(0), 1.0, rtol=1e-5)
    np.testing.assert_allclose(p.mean(), mean, rtol=1e-4)
    np.testing.assert_allclose(p.variance(), (prob * (x - mean) ** 2).sum(0), rtol=1e-4)
    np.testing.assert_array_equal(p.mode(), prob.argmax(0))
    draws = p.sample(20_000, seed=(1, 2)).numpy()
    error = 5 * p.stddev().numpy() / np.sqrt(20_000)
    np.testing.assert_array_less(np.abs(draws.mean(0) - p.mean().numpy()), error)
    zeros = p.prob(0.0).numpy()
    error = 5 * np.sqrt(zeros * (1 - zeros) / 20_000)
    np.testing.assert_array_less(np.abs((draws == 0).mean(0) - zeros), error)
    assert p.sample((2, 5), seed=(1, 2)).shape == (2, 5, 3)


def test_inflation_is_not_tfps():
    """Why the class is not TFP's: that takes the logits for half of the log-odds."""
    ours = ZeroInflated(tfd.Poisson(3.0), logits=1.0)
    theirs = tfd.Inflated(tfd.Poisson(3.0), inflated_loc_logits=0.5)
    np.testing.assert_allclose(ours.prob([0.0, 2.0]), theirs.prob([0.0, 2.0]), rtol=1e-5)


@pytest.mark.parametrize("value", [-1.0, 0.5])
def test_counts_are_checked(value):
    p = ZeroInflated(tfd.Poisson([3.0]), logits=0.0, validate_args=True)
    assert np.isfinite(p.log_prob([4.0]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be counts"):
        p.log_prob([value])


def test_inside_independent_and_mixture_it_stays_tfps_class():
    assert isinstance(tfd.Independent(zinb(), 1), tfd.Independent)
    mixture = tfd.MixtureSameFamily(tfd.Categorical(logits=tf.zeros(3)), zinb())
    assert isinstance(mixture, tfd.MixtureSameFamily)
    assert zinb()[:2].batch_shape == (2,)


def test_float_categories():
    logits = np.float32([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])
    p = Categorical(logits=logits, dtype=tf.float32, validate_args=True)
    expected = np.log(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))
    np.testing.assert_allclose(p.log_prob([2.0, 1.0]), expected[[0, 1], [2, 1]], rtol=1e-5)
    # Further draws in front, as of a decoder's input.
    np.testing.assert_allclose(
        p.log_prob([[0.0, 0.0], [1.0, 2.0]]), [expected[:, 0], expected[[0, 1], [1, 2]]], rtol=1e-5
    )
    for value in (-1.0, 0.5, 3.0):
        with pytest.raises(tf.errors.InvalidArgumentError, match="must be categories"):
            p.log_prob([value, 0.0])


def test_why_categories_have_a_class():
    """The day this fails, TFP's own class will do."""
    p = tfd.Categorical(logits=[0.0, 1.0], dtype=tf.float32, validate_args=True)
    with pytest.raises(TypeError):
        p.log_prob(1.0)


def test_log_mean_where_a_mean_would_underflow():
    logits = tf.constant([[0.0, -200.0], [0.0, -300.0]])
    p = OneHotCategoricalMixture(
        tfd.Categorical(logits=[0.0, 0.0]), tfd.OneHotCategorical(logits=logits)
    )
    np.testing.assert_allclose(p.log_mean(), [0.0, -200.0 - np.log(2)], rtol=1e-6, atol=1e-6)
