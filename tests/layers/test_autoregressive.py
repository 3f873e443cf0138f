"""The flow as a layer: its density, its draws, and the network that it owns."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae import layers
from tfvae.flows import AutoregressiveNetwork
from tfvae.losses import NegativeLogLikelihood

RNG = np.random.default_rng(6)
B, D = 4, 2
PARAMS = RNG.normal(size=(B, 2 * D)).astype("f")


def flow(**options):
    made = AutoregressiveNetwork(2, hidden_units=[8], activation="tanh", seed=1)
    layer = layers.AutoregressiveTransform(made, **options)
    layer(layers.MultivariateNormalDiag(D)(PARAMS))
    for weight in layer.trainable_weights:
        weight.assign(0.5 * RNG.normal(size=weight.shape))
    return layer


def test_density_is_that_of_the_inverse():
    layer, base = flow(), layers.MultivariateNormalDiag(D)(PARAMS)
    x = RNG.normal(size=(B, D)).astype("f")
    shift, log_scale = np.moveaxis(layer.made(x).numpy(), -1, 0)
    expected = base.log_prob((x - shift) * np.exp(-log_scale)) - log_scale.sum(-1)
    np.testing.assert_allclose(layer(base).log_prob(x), expected, rtol=1e-4)


def test_density_integrates_to_one():
    x = flow()(layers.MultivariateNormalDiag(D)(PARAMS[:1] * 0.5))
    axis = np.linspace(-25, 25, 1001, dtype="f")
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    total = np.trapezoid(np.trapezoid(x.prob(grid), axis), axis)
    np.testing.assert_allclose(total, 1.0, atol=1e-3)


def test_the_value_is_a_draw_with_a_gradient():
    layer = flow(convert_to_tensor_fn=layers.Samples(3))
    with tf.GradientTape() as tape:
        x = layer(layers.MultivariateNormalDiag(D)(PARAMS))
        total = tf.reduce_sum(tf.square(x))
    assert x.shape == (3, B, D)
    assert all(np.abs(g).sum() > 0 for g in tape.gradient(total, layer.trainable_weights))


@keras.saving.register_keras_serializable(package="test_autoregressive")
def standard_normal(t):
    return tfd.MultivariateNormalDiag(tf.zeros([tf.shape(t)[0], D]), tf.ones(D))


def banana(n):
    u = RNG.normal(size=(n, 2))
    return np.stack([u[:, 0] + u[:, 1] ** 2, u[:, 1]], axis=1).astype("f")


def test_fits_a_density_without_an_input(tmp_path):
    """The example of TFP's layer: data of a curved shape, and an input of no features."""
    keras.utils.set_random_seed(0)
    made = AutoregressiveNetwork(
        2, hidden_units=[16], activation="relu", input_order="right-to-left", seed=2
    )
    model = keras.Sequential(
        [
            keras.Input((0,)),
            layers.DistributionLambda(standard_normal),
            layers.AutoregressiveTransform(made),
        ]
    )
    assert len(model.trainable_weights) == 4
    model.compile(keras.optimizers.Adam(0.02), NegativeLogLikelihood())
    y = banana(2000)
    model.fit(np.zeros((2000, 0), "f"), y, batch_size=100, epochs=8, verbose=0)
    nats = -np.mean(model(np.zeros((1, 0), "f")).log_prob(banana(2000)))
    # The entropy is that of two standard normals, 2.838; a normal of the same moments has 3.39.
    assert 2.75 < nats < 3.1
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    p, q = (m(np.zeros((5, 0), "f")) for m in (loaded, model))
    np.testing.assert_allclose(p.log_prob(y[:5]), q.log_prob(y[:5]), rtol=1e-6)


def test_in_a_functional_model():
    inputs = keras.Input((3,))
    x = layers.MultivariateNormalTriL(D)(keras.layers.Dense(5)(inputs))
    for order in ("left-to-right", "right-to-left"):
        x = layers.AutoregressiveTransform(AutoregressiveNetwork(2, input_order=order))(x)
    model = keras.Model(inputs, x)
    model.compile("adam", NegativeLogLikelihood())
    before = [weight.numpy() for weight in model.trainable_weights]
    model.fit(RNG.normal(size=(8, 3)), RNG.normal(size=(8, D)), verbose=0)
    assert len(before) == 6
    for old, new in zip(before, model.trainable_weights, strict=True):
        assert not np.array_equal(old, new)


def test_errors():
    with pytest.raises(TypeError, match="`made` must be a Keras layer"):
        layers.AutoregressiveTransform(lambda x: x)
    with pytest.raises(ValueError, match=r"two outputs for each element.*params=3"):
        layers.AutoregressiveTransform(AutoregressiveNetwork(3))
    with pytest.raises(TypeError, match="put it behind a distribution layer"):
        flow()(tf.zeros([B, D]))
