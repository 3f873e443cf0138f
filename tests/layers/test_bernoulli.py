"""IndependentBernoulli: the cross-entropy, from logits alone."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.layers import IndependentBernoulli

RNG = np.random.default_rng(0)
B, SHAPE = 4, (2, 3, 1)
LOGITS = RNG.normal(size=(B, 6)).astype("f")
PROBS = 1 / (1 + np.exp(-np.float64(LOGITS))).reshape(B, *SHAPE)


@pytest.mark.parametrize("grey", [False, True], ids=["binary", "grey"])
def test_log_prob_is_minus_the_cross_entropy(grey):
    y = RNG.uniform(size=(B, *SHAPE))
    y = np.float32(y if grey else y > 0.5)
    p = IndependentBernoulli(SHAPE)(LOGITS)
    assert isinstance(p, tfd.Independent)
    assert (tuple(p.batch_shape), tuple(p.event_shape)) == ((B,), SHAPE)
    expected = (y * np.log(PROBS) + (1 - y) * np.log1p(-PROBS)).sum((1, 2, 3))
    np.testing.assert_allclose(p.log_prob(y), expected, rtol=1e-5)


def test_mean_is_the_probability_and_draws_are_binary():
    p = IndependentBernoulli(SHAPE, seed=1)(np.repeat(LOGITS, 1000, axis=0))
    draws = p.numpy()
    assert set(np.unique(draws)) == {0.0, 1.0}
    np.testing.assert_allclose(p.mean()[::1000], PROBS, rtol=1e-6)
    # Seed 1, 1,000 draws of each of 24 pixels, four standard errors.
    frequency = draws.reshape(B, 1000, *SHAPE).mean(1)
    assert np.all(np.abs(frequency - PROBS) < 4 * np.sqrt(PROBS * (1 - PROBS) / 1000))


def test_extreme_logits_stay_finite():
    logits = tf.constant(np.float32([[s * raw for raw in (1e4, 1e30, 3e38) for s in (-1, 1)]]))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        # The likely outcome costs nothing, the unlikely one its logit.
        likely = IndependentBernoulli(6)(logits).log_prob(np.float32([[0, 1] * 3]))
    np.testing.assert_array_equal(likely, [0.0])
    assert np.all(np.isfinite(tape.gradient(likely, logits)))
    unlikely = IndependentBernoulli(2)(logits[:, :2]).log_prob(np.float32([[1, 0]]))
    np.testing.assert_allclose(unlikely, [-2e4], rtol=1e-6)


def test_sample_dtype():
    assert IndependentBernoulli(6)(LOGITS).dtype == tf.float32
    p = IndependentBernoulli(6, sample_dtype="int32")(LOGITS)
    assert (p.dtype, p.numpy().dtype) == (tf.int32, np.int32)
    config = IndependentBernoulli(6, sample_dtype=tf.int32).get_config()
    assert config["sample_dtype"] == "int32"


def test_support_and_params_size():
    assert IndependentBernoulli.support == (0.0, 1.0)
    assert IndependentBernoulli.params_size(SHAPE) == 6
    assert IndependentBernoulli.params_size() == 1


def test_validate_args_refuses_what_is_not_binary():
    p = IndependentBernoulli(6, validate_args=True)(LOGITS)
    with pytest.raises(tf.errors.InvalidArgumentError):
        p.log_prob(np.full((B, 6), 2.0, "f"))
