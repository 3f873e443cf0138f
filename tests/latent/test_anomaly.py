"""Scores of strangeness, against closed forms."""

from __future__ import annotations

import io
import math

import keras
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from tfvae import VAE
from tfvae.latent import anomaly_score, likelihood_ratio, likelihood_regret, threshold


@pytest.fixture(scope="module")
def small():
    """An untrained VAE of images, which have a likelihood all the same."""
    keras.utils.set_random_seed(0)
    return VAE.for_images((8, 8, 1), latent_dim=2, hidden=(8,))


@pytest.fixture
def images():
    return np.random.default_rng(0).random((4, 8, 8, 1), "f")


def test_the_score_is_minus_log_p(exact_vae, truth):
    _, x = truth.data(50, seed=0)
    covariance = truth.weights @ truth.weights.T + 0.25 * np.eye(6)
    expected = -stats.multivariate_normal(truth.mean, covariance).logpdf(np.float64(x))
    # The posterior is exact: no importance weight differs, and what is left is float32 rounding.
    np.testing.assert_allclose(anomaly_score(exact_vae, x), expected, rtol=1e-4)


def test_strange_examples_score_higher(exact_vae, truth):
    _, x = truth.data(200, seed=0)
    strange = x + 2.0 * np.random.default_rng(1).normal(size=x.shape).astype("f")
    usual = anomaly_score(exact_vae, x)
    assert np.mean(anomaly_score(exact_vae, strange) > np.quantile(usual, 0.95)) > 0.9


def test_the_png_ratio_is_the_score_less_the_files_length(small, images):
    ratio = likelihood_ratio(small, images, num_samples=4)
    lengths = []
    for image in images:
        file = io.BytesIO()
        levels = np.rint(image[..., 0] * 255).astype(np.uint8)
        Image.fromarray(levels).save(file, format="PNG", optimize=True)
        lengths.append(8 * math.log(2) * len(file.getvalue()))
    np.testing.assert_allclose(
        ratio, anomaly_score(small, images, num_samples=4) - lengths, rtol=1e-4
    )


def test_png_charges_less_for_flat_images(small):
    flat, busy = np.zeros((1, 8, 8, 1), "f"), np.random.default_rng(0).random((1, 8, 8, 1), "f")
    given = [likelihood_ratio(small, x) - anomaly_score(small, x) for x in (flat, busy)]
    assert given[0] > given[1] + 100  # nats that the coder needs for the busy one alone


def test_png_takes_colours(face_vae, small_faces):
    assert np.isfinite(likelihood_ratio(face_vae, small_faces.test[:2])).all()


def test_the_ratio_to_another_model_is_the_difference(exact_vae, truth):
    _, x = truth.data(10, seed=0)
    other = truth.vae(spread=1.5)
    ratio = likelihood_ratio(exact_vae, x, background=other, num_samples=200)
    # Both are the same model, with another proposal: the ratio estimates zero.
    np.testing.assert_allclose(ratio, 0.0, atol=0.3)
    assert np.abs(ratio).max() > 0
    np.testing.assert_array_equal(likelihood_ratio(exact_vae, x, background=exact_vae), 0.0)


def test_bad_backgrounds_are_refused(small, images, exact_vae):
    with pytest.raises(ValueError, match=r"`background` must be 'png' or a model. Received: 'jpg'"):
        likelihood_ratio(small, images, background="jpg")
    with pytest.raises(ValueError, match=r"PNG stores images \[N, H, W, C\]"):
        likelihood_ratio(exact_vae, np.zeros((1, 6), "f"))


def test_png_stores_what_is_in_range(face_vae, small_faces):
    with pytest.raises(ValueError, match=r"PNG stores images in \[0, 1\]"):
        likelihood_ratio(face_vae, 2 * small_faces.test[:1])


def diagonal(truth):
    """Of the linear-Gaussian model with independent dimensions: W with orthogonal columns."""
    made = type(truth)(np.linalg.qr(truth.weights)[0] * [2.0, 0.8])
    return made, made.data(40, seed=3)[1]


def test_a_perfect_encoder_has_nothing_to_regret(truth):
    made, x = diagonal(truth)
    regret = likelihood_regret(made.vae(), x, learning_rate=0.02, num_samples=64)
    np.testing.assert_allclose(regret, 0.0, atol=0.02)


def test_the_regret_is_the_divergence_from_the_posterior(truth):
    """ELBO = log p(x) - KL(q || p(z|x)), so the best q gains the divergence of the encoder's."""
    made, x = diagonal(truth)
    shift, spread = 0.4, 1.5
    vae = made.vae(shift, spread)
    variance = np.diag(made.covariance)
    divergence = 0.5 * np.sum(spread**2 + shift**2 / variance - 1 - 2 * np.log(spread), axis=0)
    regret = likelihood_regret(vae, x, num_steps=400, learning_rate=0.02, num_samples=400)
    # Draws of one Gaussian for both bounds: the noise left is that of 400 squares, 7 %, or 0.25.
    np.testing.assert_allclose(regret, divergence, atol=0.3 * divergence)
    assert regret.mean() == pytest.approx(divergence, rel=0.05)


def test_batches_do_not_change_the_regret(truth):
    made, x = diagonal(truth)
    vae = made.vae(0.4, 1.5)
    whole = likelihood_regret(vae, x[:10], num_steps=20, batch_size=10)
    parts = likelihood_regret(vae, x[:10], num_steps=20, batch_size=4)
    np.testing.assert_allclose(parts, whole, rtol=1e-3, atol=1e-4)
    other = likelihood_regret(vae, x[:10], num_steps=20, seed=1)
    assert np.abs(other - whole).max() > 1e-3


def test_the_regret_of_maps(maps_vae, maps):
    regret = likelihood_regret(maps_vae, maps, num_steps=30)
    assert regret.shape == (5,)
    assert (regret > 0).all()


def test_bad_numbers_are_refused(exact_vae):
    with pytest.raises(ValueError, match=r"must be positive. Received: num_steps=0"):
        likelihood_regret(exact_vae, np.zeros((1, 6), "f"), num_steps=0)


def test_an_autoencoder_has_no_likelihood(face_autoencoder, small_faces):
    for score in (anomaly_score, likelihood_regret, likelihood_ratio):
        with pytest.raises(TypeError, match=r"take a `tfvae.VAE`. Received: Autoencoder"):
            score(face_autoencoder, small_faces.test[:1])


# ---- the threshold ----------------------------------------------------------------------------


def test_the_threshold_is_an_order_statistic():
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 100.0))
    assert threshold(scores, 0.95) == 95.0
    assert threshold(scores, 0.5) == 50.0
    assert threshold([3.0, 1.0, 2.0], 0.75) == 3.0


def test_the_threshold_keeps_its_promise():
    """Of new examples, a share 1 - quantile is above it on average, however few are held out."""
    rng = np.random.default_rng(0)
    above = [
        np.mean(rng.gamma(0.5, size=100) > threshold(rng.gamma(0.5, size=39), 0.9))
        for _ in range(2000)
    ]
    # The standard error over 2000 data sets is 0.0011; a plain quantile would be at 0.12.
    assert np.mean(above) == pytest.approx(0.1, abs=0.004)


@pytest.mark.parametrize(
    ("scores", "quantile", "message"),
    [
        (np.zeros((2, 2)), 0.5, "needs finite scores"),
        ([np.nan, 1.0], 0.5, "needs finite scores"),
        ([1.0, 2.0], 1.0, "a quantile in"),
        (np.zeros(18), 0.95, "needs at least 19 scores. Received: 18"),
    ],
)
def test_what_has_no_threshold_is_refused(scores, quantile, message):
    with pytest.raises(ValueError, match=message):
        threshold(scores, quantile)
