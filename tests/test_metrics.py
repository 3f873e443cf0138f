"""Measures of the latent, against a linear-Gaussian model, quadrature and constructed posteriors.

The model here is x ~ N(0, I), q(z_j|x) = N(a_j x_j + b_j, s_j^2), p(x|z) = N(w_j z_j, SIGMA^2), so
that q(z_j) = N(b_j, a_j^2 + s_j^2).
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, stats
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfvae import VAE, Autoencoder, layers, metrics, priors
from tfvae.metrics import information

A, B, S = np.array([1.5, 0.6, 0.05]), np.array([0.3, 0.0, 0.0]), np.array([0.6, 0.9, 1.0])
W, SIGMA, N = np.array([0.8, -0.5, 0.2]), 0.7, 1500
X = np.random.default_rng(0).normal(size=(N, 3)).astype("f")


def dense(kernel, bias):
    def constant(value):
        return lambda *args, **kwargs: keras.ops.convert_to_tensor(value, "float32")

    return keras.layers.Dense(
        len(bias), kernel_initializer=constant(kernel), bias_initializer=constant(bias)
    )


def vae_of(posterior, kernel, bias, prior=None):
    """The decoder above behind an encoder that ends in `posterior`."""
    size = np.shape(kernel)[0]
    encoder = keras.Sequential([keras.Input((size,)), dense(kernel, bias), posterior])
    likelihood = layers.IndependentNormal(size, "mean", scale=SIGMA)
    decoder = keras.Sequential(
        [keras.Input((size,)), dense(np.diag(W[:size]), np.zeros(size)), likelihood]
    )
    return VAE(encoder, decoder, prior=prior)


def linear_gaussian(a=A, b=B, s=S, prior=None):
    a, b, s = (np.atleast_1d(v) for v in (a, b, s))
    kernel = np.concatenate([np.diag(a), np.zeros((len(a), len(a)))], axis=1)
    bias = np.concatenate([b, np.log(np.expm1(s - 1e-5))])
    return vae_of(layers.MultivariateNormalDiag(len(a), seed=1), kernel, bias, prior)


@pytest.fixture(scope="module")
def vae():
    return linear_gaussian()


def kl_of_normal(loc, variance):
    return 0.5 * (variance + loc**2 - 1 - np.log(variance))


def test_the_divergence_of_each_dimension_is_the_closed_form(vae):
    expected = kl_of_normal(A * X + B, S**2).mean(0)
    np.testing.assert_allclose(metrics.kl_per_dimension(vae, X), expected, rtol=1e-4)
    assert metrics.rate(vae, X) == pytest.approx(expected.sum(), rel=1e-5)


def test_distortion_is_the_closed_form(vae):
    constant = np.log(SIGMA) + 0.5 * np.log(2 * np.pi)
    error = (X - W * (A * X + B)) ** 2 + (W * S) ** 2
    expected = (0.5 * error / SIGMA**2 + constant).sum(1).mean()
    # Given x the cost is (r - w s e)^2 / (2 SIGMA^2) for a residual r and standard normal e.
    residual, u = X - W * (A * X + B), (W * S) ** 2
    variance = ((4 * residual**2 * u + 2 * u**2) / (4 * SIGMA**4)).sum() / N**2 / 4
    # Seed 0, 1,500 examples of 4 draws each, within 4 standard errors.
    found = metrics.distortion(vae, X, num_samples=4)
    assert abs(found - expected) < 4 * np.sqrt(variance)
    assert np.sqrt(variance) < 0.02


def test_two_of_the_three_dimensions_are_active(vae):
    expected = (A**2) * X.astype(np.float64).var(axis=0)
    np.testing.assert_allclose(metrics.activity(vae, X, batch_size=200), expected, rtol=1e-4)
    assert metrics.active_units(vae, X) == 2
    assert metrics.active_units(vae, X, threshold=0.001) == 3


def test_information_is_the_closed_form_of_the_population(vae):
    variance = A**2 + S**2
    expected = 0.5 * np.log(variance / S**2).sum()
    # The log-ratio of a draw and its spread, with the true q(z).
    rng = np.random.default_rng(1)
    x, noise = rng.normal(size=(2, 20_000, 3))
    z = A * x + B + S * noise
    ratio = stats.norm.logpdf(noise) - np.log(S) - stats.norm.logpdf(z, B, np.sqrt(variance))
    standard_error = ratio.sum(1).std() / np.sqrt(N)
    # Seed 0, within 4 standard errors of 1,500 examples; far below the bound of log 1500 = 7.3.
    found = metrics.mutual_information(vae, X)
    assert abs(found - expected) < 4 * standard_error
    assert expected > 20 * standard_error
    marginal = kl_of_normal(B, variance).sum()
    spread = kl_of_normal(A * X + B, S**2).sum(1).std() / np.sqrt(N) + standard_error
    assert abs(metrics.marginal_kl(vae, X) - marginal) < 4 * spread
    assert marginal > 4 * spread


def test_information_of_few_examples_is_that_of_quadrature(monkeypatch):
    # Chunks of two codes, batches of two examples: the sums over both are joined.
    monkeypatch.setattr(information, "_NUMBERS_AT_ONCE", 4000)
    vae = linear_gaussian(1.0, 0.0, 0.8)
    x = np.array([[-1.5], [0.1], [1.0]], "f")

    def mixture(z):
        return stats.norm.pdf(z, x[:, 0], 0.8).mean()

    entropy = integrate.quad(lambda z: -mixture(z) * np.log(mixture(z)), -8, 8)[0]
    expected = entropy - stats.norm(scale=0.8).entropy()
    draws = 20_000
    found = [
        metrics.mutual_information(vae, x, draws, seed=seed, batch_size=2) for seed in range(4)
    ]
    standard_error = np.std(found, ddof=1) / 2
    # Seeds 0 to 3 of 3 x 20,000 draws; 1e-3 holds the error of an error from four values.
    assert abs(np.mean(found) - expected) < 4 * max(standard_error, 1e-3)
    assert 0.2 < expected < np.log(3)


@pytest.mark.parametrize(("scale", "expected"), [(100.0, np.log(40)), (0.0, 0.0)])
def test_information_of_posteriors_apart_and_alike(scale, expected):
    vae = linear_gaussian(scale, 0.0, 1.0)
    x = np.arange(40, dtype="f")[:, None]
    assert metrics.mutual_information(vae, x) == pytest.approx(expected, abs=1e-4)


def test_a_posterior_with_a_full_covariance():
    scale = np.array([[0.5, 0.0], [0.4, 0.3]], "f")
    lower = layers.DistributionLambda(lambda loc: tfd.MultivariateNormalTriL(loc, scale), seed=1)
    vae = vae_of(lower, np.diag([1.2, 0.7]), np.zeros(2))
    x = X[:, :2]
    with pytest.raises(ValueError, match=r"only if those of the posterior.*Received: prior"):
        metrics.kl_per_dimension(vae, x)
    found = metrics.diagnose(vae, x)
    assert found.kl_per_dimension is None
    assert found.active_units == 2
    covariance = scale @ scale.T
    total = covariance + np.diag([1.2, 0.7]) ** 2
    expected = 0.5 * np.log(np.linalg.det(total) / np.linalg.det(covariance))
    # The variance of a log-ratio of normals of D dimensions is below D; 4 standard errors.
    assert abs(found.mutual_information - expected) < 4 * np.sqrt(2 / N)


def test_a_prior_whose_dimensions_depend_has_a_rate_but_no_shares():
    vae = linear_gaussian(prior=priors.GaussianMixture(3, num_components=2))
    found = metrics.diagnose(vae, X[:100], num_samples=8)
    assert found.kl_per_dimension is None
    assert found.rate == metrics.rate(vae, X[:100], num_samples=8)
    assert np.isfinite(list(found.scalars().values())).all()


def test_a_mean_without_a_closed_form_is_of_draws_whose_error_is_taken_off():
    def lognormal(loc):
        return tfd.TransformedDistribution(
            tfd.MultivariateNormalDiag(loc, 0.5 * tf.ones_like(loc)), tfb.Exp()
        )

    vae = vae_of(layers.DistributionLambda(lognormal, seed=1), np.diag([0.5, 0.0]), np.zeros(2))
    x = X[:400, :2]
    mean = np.exp(0.5 * np.float64(x[:, 0]) + 0.125)
    found = metrics.activity(vae, x)
    # 256 draws each: the means' own variance, about 0.0015, is gone to a tenth of itself.
    assert found[1] < 0.0004
    assert found[0] == pytest.approx(mean.var(), rel=0.05)
    assert metrics.active_units(vae, x) == 1


def test_everything_at_once_is_each_alone(vae):
    x = X[:200]
    found = metrics.diagnose(vae, x, num_samples=2, seed=3)
    alone = {
        "rate": metrics.rate(vae, x, 2, 3),
        "distortion": metrics.distortion(vae, x, 2, 3),
        "active_units": metrics.active_units(vae, x),
        "mutual_information": metrics.mutual_information(vae, x, 2, 3),
        "marginal_kl": metrics.marginal_kl(vae, x, 2, 3),
    }
    assert found.scalars() == alone
    np.testing.assert_array_equal(found.kl_per_dimension, metrics.kl_per_dimension(vae, x))
    assert (found.num_examples, len(found.activity)) == (200, 3)


def test_random_states_are_left_as_they_were(vae):
    before = [np.asarray(v) for v in vae.non_trainable_variables]
    assert len(before) >= 1
    metrics.diagnose(vae, X[:100])
    for ours, theirs in zip(before, vae.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    vae.encode(X[:2])
    after = [np.asarray(v) for v in vae.non_trainable_variables]
    assert any((ours != theirs).any() for ours, theirs in zip(before, after, strict=True))


def test_an_autoencoder_has_active_units_and_no_rate():
    ae = Autoencoder(
        keras.Sequential([keras.Input((3,)), dense(np.diag(A), B)]),
        keras.Sequential([keras.Input((3,)), layers.IndependentNormal(3, "mean", scale=1.0)]),
    )
    assert metrics.active_units(ae, X) == 2
    for measure in (metrics.rate, metrics.mutual_information, metrics.kl_per_dimension):
        with pytest.raises(TypeError, match="Received: Autoencoder"):
            measure(ae, X)


def test_data_that_does_not_fit_is_refused(vae):
    with pytest.raises(ValueError, match="must be examples"):
        metrics.rate(vae, X[:, :2])
    with pytest.raises(ValueError, match="needs two examples"):
        metrics.active_units(vae, X[:1])
    with pytest.raises(ValueError, match="`num_samples` must be at least 1"):
        metrics.mutual_information(vae, X, num_samples=0)


def test_streaming_metrics_join_their_batches(vae):
    units = metrics.ActiveUnits(vae.latent_shape)
    dimensions = metrics.KLPerDimension(vae.prior)

    @tf.function(jit_compile=True)
    def update(x):
        q = vae.encode(x)
        units.update_state(q)
        dimensions.update_state(q)

    for _ in range(2):
        for start in range(0, 300, 100):
            update(X[start : start + 100])
        assert float(units.result()) == 2
        np.testing.assert_allclose(units.activity(), metrics.activity(vae, X[:300]), rtol=1e-4)
        expected = metrics.kl_per_dimension(vae, X[:300])
        np.testing.assert_allclose(dimensions.result(), expected, rtol=1e-4)
        units.reset_state()
        dimensions.reset_state()


def test_a_compiled_metric_would_not_see_the_posterior():
    vae = linear_gaussian()
    vae.compile(metrics=[metrics.ActiveUnits(vae.latent_shape)])
    with pytest.raises(TypeError, match=r"LatentDiagnostics\(x\)`. Received: 2 arguments"):
        vae.evaluate(X[:10], verbose=0)


def test_advice_names_what_is_there():
    zeros = np.zeros(4)
    text = metrics.advice(metrics.Diagnostics(0.01, 5.0, 0.0, zeros, zeros, 0.01, 10))
    assert text.startswith("The posterior has collapsed: 0 of 4 latent dimensions vary by more")
    for name in ("schedules.LinearWarmup", "schedules.Cyclical"):
        assert f"tfvae.{name}" in text
    for name in ("FreeBits", "Capacity"):
        assert f"tfvae.regularizers.{name}" in text
    busy = metrics.Diagnostics(3.0, 5.0, 2.0, np.array([0.9, 0.0]), None, 0.01, 10)
    assert metrics.advice(busy) is None
    few = metrics.advice(busy, min_active_units=2)
    assert few.startswith("Few dimensions are active: 1 of 2")
    assert "at least 2 expected" in few
