"""The negative log-likelihood: its value, its shapes, and its place in `fit`."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae import layers
from tfvae.losses import NegativeLogLikelihood, negative_log_likelihood

RNG = np.random.default_rng(0)
S, B, D = 5, 4, 3
LOC = RNG.normal(size=(B, D)).astype("f")
Y = RNG.normal(size=(B, D)).astype("f")


def normal_nll(y, loc, scale=1.0):
    """Elements of -log N(y; loc, scale), in float64."""
    y, loc = np.float64(y), np.float64(loc)
    return 0.5 * ((y - loc) / scale) ** 2 + np.log(scale) + 0.5 * np.log(2 * np.pi)


def independent(loc, scale=1.0):
    return tfd.Independent(tfd.Normal(loc, scale), 1)


def test_equals_the_formula():
    nll = negative_log_likelihood(Y, independent(LOC))
    np.testing.assert_allclose(nll, normal_nll(Y, LOC).sum(1), rtol=1e-6)


def test_bernoulli_equals_the_cross_entropy():
    y = np.float32(Y > 0)
    p = layers.IndependentBernoulli(D)(LOC)
    probs = 1 / (1 + np.exp(-np.float64(LOC)))
    expected = -(y * np.log(probs) + (1 - y) * np.log1p(-probs)).sum(1)
    np.testing.assert_allclose(negative_log_likelihood(y, p), expected, rtol=1e-6)


def test_draws_are_averaged_and_examples_kept_apart():
    loc = RNG.normal(size=(S, B, D)).astype("f")
    nll = negative_log_likelihood(Y, independent(loc))
    assert nll.shape == (B,)
    np.testing.assert_allclose(nll, normal_nll(Y, loc).sum(-1).mean(0), rtol=1e-6)


@pytest.mark.parametrize("batch", [1, B])
def test_a_column_of_targets_meets_scalar_distributions(batch):
    p = tfd.Normal(LOC[:batch, 0], 1.0)
    expected = normal_nll(Y[:batch, 0], LOC[:batch, 0])
    np.testing.assert_allclose(negative_log_likelihood(Y[:batch, :1], p), expected, rtol=1e-6)
    np.testing.assert_allclose(negative_log_likelihood(Y[:batch, 0], p), expected, rtol=1e-6)


def test_a_column_of_targets_meets_draws_of_scalar_distributions():
    loc = RNG.normal(size=(S, B)).astype("f")
    nll = negative_log_likelihood(Y[:, :1], tfd.Normal(loc, 1.0))
    np.testing.assert_allclose(nll, normal_nll(Y[:, 0], loc).mean(0), rtol=1e-6)


def test_a_column_of_scalar_distributions_is_added_up():
    nll = negative_log_likelihood(Y, tfd.Normal(LOC, 1.0))
    np.testing.assert_allclose(nll, normal_nll(Y, LOC).sum(1), rtol=1e-6)


def test_integer_targets_are_cast():
    y = np.int64(Y > 0)
    p = layers.IndependentBernoulli(D)(LOC)
    np.testing.assert_array_equal(
        negative_log_likelihood(y, p), negative_log_likelihood(y.astype("f"), p)
    )


REDUCTIONS = {
    "sum_over_batch_size": lambda losses: losses.mean(),
    "sum": lambda losses: losses.sum(),
    "none": lambda losses: losses,
}


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_reductions(reduction):
    p = layers.IndependentNormal(D, scale=1.0)(LOC)
    expected = REDUCTIONS[reduction](normal_nll(Y, LOC).sum(1))
    np.testing.assert_allclose(NegativeLogLikelihood(reduction)(Y, p), expected, rtol=1e-6)


def test_weights_scale_the_loss_of_an_example():
    p = layers.IndependentNormal(D, scale=1.0)(LOC)
    weight = np.float32([0, 1, 2, 0.5])
    loss = NegativeLogLikelihood()(Y, p, sample_weight=weight)
    np.testing.assert_allclose(loss, (weight * normal_nll(Y, LOC).sum(1)).mean(), rtol=1e-6)


def scalar_model(seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(1), layers.IndependentNormal((), scale=0.5)]
    )


@pytest.mark.parametrize("shape", [(8,), (8, 1)], ids=str)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_evaluates_scalar_regression_whatever_the_targets_rank(shape, batch_size):
    model = scalar_model()
    x, y = RNG.normal(size=(8, 2)).astype("f"), RNG.normal(size=8).astype("f")
    model.compile(loss=NegativeLogLikelihood())
    expected = normal_nll(y, model(x).mean().numpy(), 0.5).mean()
    result = model.evaluate(x, y.reshape(shape), batch_size=batch_size, verbose=0)
    assert result == pytest.approx(expected, rel=1e-6)


def test_training_equals_that_with_a_plain_lambda():
    x, y = RNG.normal(size=(8, 2)).astype("f"), RNG.normal(size=8).astype("f")
    losses = []
    for loss in (NegativeLogLikelihood(), lambda y, p: -p.log_prob(y)):
        model = scalar_model()
        model.compile(keras.optimizers.SGD(0.1), loss=loss)
        losses.append(model.fit(x, y, epochs=3, verbose=0, shuffle=False).history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)
    assert losses[0][2] < losses[0][0]


def test_is_serialisable():
    loss = NegativeLogLikelihood("sum", name="nll")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(again, NegativeLogLikelihood)
    assert again.get_config() == loss.get_config()


def test_refuses_a_tensor():
    with pytest.raises(TypeError, match=r"model whose output is a distribution.*Received"):
        NegativeLogLikelihood()(Y, tf.constant(LOC))


def test_a_model_that_outputs_a_tensor_is_refused_in_fit():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(loss=NegativeLogLikelihood())
    with pytest.raises(TypeError, match="end it in a distribution layer"):
        model.fit(np.zeros((4, 2)), np.zeros((4, 1)), verbose=0)
