"""Networks inside a function that makes a distribution are seen, trained and saved."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae import layers
from tfvae.losses import NegativeLogLikelihood

RNG = np.random.default_rng(9)
X, Y = RNG.normal(size=(8, 4)).astype("f"), RNG.normal(size=(8, 2)).astype("f")


def normal(loc, scale=1.0):
    return tfd.Independent(tfd.Normal(loc, scale), reinterpreted_batch_ndims=1)


GLOBAL_DENSE = keras.layers.Dense(2, name="global_dense")


@keras.saving.register_keras_serializable(package="test_distribution_lambda_networks")
class Head(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(2)

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, t):
        return normal(self.dense(t))

    def make(self, t):
        return normal(self.dense(t))


def closure():
    dense, raw = keras.layers.Dense(2), keras.Variable(0.0)
    return lambda t: normal(dense(t), tf.nn.softplus(raw))


def model_in_a_closure():
    network = keras.Sequential([keras.layers.Dense(3, "relu"), keras.layers.Dense(2)])
    return lambda t: normal(network(t))


def with_default():
    default = keras.layers.Dense(2)

    def make(t, dense=default):
        return normal(dense(t))

    return make


# Name: a function, and how many weights it has.
FUNCTIONS = {
    "a layer": (Head, 2),
    "a method": (lambda: Head().make, 2),
    "closure": (closure, 3),
    "a model in a closure": (model_in_a_closure, 4),
    "global": (lambda: lambda t: normal(GLOBAL_DENSE(t)), 2),
    "partial": (lambda: functools.partial(lambda d, t: normal(d(t)), keras.layers.Dense(2)), 2),
    "default": (with_default, 2),
    "none": (lambda: lambda t: normal(t[..., :2]), 0),
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_networks_are_trained(kind):
    make, count = FUNCTIONS[kind]
    model = keras.Sequential([keras.Input((4,)), layers.DistributionLambda(make())])
    assert len(model.trainable_weights) == count
    before = [weight.numpy() for weight in model.trainable_weights]
    model.compile("sgd", NegativeLogLikelihood())
    model.fit(X, Y, verbose=0)
    for old, new in zip(before, model.trainable_weights, strict=True):
        assert not np.array_equal(old, new)


def test_a_layer_is_saved(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.DistributionLambda(Head())])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(X).log_prob(Y), model(X).log_prob(Y), rtol=1e-6)
