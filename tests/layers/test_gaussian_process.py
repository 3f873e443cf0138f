"""The variational Gaussian process: the exact posterior where one point is enough, training."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import math as tfm

from tfvae import layers

RNG = np.random.default_rng(8)


@keras.saving.register_keras_serializable(package="test_gaussian_process")
class Kernel(keras.layers.Layer):
    """A squared exponential kernel with a trainable amplitude and length."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.amplitude = self.add_weight(shape=(), initializer="zeros", name="amplitude")
        self.length = self.add_weight(shape=(), initializer="zeros", name="length")

    @property
    def kernel(self):
        return tfm.psd_kernels.ExponentiatedQuadratic(tf.exp(self.amplitude), tf.exp(self.length))


@keras.saving.register_keras_serializable(package="test_gaussian_process")
def loss(y, p):
    return p.variational_loss(y, kl_weight=0.1)


def test_prior_where_the_inducing_variables_are_the_prior():
    """With the prior's own covariance at the inducing points the process is the prior."""
    points = np.float32([[-1.0], [0.5], [2.0]])
    covariance = np.exp(-0.5 * (points - points.T) ** 2)
    layer = layers.VariationalGaussianProcess(
        3,
        Kernel(),
        inducing_index_points_initializer=keras.initializers.Constant(points),
        unconstrained_observation_noise_variance_initializer=None,
        variational_inducing_observations_scale_initializer=keras.initializers.Constant(
            np.linalg.cholesky(covariance)
        ),
    )
    p = layer(np.float32([[0.0], [3.0]]))
    np.testing.assert_allclose(p.mean(), [[0.0], [0.0]], atol=1e-6)
    np.testing.assert_allclose(p.variance(), [[1.0], [1.0]], rtol=1e-4)
    np.testing.assert_allclose(p.surrogate_posterior_kl_divergence_prior(), [0.0], atol=1e-4)
    names = [weight.name for weight in layer.trainable_weights]
    assert "observation_noise_variance" not in names
    assert {"amplitude", "length", "mean", "inducing_index_points"} < set(names)


def sine_model():
    keras.utils.set_random_seed(0)
    grid = keras.initializers.Constant(np.linspace(-3, 3, 8, dtype="f")[:, None])
    layer = layers.VariationalGaussianProcess(
        8,
        Kernel(),
        inducing_index_points_initializer=grid,
        unconstrained_observation_noise_variance_initializer=keras.initializers.Constant(-1.0),
        jitter=1e-4,
    )
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(keras.optimizers.Adam(0.05), loss)
    return model


def test_fits_a_sine_and_is_saved(tmp_path):
    x = RNG.uniform(-3, 3, (200, 1)).astype("f")
    y = np.sin(x) + 0.1 * RNG.normal(size=x.shape).astype("f")
    model = sine_model()
    before = [weight.numpy() for weight in model.trainable_weights]
    model.fit(x, y, batch_size=20, epochs=15, verbose=0)
    for old, new in zip(before, model.trainable_weights, strict=True):
        assert not np.array_equal(old, new)
    assert len(before) == 7
    p = model(np.float32([[-1.5], [0.0], [1.5]]))
    np.testing.assert_allclose(p.mean()[:, 0], np.sin([-1.5, 0.0, 1.5]), atol=0.15)
    far, near = model(np.float32([[9.0], [0.0]])).stddev()[:, 0]
    assert far > 2 * near
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(x[:5]).mean(), model(x[:5]).mean(), rtol=1e-5)


def test_several_outputs_and_a_network_as_mean():
    dense = keras.layers.Dense(1)
    layer = layers.VariationalGaussianProcess(
        4, Kernel(), event_shape=[3], mean_fn=lambda x: dense(x)[..., 0]
    )
    model = keras.Sequential([keras.Input((2,)), layer])
    p = model(RNG.normal(size=(5, 2)).astype("f"))
    assert p.event_shape == (5, 3)
    assert p.batch_shape == ()
    assert p.variational_loss(tf.zeros([5, 3])).shape == (3,)
    assert tf.convert_to_tensor(p).shape == (5, 3)


def test_errors():
    with pytest.raises(TypeError, match="`kernel_provider` must be a Keras layer"):
        layers.VariationalGaussianProcess(4, tfm.psd_kernels.ExponentiatedQuadratic())
    with pytest.raises(ValueError, match=r"`num_inducing_points` .* Received: 0"):
        layers.VariationalGaussianProcess(0, Kernel())
    with pytest.raises(ValueError, match="`event_shape` must be that of a vector"):
        layers.VariationalGaussianProcess(4, Kernel(), event_shape=())
