"""DistributionLambda: any function of a tensor, and which of them can be saved."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import tfvae
from tfvae import layers
from tfvae.layers import DistributionLambda, Samples

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 3)).astype("f")


@keras.saving.register_keras_serializable(package="test_distribution_lambda")
def normal_around(t):
    return tfd.Independent(tfd.Normal(t, 0.5), 1)


@keras.saving.register_keras_serializable(package="test_distribution_lambda")
def twice_the_mean(q):
    return 2.0 * q.mean()


def unregistered(t):
    return tfd.Normal(t, 1.0)


def save_and_load(model, path):
    model.save(path)
    return tfvae.load(path)


def behind_dense(layer, units=3):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(units), layer])


MAKERS = {
    "Normal": lambda t: tfd.Normal(t, 1.0),
    "MultivariateNormalTriL": lambda t: tfd.MultivariateNormalTriL(t, tf.eye(3)),
    "OneHotCategorical": lambda t: tfd.OneHotCategorical(logits=t, dtype=tf.float32),
    "Independent": normal_around,
    "MixtureSameFamily": lambda t: tfd.MixtureSameFamily(
        tfd.Categorical(logits=t), tfd.Normal(t, 1.0)
    ),
}


@pytest.mark.parametrize("name", MAKERS)
def test_outputs_what_the_function_makes(name):
    p, expected = DistributionLambda(MAKERS[name], seed=1)(X), MAKERS[name](X)
    assert isinstance(p, type(expected))
    assert tuple(p.shape) == (*expected.batch_shape, *expected.event_shape)
    np.testing.assert_array_equal(p.log_prob(p), expected.log_prob(p.numpy()))


def test_trains_with_a_lambda():
    model = behind_dense(DistributionLambda(lambda t: tfd.Normal(t, 1.0)))
    model.compile(keras.optimizers.Adam(0.1), loss=lambda y, p: -p.log_prob(y))
    y = X @ RNG.normal(size=(3, 3)).astype("f")
    losses = model.fit(X, y, epochs=100, verbose=0).history["loss"]
    # Three weights and four examples: the fit is exact, and what remains is the entropy's constant.
    assert losses[-1] == pytest.approx(0.5 * np.log(2 * np.pi), abs=0.02)


def test_a_registered_function_saves_and_loads_bit_equal(tmp_path):
    model = behind_dense(DistributionLambda(normal_around, twice_the_mean))
    loaded = save_and_load(model, tmp_path / "model.keras")
    np.testing.assert_array_equal(model.predict(X, verbose=0), loaded.predict(X, verbose=0))
    np.testing.assert_allclose(loaded(X), 2 * loaded(X).mean(), rtol=1e-6)
    layer = loaded.layers[-1]
    assert layer.make_distribution_fn is normal_around
    assert layer.convert_to_tensor_fn is twice_the_mean


def test_a_model_as_the_function_is_trained_and_saved(tmp_path):
    inner = keras.Sequential(
        [keras.layers.Dense(4), layers.MultivariateNormalDiag(2, "mean")], name="inner"
    )
    model = keras.Sequential([keras.Input((3,)), DistributionLambda(inner, Samples(5), seed=1)])
    assert [w.path.rpartition("/")[2] for w in model.trainable_weights] == ["kernel", "bias"]
    assert isinstance(model(X), tfd.MultivariateNormalDiag)
    loaded = save_and_load(model, tmp_path / "model.keras")
    draws = model(X).numpy()
    assert draws.shape == (5, 4, 2)
    np.testing.assert_array_equal(loaded(X).numpy(), draws)


def inner_function():
    def made_here(t):
        return tfd.Normal(t, 1.0)

    return made_here


REFUSED = {
    "a lambda": ({"make_distribution_fn": lambda t: tfd.Normal(t, 1.0)}, "make_distribution_fn"),
    "an inner function": ({"make_distribution_fn": inner_function()}, "make_distribution_fn"),
    "an unregistered function": ({"make_distribution_fn": unregistered}, "make_distribution_fn"),
    "a lambda that converts": (
        {"make_distribution_fn": normal_around, "convert_to_tensor_fn": lambda q: q.mean()},
        "convert_to_tensor_fn",
    ),
    "a lambda that regularises": (
        {"make_distribution_fn": normal_around, "activity_regularizer": lambda q: q.entropy()},
        "activity_regularizer",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_saving_refuses(name, tmp_path):
    arguments, argument = REFUSED[name]
    model = behind_dense(DistributionLambda(**arguments))
    message = (
        rf"`{argument}` cannot be saved: .* named function at the top of a module, decorated with "
        r"`@keras.saving.register_keras_serializable\(package='my_project'\)`.*Received: <function"
    )
    with pytest.raises(ValueError, match=message):
        model.save(tmp_path / "model.keras")


@pytest.mark.parametrize("wrong", [None, 3.0, [1]], ids=repr)
def test_refuses_what_is_no_function(wrong):
    with pytest.raises(TypeError, match=r"`make_distribution_fn` must be a function .*Received"):
        DistributionLambda(wrong)


def test_refuses_a_function_that_makes_no_distribution():
    with pytest.raises(TypeError, match=r"must return a `tfd.Distribution`. Received: <tf.Tensor"):
        DistributionLambda(lambda t: t + 1.0, "mean")(X)
