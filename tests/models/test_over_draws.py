"""Estimates from many draws: by XLA or without, in chunks or at once, they are the same."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfvae import VAE, layers
from tfvae.models import execution, over_draws
from tfvae.models.execution import compiles_estimates
from tfvae.models.over_draws import SUM, in_chunks

X = np.random.default_rng(0).uniform(size=(6, 4)).astype("f")


@keras.saving.register_keras_serializable("tests")
class NotForXla(keras.layers.Layer):
    """The identity, by way of strings."""

    def call(self, x):
        text = tf.strings.as_string(tf.stop_gradient(x), precision=9)
        return tf.ensure_shape(tf.strings.to_number(text), x.shape)


def vae(*decoder_layers):
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(4), layers.MultivariateNormalDiag(2)]
    )
    decoder = keras.Sequential(
        [
            keras.Input((2,)),
            *decoder_layers,
            keras.layers.Dense(4, kernel_initializer=keras.initializers.RandomNormal()),
            layers.IndependentBernoulli((4,)),
        ]
    )
    return VAE(encoder, decoder)


@pytest.mark.parametrize("size", [1, 3, 4, 11])
@pytest.mark.parametrize("num_samples", [1, 101, 5000])
def test_every_example_counts_once_for_every_draw(size, num_samples, monkeypatch):
    """In batches of at most four, the last of which is filled up, and chunks of at most 30."""
    monkeypatch.setattr(over_draws, "_ROWS_AT_ONCE", 120)

    def count(batch):
        assert batch.shape[0] <= 4
        return lambda seed, draws: [batch * draws]

    def compiled(draws):
        return in_chunks(count, SUM, draws)

    x = np.arange(size, dtype="f")
    (found,) = over_draws.over_draws(compiled, SUM, x, num_samples, seed=0, batch_size=4)
    np.testing.assert_array_equal(found, x * num_samples)


@pytest.fixture
def always_xla(monkeypatch):
    monkeypatch.setattr(execution, "_ESTIMATE_WORTH_COMPILING", 0)
    monkeypatch.setattr(execution, "_WORTH_COMPILING", 0)


@pytest.mark.parametrize("num_samples", [1, 5000])
@pytest.mark.parametrize("estimate", ["log_likelihood", "elbo"])
def test_xla_changes_nothing(estimate, num_samples, request, monkeypatch):
    model = vae()
    without = getattr(model, estimate)(X, num_samples, batch_size=4)
    request.getfixturevalue("always_xla")
    monkeypatch.setattr(over_draws, "NOT_COMPILED", ())
    assert compiles_estimates(model, num_samples)
    np.testing.assert_allclose(
        getattr(model, estimate)(X, num_samples, batch_size=4), without, atol=1e-5
    )
    assert {compiled for (_, compiled) in model._compiled_functions} == {False, True}


def test_what_xla_cannot_compile_is_estimated_without(always_xla):
    model = vae(NotForXla())
    expected = vae().log_likelihood(X, 10)
    np.testing.assert_allclose(model.log_likelihood(X, 10), expected, atol=1e-5)
    assert not compiles_estimates(model, 10)  # and is not tried again


def test_who_says_no_to_xla_gets_none(always_xla):
    model = vae()
    model.compile(jit_compile=False)
    assert not compiles_estimates(model, 10)


def test_draws_that_xla_makes_otherwise_are_made_without(always_xla):
    encoder = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(5), layers.MultivariateNormalTriL(2)]
    )
    model = VAE(encoder, vae().decoder)
    model.log_likelihood(X, 10)
    assert {compiled for (_, compiled) in model._compiled_functions} == {False}


def test_few_draws_and_convolutions_are_not_worth_it():
    dense = VAE.for_images((28, 28, 1), latent_dim=50, hidden=(200, 200))
    conv = VAE.for_images((28, 28, 1), latent_dim=50, network="conv")
    assert compiles_estimates(dense, 1000 * 5000)
    assert not compiles_estimates(dense, 100 * 1000)
    assert not compiles_estimates(conv, 1000 * 5000)


def test_a_batch_is_encoded_once_for_all_chunks(monkeypatch):
    monkeypatch.setattr(over_draws, "_ROWS_AT_ONCE", 12)
    encoded = []

    def counted(x):
        encoded.append(len(x))
        return x

    model = vae()
    encode = model.encode
    monkeypatch.setattr(
        model,
        "encode",
        lambda x: encode(tf.ensure_shape(tf.numpy_function(counted, [x], tf.float32), x.shape)),
    )
    for estimate in (model.log_likelihood, model.elbo):
        encoded.clear()
        estimate(X, 9, batch_size=4)  # two batches of 3, in three chunks of 3 draws
        assert encoded == [3, 3]
