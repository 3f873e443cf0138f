"""Mixtures against the sum that they are."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tensorflow_probability import distributions as tfd

from tfvae import layers
from tfvae.losses import NegativeLogLikelihood

RNG = np.random.default_rng(7)
B, K, D = 3, 5, 2
X = RNG.normal(size=(B, D)).astype("f")


def split(params, size):
    logits = np.float64(params[:, :K])
    weights = np.exp(logits - np.logaddexp.reduce(logits, axis=1)[:, None])
    return weights, np.float64(params[:, K:]).reshape(B, K, size)


@pytest.mark.parametrize(
    ("cls", "family"), [(layers.MixtureNormal, "norm"), (layers.MixtureLogistic, "logistic")]
)
def test_mixture_of_independent_elements(cls, family):
    params = RNG.normal(size=(B, cls.params_size(K, D))).astype("f")
    weights, parts = split(params, 2 * D)
    scale = 1e-5 + np.logaddexp(0.0, parts[..., D:])
    densities = getattr(stats, family).pdf(X[:, None], parts[..., :D], scale).prod(-1)
    p = cls(K, D)(params)
    np.testing.assert_allclose(p.log_prob(X), np.log((weights * densities).sum(1)), rtol=1e-4)
    mean = (weights[..., None] * parts[..., :D]).sum(1)
    np.testing.assert_allclose(p.mean(), mean, rtol=1e-5, atol=1e-6)
    assert isinstance(p, tfd.MixtureSameFamily)


def test_density_integrates_to_one():
    p = layers.MixtureNormal(K)(RNG.normal(size=(B, 15)).astype("f"))
    line = np.linspace(-30.0, 30.0, 20_001, dtype="f")
    total = np.trapezoid(p.prob(line[:, None]), line, axis=0)
    np.testing.assert_allclose(total, 1.0, rtol=1e-4)


COMPONENTS = {
    "layer": lambda: layers.IndependentNormal(D),
    "layer with a weight": lambda: layers.IndependentNormal(D, scale="shared"),
    "model": lambda: keras.Sequential([keras.layers.Dense(4), layers.IndependentNormal(D)]),
    "function": lambda: lambda t: layers.IndependentNormal.new(t, D),
}
WEIGHTS = {"layer": 0, "layer with a weight": 1, "model": 2, "function": 0}


@pytest.mark.parametrize("kind", COMPONENTS)
def test_component_layers(kind):
    size = K * (1 + (D if kind == "layer with a weight" else 2 * D))
    layer = layers.MixtureSameFamily(K, COMPONENTS[kind]())
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(size), layer])
    assert len(layer.trainable_weights) == WEIGHTS[kind]
    p = model(RNG.normal(size=(B, 6)).astype("f"))
    assert p.batch_shape == (B,)
    assert p.event_shape == (D,)
    before = [weight.numpy() for weight in model.trainable_weights]
    model.compile("sgd", NegativeLogLikelihood())
    model.fit(RNG.normal(size=(B, 6)), X, verbose=0)
    moved = [
        not np.array_equal(old, new)
        for old, new in zip(before, model.trainable_weights, strict=True)
    ]
    assert moved == [True] * (2 + WEIGHTS[kind])


def test_a_component_is_not_drawn():
    component = layers.IndependentNormal(D)
    layers.MixtureSameFamily(K, component)(RNG.normal(size=(B, 25)).astype("f"))
    assert component.seed_state.numpy().tolist() == [component.seed, 0]


@pytest.mark.parametrize("kind", ["layer", "layer with a weight"])
def test_a_model_is_saved_and_loaded(kind, tmp_path):
    size = K * (1 + (D if kind == "layer with a weight" else 2 * D))
    layer = layers.MixtureSameFamily(K, COMPONENTS[kind]())
    model = keras.Sequential([keras.Input((size,)), layer])
    for weight in layer.trainable_weights:
        weight.assign(weight + 0.7)
    params = RNG.normal(size=(B, size)).astype("f")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    p, q = loaded(params), model(params)
    np.testing.assert_array_equal(p, q)
    np.testing.assert_allclose(p.log_prob(X), q.log_prob(X), rtol=1e-6)


def test_a_function_is_not_saved():
    layer = layers.MixtureSameFamily(K, COMPONENTS["function"]())
    with pytest.raises(ValueError, match="`component_layer` cannot be saved"):
        layer.get_config()


def test_support_is_that_of_the_component():
    assert layers.MixtureSameFamily(2, layers.IndependentBeta(D)).support == (0.0, 1.0)
    assert layers.MixtureSameFamily(2, layers.IndependentNormal(D)).support is None
    checked = layers.MixtureSameFamily(2, layers.IndependentBeta(D, validate_args=True))
    p = checked(tf.zeros([1, 10]))
    with pytest.raises(tf.errors.InvalidArgumentError):
        p.log_prob([[0.5, 1.5]])


def test_errors():
    with pytest.raises(TypeError, match="`component_layer` must be a distribution layer"):
        layers.MixtureSameFamily(2, "normal")
    with pytest.raises(TypeError, match=r"must make a `tfd\.Distribution`\. Received"):
        layers.MixtureSameFamily(2, lambda t: t)(tf.zeros([3, 10]))
    regularised = layers.IndependentNormal(D, activity_regularizer=lambda q: q.entropy())
    with pytest.raises(ValueError, match="give `activity_regularizer` to the mixture"):
        layers.MixtureSameFamily(2, regularised)
    with pytest.raises(ValueError, match=r"2 component.* Received: .*\(3, 9\)"):
        layers.MixtureSameFamily(2, layers.IndependentNormal(D))(tf.zeros([3, 9]))
    with pytest.raises(ValueError, match="size 4"):
        layers.MixtureSameFamily(2, layers.IndependentNormal(D))(tf.zeros([3, 8]))
