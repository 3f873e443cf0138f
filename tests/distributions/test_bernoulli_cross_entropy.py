"""The Bernoulli's log-probability, against TFP's."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions.bernoulli import Bernoulli, _are_pictures, _log1p

LOGITS = np.float32([-80, -9, -0.5, 0, 0.5, 9, 80])


@pytest.mark.parametrize("x", [0.0, 0.25, 1.0])
def test_log_probability_and_gradient(x):
    found, expected = [], []
    for family, into in ((Bernoulli, found), (tfd.Bernoulli, expected)):
        logits = tf.constant(LOGITS)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            log_prob = family(logits=logits, dtype=tf.float32).log_prob(x)
        into += [log_prob.numpy(), tape.gradient(log_prob, logits).numpy()]
    # The difference of two numbers of the size of the logit.
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)


def test_the_logarithm_is_as_good_as_float32():
    x = np.float32(np.concatenate([np.linspace(0, 1, 10_001), np.logspace(-30, 0, 1000)]))
    np.testing.assert_allclose(_log1p(tf.constant(x)), np.log1p(np.float64(x)), rtol=5e-7)


SHAPES = {
    "scalars": ((), ()),
    "vectors": ((4, 3), (4, 3)),
    "pictures": ((4, 2, 3), (4, 2, 3)),
    "a draw of pictures for one": ((4, 2, 3), (1, 2, 3)),
    "several draws of pictures": ((5, 4, 2, 3, 1), (5, 4, 2, 3, 1)),
    "draws of the batch": ((4, 2, 3), (5, 4, 2, 3)),
    "one colour": ((4, 2, 3), (4, 2, 1)),
    "no pictures": ((0, 2, 3), (0, 2, 3)),
    "empty pictures": ((4, 0, 3), (4, 0, 3)),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("known", ["all", "all but the first", "none"])
def test_any_shapes_that_broadcast(name, known):
    of_logits, of_data = SHAPES[name]
    rng = np.random.default_rng(0)
    logits = tf.constant(rng.normal(size=of_logits), tf.float32)
    data = tf.constant(rng.random(size=of_data), tf.float32)

    def value_and_gradient(family, logits, data):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            log_prob = family(logits=logits, dtype=tf.float32).log_prob(data)
        return log_prob, tape.gradient(log_prob, logits)

    def signature(shape):
        sizes = {"all": shape, "all but the first": [None, *shape[1:]][: len(shape)]}
        return tf.TensorSpec(sizes.get(known, [None] * len(shape)))

    found = tf.function(
        lambda *tensors: value_and_gradient(Bernoulli, *tensors),
        input_signature=[signature(of_logits), signature(of_data)],
    )(logits, data)
    expected = value_and_gradient(tfd.Bernoulli, logits, data)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_pictures_are_computed_in_rows():
    shape = tf.TensorShape([None, 28, 28, 1])
    assert _are_pictures(shape, shape)
    assert not _are_pictures(tf.TensorShape([None, 28, 28, 3]), shape)
    assert not _are_pictures(tf.TensorShape([28, 28, 1]), shape)
    assert not _are_pictures(tf.TensorShape(None), tf.TensorShape(None))


def test_extreme_logits_stay_finite():
    p = Bernoulli(logits=np.float32([-1e30, 1e30]), dtype=tf.float32)
    np.testing.assert_array_equal(p.log_prob([0.0, 1.0]), [0, 0])
    np.testing.assert_array_equal(p.log_prob([1.0, 0.0]), np.float32([-1e30, -1e30]))


def test_it_is_tfps_otherwise():
    p = Bernoulli(logits=LOGITS, dtype=tf.float32)
    assert isinstance(p, tfd.Bernoulli)
    np.testing.assert_allclose(
        tfd.kl_divergence(p, tfd.Bernoulli(probs=0.5)),
        tfd.kl_divergence(tfd.Bernoulli(logits=LOGITS), tfd.Bernoulli(probs=0.5)),
    )
    # A tf.function takes and returns it.
    np.testing.assert_allclose(tf.function(lambda q: q.mean())(p), p.mean())
