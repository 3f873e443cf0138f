"""Posteriors as means and covariances, whatever the distribution."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfvae.latent import codes
from tfvae.models.examples import as_batch


class Says:
    """A model that encodes everything as one distribution."""

    data_shape = (2,)

    def __init__(self, q):
        self.q = q

    def encode(self, x):
        return self.q


X = np.zeros((3, 2), "f")
LOC = np.random.default_rng(0).normal(size=(3, 2)).astype("f")
SCALE = np.array([[0.5, 2.0], [1.0, 0.1], [0.3, 0.4]], "f")
TRIL = np.array([[1.0, 0.0], [0.7, 0.5]], "f")


def test_independent_dimensions_have_variances():
    for q in (
        tfd.MultivariateNormalDiag(LOC, SCALE),
        tfd.Independent(tfd.Normal(LOC, SCALE), 1),
        tfd.Independent(tfd.Laplace(LOC, SCALE / np.sqrt(np.float32(2.0))), 1),
    ):
        found = codes.encode(Says(q), X)
        np.testing.assert_allclose(found.mean, LOC, rtol=1e-6)
        np.testing.assert_allclose(found.covariance, SCALE**2, rtol=1e-5)


def test_dependent_dimensions_have_covariances():
    q = tfd.MultivariateNormalTriL(LOC, TRIL)
    found = codes.encode(Says(q), X)
    np.testing.assert_allclose(
        found.covariance, np.broadcast_to(TRIL @ TRIL.T, (3, 2, 2)), rtol=1e-5
    )


def test_a_flow_is_measured_by_its_draws():
    """TFP has no mean of a transformed distribution; this one is log-normal."""
    q = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(LOC, 0.3 * SCALE), tfb.Exp())
    found = codes.encode(Says(q), X)
    variance = (0.3 * SCALE) ** 2
    mean = np.exp(LOC + variance / 2)
    deviation = mean * np.sqrt(np.expm1(variance))
    # 256 draws: three standard errors of a mean are 0.19 standard deviations.
    np.testing.assert_array_less(np.abs(found.mean - mean) / deviation, 0.19)
    found_deviation = np.sqrt(np.einsum("nii->ni", found.covariance))
    np.testing.assert_allclose(found_deviation, deviation, rtol=0.3)


def test_an_autoencoder_is_certain(face_autoencoder, small_faces):
    found = codes.encode(face_autoencoder, small_faces.test[:4])
    np.testing.assert_array_equal(found.covariance, 0)
    np.testing.assert_allclose(
        found.mean, face_autoencoder.transform(small_faces.test[:4]), rtol=1e-4, atol=1e-5
    )


def test_variance_along_a_direction():
    directions = np.array([[1.0, 2.0], [0.0, 1.0], [3.0, -1.0]])
    full = np.einsum("nij,nkj->nik", *[np.random.default_rng(1).normal(size=(3, 2, 2))] * 2)
    expected = [d @ c @ d for d, c in zip(directions, full, strict=True)]
    np.testing.assert_allclose(codes.Codes(LOC, full).variance_along(directions), expected)
    diagonal = np.einsum("nii->ni", full)
    expected = [d**2 @ c for d, c in zip(directions, diagonal, strict=True)]
    np.testing.assert_allclose(codes.Codes(LOC, diagonal).variance_along(directions), expected)


def test_a_map_is_a_vector_and_back(maps_vae, maps):
    found = codes.encode(maps_vae, maps, batch_size=2)
    assert found.mean.shape == found.covariance.shape == (5, 12)
    np.testing.assert_allclose(
        codes.decode_means(maps_vae, found.mean, batch_size=3),
        maps_vae.reconstruct(maps),
        atol=1e-6,
    )


def test_draws_have_the_posteriors_spread(exact_vae, truth):
    _, x = truth.data(4000, seed=2)
    noise = codes.draw_codes(exact_vae, x, batch_size=4000) - truth.code(x)
    # The relative error of 4000 squares is 0.022; 4 of it.
    np.testing.assert_allclose(
        np.cov(noise.T), truth.covariance, atol=0.09 * truth.covariance.max()
    )


@pytest.mark.parametrize("shape", [(4, 5), (0, 6), (6, 6, 1)])
def test_data_of_another_shape_is_refused(exact_vae, shape):
    with pytest.raises(ValueError, match=r"`x` must be examples \[N, 6\].*Received: shape"):
        as_batch(exact_vae, np.zeros(shape, "f"))


def test_one_example_is_a_batch_of_one(exact_vae):
    batch, single = as_batch(exact_vae, np.zeros(6, "f"))
    assert batch.shape == (1, 6)
    assert single
    assert not as_batch(exact_vae, np.zeros((6, 6), "f"))[1]


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match="must be a built model of tfvae"):
        as_batch(keras.Sequential([keras.Input((2,))]), tf.zeros([1, 2]))
