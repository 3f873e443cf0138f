"""Completions, against the conditional distribution of a linear-Gaussian model."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfvae import VAE, layers
from tfvae.models.imputation import impute

KNOWN = np.array([True, True, False, True, False, False])
# Resampled draws repeat: it takes more of them to be as exact.
DRAWS = {"gibbs": 400, "metropolis": 400, "importance": 1500}


def conditional(truth, x):
    """Mean and covariance of E[x|z] at the missing places, given what is known of x."""
    seen, unseen = truth.weights[KNOWN], truth.weights[~KNOWN]
    inverse = np.linalg.inv(seen.T @ seen + 0.25 * np.eye(truth.latent))
    z = (x[:, KNOWN] - truth.mean[KNOWN]) @ seen @ inverse
    return z @ unseen.T + truth.mean[~KNOWN], unseen @ (0.25 * inverse) @ unseen.T


def completed(vae, x, method, num_steps=60):
    hidden = np.where(KNOWN, x, np.nan).astype("f")
    return impute(vae, hidden, KNOWN, method, num_draws=DRAWS[method], num_steps=num_steps)


def errors(truth, draws, x):
    """Of the mean, in standard deviations of a draw, and of the variance, relative."""
    mean, covariance = conditional(truth, x)
    variance = np.diag(covariance)
    missing = draws[..., ~KNOWN].astype(float)
    of_mean = np.abs(missing.mean(axis=0) - mean) / np.sqrt(variance)
    return of_mean.max(), np.abs(missing.var(axis=0).mean(axis=0) / variance - 1).max()


CASES = {
    "gibbs": (0.0, 1.0),
    "metropolis": (0.3, 1.4),
    "importance": (0.3, 1.4),
}


@pytest.mark.parametrize("method", CASES)
def test_draws_follow_the_conditional_distribution(truth, method):
    """Gibbs with the exact posterior; the others with one that is moved and too wide."""
    _, x = truth.data(4, seed=11)
    draws = completed(truth.vae(*CASES[method]), x, method)
    assert draws.shape == (DRAWS[method], 4, 6)
    np.testing.assert_array_equal(
        draws[..., KNOWN], np.broadcast_to(x[:, KNOWN], (DRAWS[method], 4, 3))
    )
    of_mean, of_variance = errors(truth, draws, x)
    # 400 draws: four standard errors of a mean are 0.2, and of a variance, averaged over four
    # examples, 0.14; successive states of one chain do not enter, only the ends of many.
    assert of_mean < 0.3
    assert of_variance < 0.25


def test_gibbs_leans_on_the_encoder(truth):
    """With the encoder of the other tests it is wrong: what they correct is there."""
    _, x = truth.data(4, seed=11)
    of_mean, of_variance = errors(truth, completed(truth.vae(0.3, 1.4), x, "gibbs"), x)
    assert max(of_mean, of_variance) > 0.6


@pytest.mark.parametrize("method", CASES)
def test_a_seed_means_one_result(exact_vae, truth, method):
    _, x = truth.data(2, seed=0)
    first, second, other = (
        impute(exact_vae, x, KNOWN, method, num_draws=3, num_steps=4, seed=seed)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 1e-3


def test_batches_are_filled_one_after_the_other(exact_vae, truth):
    _, x = truth.data(5, seed=0)
    draws = impute(exact_vae, x, KNOWN, num_draws=200, num_steps=20, batch_size=2)
    assert draws.shape == (200, 5, 6)
    np.testing.assert_allclose(draws.mean(axis=0)[:, ~KNOWN], conditional(truth, x)[0], atol=0.35)


def test_what_is_known_stays_and_the_rest_is_plausible(face_vae, small_faces):
    """The right half of faces, from the left: nearer to the truth than the mean face is."""
    x, known = small_faces.test[:20], np.ones((16, 16, 1), bool)
    known[:, 8:] = False
    guess = impute(face_vae, x, known, num_draws=8, num_steps=15).mean(axis=0)
    np.testing.assert_allclose(guess[:, :, :8], x[:, :, :8], atol=1e-6)
    mean_face = small_faces.train.mean(axis=0)
    error, baseline = (
        np.square(image - x)[:, :, 8:].mean()
        for image in (guess, np.broadcast_to(mean_face, x.shape))
    )
    assert error < 0.5 * baseline


def test_nothing_missing_and_everything_missing(exact_vae, truth):
    _, x = truth.data(2, seed=0)
    np.testing.assert_array_equal(impute(exact_vae, x, np.ones(6, bool), num_draws=2)[1], x)
    draws = impute(exact_vae, x, np.zeros(6, bool), num_draws=500, num_steps=30)
    # What is left is p(x): 1000 draws of its mean.
    np.testing.assert_allclose(draws.mean(axis=(0, 1)), truth.mean, atol=0.25)


def test_one_example(exact_vae, truth):
    _, x = truth.data(1, seed=0)
    assert impute(exact_vae, x[0], KNOWN, num_draws=3, num_steps=2).shape == (3, 6)


@pytest.mark.parametrize("method", CASES)
def test_codes_that_are_maps(maps_vae, maps, method):
    known = np.zeros((4, 4, 1), bool)
    draws = impute(maps_vae, maps.round(), known, method, num_draws=3, num_steps=2)
    assert draws.shape == (3, 5, 4, 4, 1)
    assert ((draws > 0) & (draws < 1)).all()


def test_importance_needs_independent_elements(truth):
    decoder = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(layers.MultivariateNormalTriL.params_size(6)),
            layers.MultivariateNormalTriL(6),
        ]
    )
    vae = VAE(truth.vae().encoder, decoder)
    x = np.zeros((2, 6), "f")
    assert impute(vae, x, KNOWN, num_draws=2, num_steps=2).shape == (2, 2, 6)
    with pytest.raises(ValueError, match="independent"):
        impute(vae, x, KNOWN, "importance", num_draws=2, num_steps=2)


def test_bad_arguments_are_refused(exact_vae, face_autoencoder, small_faces):
    x = np.zeros((2, 6), "f")
    with pytest.raises(ValueError, match=r"`method` must be one of.*Received: 'mean'"):
        impute(exact_vae, x, KNOWN, method="mean")
    with pytest.raises(TypeError, match=r"`mask` must be boolean.*Received: int64"):
        impute(exact_vae, x, KNOWN.astype("int64"))
    with pytest.raises(ValueError, match=r"`mask` must broadcast.*Received: shape \(5,\)"):
        impute(exact_vae, x, np.ones(5, bool))
    with pytest.raises(ValueError, match=r"known must be finite. Received: 6 known values"):
        impute(exact_vae, x * np.nan, KNOWN)
    with pytest.raises(ValueError, match=r"must be at least 1. Received: num_draws=0"):
        impute(exact_vae, x, KNOWN, num_draws=0)
    with pytest.raises(TypeError, match=r"take a `tfvae.VAE`. Received: Autoencoder"):
        impute(face_autoencoder, small_faces.test[:1], np.ones((16, 16, 3), bool))
