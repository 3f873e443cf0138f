"""Priors: their densities, their draws from row seeds, and what they refuse."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae import layers, priors, random

SHAPES = [3, (3,), (2, 3)]


def perturbed(shape):
    """A trainable prior that has moved away from the standard normal."""
    prior = priors.TrainableNormal(shape)
    rng = np.random.default_rng(0)
    for weight in prior.trainable_weights:
        weight.assign(rng.normal(size=prior.event_shape))
    return prior


def softplus(raw):
    return np.logaddexp(0, np.float64(raw)) + 1e-5


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("make", [priors.StandardNormal, priors.TrainableNormal])
def test_starts_as_the_standard_normal(make, shape):
    prior = make(shape)
    z = np.random.default_rng(0).normal(size=(5, *prior.event_shape)).astype("f")
    expected = (-0.5 * z**2 - 0.5 * np.log(2 * np.pi)).reshape(5, -1).sum(1)
    p = prior()
    assert (tuple(p.batch_shape), tuple(p.event_shape)) == ((), prior.event_shape)
    np.testing.assert_allclose(p.log_prob(z), expected, rtol=1e-4)
    np.testing.assert_allclose(p.mean(), np.zeros(prior.event_shape), atol=1e-7)
    # The trainable scale has the floor of 1e-5 on top of its softplus.
    np.testing.assert_allclose(p.stddev(), np.ones(prior.event_shape), rtol=2e-5)


def test_the_standard_normal_learns_nothing():
    assert priors.StandardNormal(3).weights == []


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_trained_prior_has_the_density_of_its_weights(shape):
    prior = perturbed(shape)
    loc, scale = prior.loc.numpy(), softplus(prior.raw_scale.numpy())
    z = np.random.default_rng(1).normal(size=(5, *prior.event_shape)).astype("f")
    elements = -0.5 * ((z - loc) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(prior().log_prob(z), elements.reshape(5, -1).sum(1), rtol=1e-5)


def test_gradients_reach_the_weights_of_a_prior_that_is_made_anew():
    prior = perturbed(3)
    with tf.GradientTape() as tape:
        cost = -prior().log_prob(tf.zeros(3))
    loc, scale = prior.loc.numpy(), softplus(prior.raw_scale.numpy())
    by_loc, by_raw = tape.gradient(cost, prior.trainable_weights)
    logistic = 1 / (1 + np.exp(-prior.raw_scale.numpy()))
    np.testing.assert_allclose(by_loc, loc / scale**2, rtol=1e-5)
    np.testing.assert_allclose(by_raw, (1 / scale - loc**2 / scale**3) * logistic, rtol=1e-4)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_draws_are_the_random_numbers_of_their_seeds(shape):
    seeds = random.seeds(7, 4)
    standard, trained = priors.StandardNormal(shape), perturbed(shape)
    noise = random.normal(seeds, int(np.prod(shape))).numpy().reshape(4, *standard.event_shape)
    np.testing.assert_array_equal(standard.draw(seeds), noise)
    expected = trained.loc.numpy() + softplus(trained.raw_scale.numpy()) * noise
    np.testing.assert_allclose(trained.draw(seeds), expected, rtol=1e-5, atol=1e-6)


def test_a_draw_does_not_depend_on_its_batch():
    prior, seeds = perturbed((2, 3)), random.seeds(7, 6)
    together = prior.draw(seeds).numpy()
    apart = np.concatenate([prior.draw(seeds[i : i + 1]) for i in range(6)])
    np.testing.assert_array_equal(together, apart)


def test_draws_follow_the_density():
    prior = perturbed(3)
    n = 20_000
    z = prior.draw(random.seeds(1, n)).numpy()
    loc, scale = prior.loc.numpy(), softplus(prior.raw_scale.numpy())
    # Seed 1, four standard errors: of a mean scale / sqrt(n), of a deviation scale / sqrt(2 n).
    assert np.all(np.abs(z.mean(0) - loc) < 4 * scale / np.sqrt(n))
    assert np.all(np.abs(z.std(0) - scale) < 4 * scale / np.sqrt(2 * n))


def test_posteriors_of_the_layers_have_a_closed_form_against_them():
    vector = layers.MultivariateNormalDiag(3)(tf.zeros((2, 6)))
    array = layers.IndependentNormal((2, 3))(tf.zeros((2, 12)))
    scale = softplus(0.0)
    for q, prior, size in ((vector, priors.StandardNormal(3), 3), (array, perturbed((2, 3)), 6)):
        p = prior()
        moved = p.mean().numpy() / p.stddev().numpy()
        ratio = scale / p.stddev().numpy()
        expected = 0.5 * (ratio**2 + moved**2 - 1 - 2 * np.log(ratio)).sum()
        assert size == moved.size
        np.testing.assert_allclose(tfd.kl_divergence(q, p), [expected] * 2, rtol=1e-5)


@pytest.mark.parametrize("make", [priors.StandardNormal, priors.TrainableNormal])
def test_configuration_makes_the_same_prior(make):
    prior = make((2, 3), name="prior")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(prior))
    assert type(again) is make
    assert again.get_config() == prior.get_config()
    assert again.event_shape == (2, 3)


def test_stays_in_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        for prior in (priors.StandardNormal(2), priors.TrainableNormal(2)):
            assert prior().dtype == tf.float32
            assert prior.draw(random.seeds(0, 1)).dtype == tf.float32
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("wrong", [0, -1, (), (2, 0), (2.0,), "3"], ids=repr)
def test_refuses_a_shape_without_elements(wrong):
    with pytest.raises(ValueError, match=r"`event_shape` of a prior .*Received"):
        priors.StandardNormal(wrong)
