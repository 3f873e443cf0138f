"""Models whose answers are known: a linear-Gaussian one in closed form, and small faces."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from tensorflow_probability import distributions as tfd

from tfvae import VAE, Autoencoder, layers
from tfvae.data import faces

SIGMA = 0.5


class LinearGaussian:
    """x = W z + mean + noise of deviation SIGMA, z standard normal, in float64.

    With M = W'W + SIGMA^2 I: p(z|x) = N(M^-1 W'(x - mean), SIGMA^2 M^-1).
    """

    def __init__(self, weights):
        self.weights = np.asarray(weights, np.float64)
        self.size, self.latent = self.weights.shape
        rng = np.random.default_rng(5)
        self.mean = rng.normal(size=self.size)
        inverse = np.linalg.inv(self.weights.T @ self.weights + SIGMA**2 * np.eye(self.latent))
        self.to_code = inverse @ self.weights.T
        self.covariance = SIGMA**2 * inverse

    def data(self, count, seed):
        rng = np.random.default_rng(seed)
        z = rng.normal(size=(count, self.latent))
        noise = SIGMA * rng.normal(size=(count, self.size))
        return z, (z @ self.weights.T + self.mean + noise).astype("f")

    def code(self, x):
        return (x - self.mean) @ self.to_code.T

    def vae(self, shift=0.0, spread=1.0):
        """Its VAE; the posterior is the exact one, moved by `shift` and widened by `spread`."""
        tril = np.linalg.cholesky(spread**2 * self.covariance).astype("f")
        posterior = layers.DistributionLambda(
            lambda loc: tfd.MultivariateNormalTriL(loc, tril), seed=1
        )
        encoder = [
            keras.Input((self.size,)),
            dense(self.to_code.T, shift - self.to_code @ self.mean),
            posterior,
        ]
        decoder = [
            keras.Input((self.latent,)),
            dense(self.weights.T, self.mean),
            layers.IndependentNormal(self.size, "mean", scale=SIGMA),
        ]
        return VAE(keras.Sequential(encoder), keras.Sequential(decoder))


def dense(kernel, bias):
    def constant(value):
        return lambda *args, **kwargs: keras.ops.convert_to_tensor(value, "float32")

    bias = np.broadcast_to(bias, np.shape(kernel)[1:])
    return keras.layers.Dense(
        len(bias), kernel_initializer=constant(kernel), bias_initializer=constant(bias)
    )


@pytest.fixture(scope="session")
def truth():
    return LinearGaussian(np.random.default_rng(0).normal(size=(6, 2)))


@pytest.fixture(scope="session")
def exact_vae(truth):
    return truth.vae()


class Faces:
    """Small faces as floats, in two parts that share nothing, with their true attributes."""

    def __init__(self):
        self.train, self.labels = self.draw(3000, seed=0)
        self.test, self.test_labels = self.draw(1000, seed=1)

    @staticmethod
    def draw(count, seed):
        images, labels = faces(count, size=16, seed=seed)
        return images.astype("f") / 255, labels


@pytest.fixture(scope="session")
def small_faces():
    return Faces()


def train(model, images, epochs):
    model.compile(keras.optimizers.Adam(3e-3))
    model.fit(images, epochs=epochs, batch_size=100, verbose=0)
    return model


@pytest.fixture(scope="session")
def face_vae(small_faces):
    """A VAE of the faces, with a dimension for each of their 13 attributes and some to spare.

    At any of four seeds an edit of the wall changes it seven times as much as the mouth; with 10
    dimensions it was between 1.5 and 8 times.
    """
    keras.utils.set_random_seed(0)
    images = small_faces.train
    made = VAE.for_images(
        images.shape[1:],
        latent_dim=16,
        hidden=(128,),
        likelihood="normal",
        mean=images.mean(axis=0),
    )
    return train(made, images, epochs=20)


@pytest.fixture(scope="session")
def face_autoencoder(small_faces):
    keras.utils.set_random_seed(0)
    images = small_faces.train
    made = Autoencoder.for_images(
        images.shape[1:], latent_dim=10, hidden=(128,), likelihood="normal"
    )
    return train(made, images, epochs=2)


@pytest.fixture(scope="session")
def maps_vae():
    """An untrained VAE whose code is a map, `[2, 2, 3]`."""
    keras.utils.set_random_seed(0)
    size = layers.IndependentNormal.params_size((2, 2, 3))
    encoder = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(size),
            layers.IndependentNormal((2, 2, 3)),
        ]
    )
    decoder = keras.Sequential(
        [
            keras.Input((2, 2, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(16),
            layers.IndependentBernoulli((4, 4, 1), "mean"),
        ]
    )
    return VAE(encoder, decoder)


@pytest.fixture
def maps():
    return np.random.default_rng(3).random((5, 4, 4, 1), "f")
