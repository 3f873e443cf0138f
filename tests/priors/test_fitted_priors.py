"""The priors that are fitted after a training: `Affine` and `SecondStage`, against closed forms."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow_probability as tfp
from scipy import stats

from tfvae import layers, priors, random

SHIFT, SCALE = np.array([[1.0, -2.0, 30.0], [0.0, 0.5, 4.0]]), np.array([[0.1, 2, 9], [1, 3, 0.5]])


def test_a_moved_and_scaled_prior_has_the_density_of_the_change_of_variables():
    base = priors.NormalizingFlow(6, num_layers=2, hidden_units=(4,))
    prior = priors.Affine(base, (2, 3), SHIFT, SCALE)
    z = np.random.default_rng(0).normal(SHIFT, SCALE, size=(4, 5, 2, 3)).astype("f")
    u = ((z - SHIFT) / SCALE).reshape(4, 5, 6).astype("f")
    expected = base().log_prob(u) - np.log(SCALE).sum()
    np.testing.assert_allclose(prior().log_prob(z), expected, rtol=1e-4)
    assert prior().event_shape == (2, 3)
    assert prior().batch_shape == ()


def test_a_moved_and_scaled_prior_draws_what_its_base_draws():
    base = priors.GaussianMixture(6, num_components=2)
    prior, seeds = priors.Affine(base, (2, 3), SHIFT, SCALE), random.seeds(0, 4)
    expected = SHIFT + SCALE * np.reshape(base.draw(seeds), (4, 2, 3))
    np.testing.assert_allclose(prior.draw(seeds), expected, rtol=1e-5, atol=1e-6)
    assert prior.trainable_weights == base.trainable_weights
    assert len(prior.weights) == len(base.weights) + 2


def test_a_moved_and_scaled_vamp_prior_is_attached():
    prior = priors.Affine(priors.VampPrior(2, pseudo_inputs=3), shift=[1.0, 2.0])
    encode = [keras.Input((4,)), keras.layers.Dense(4), layers.MultivariateNormalDiag(2, "mean")]
    prior.attach(keras.Sequential(encode), (4,))
    assert prior.draw(random.seeds(0, 5)).shape == (5, 2)


# ---- a second stage whose density is known ----------------------------------------------------

W, B, SIGMA = np.array([[1.5, -0.4], [0.2, 0.9], [0.0, 1.0]]), np.array([1.0, 0.0, -2.0]), 0.6
COVARIANCE = W @ W.T + SIGMA**2 * np.eye(3)
POSTERIOR = SIGMA**2 * np.linalg.inv(W.T @ W + SIGMA**2 * np.eye(2))


def constant(values):
    return lambda *args, **kwargs: keras.ops.convert_to_tensor(values, "float32")


def dense(kernel, bias):
    return keras.layers.Dense(
        len(bias), kernel_initializer=constant(kernel), bias_initializer=constant(bias)
    )


def second_stage(spread=1.0, num_samples=5):
    """Probabilistic PCA: z = W u + B + noise, with the posterior p(u|z), or a wider one."""
    to_u = POSTERIOR @ W.T / SIGMA**2
    factor = spread * np.linalg.cholesky(POSTERIOR)
    raw = factor.copy()
    raw[np.diag_indices(2)] = np.log(np.expm1(np.diag(factor) - 1e-5))
    kernel = np.concatenate([to_u, np.zeros((3, 3))]).T
    bias = np.concatenate([-to_u @ B, tfp.math.fill_triangular_inverse(raw)])
    layer = layers.MultivariateNormalTriL(2, "mean")
    encoder = keras.Sequential([keras.Input((3,)), dense(kernel, bias), layer])
    likelihood = layers.IndependentNormal(3, "mean", scale=SIGMA)
    decoder = keras.Sequential([keras.Input((2,)), dense(W.T, B), likelihood])
    return priors.SecondStage(3, encoder, decoder, num_samples)


def test_with_the_exact_posterior_the_density_of_a_second_stage_is_the_closed_form():
    z = np.random.default_rng(0).normal(B, 2.0, size=(4, 5, 3)).astype("f")
    expected = stats.multivariate_normal(B, COVARIANCE).logpdf(z)
    found = second_stage()().log_prob(z)
    # Every importance weight is p(z): no noise but rounding.
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_with_a_wider_posterior_the_density_is_estimated_and_repeats():
    z = np.random.default_rng(0).normal(B, 1.0, size=(200, 3)).astype("f")
    expected = stats.multivariate_normal(B, COVARIANCE).logpdf(z)
    prior = second_stage(spread=1.5, num_samples=4000)
    found = np.float64(prior().log_prob(z))
    np.testing.assert_array_equal(found, prior().log_prob(z))
    # A function of the code: what stands beside it does not matter.
    np.testing.assert_allclose(prior().log_prob(z[3:5]), found[3:5], rtol=1e-5)
    error = found - expected
    # The relative variance of a weight is 1.5^2 / sqrt(2 * 1.5^2 - 1) for each of two dimensions,
    # less 1: 0.446. Five standard errors of the mean of 4,000 weights.
    assert abs(error.mean()) < 5 * np.sqrt(0.446 / 4000)
    # The weights depend on the noise alone, which all codes share.
    assert abs(error.mean()) > 1e-4
    assert error.std() < 1e-3


@pytest.mark.parametrize("how", ["draw", "sample"])
def test_draws_of_a_second_stage_have_its_moments(how):
    prior, n = second_stage(), 20_000
    z = prior.draw(random.seeds(1, n)) if how == "draw" else prior().sample(n, seed=1)
    z = np.float64(z)
    variance = np.diag(COVARIANCE)
    # Seed 1, five standard errors.
    assert np.all(np.abs(z.mean(0) - B) < 5 * np.sqrt(variance / n))
    products = np.outer(variance, variance) + COVARIANCE**2
    assert np.all(np.abs(np.cov(z.T) - COVARIANCE) < 5 * np.sqrt(products / n))


def test_a_second_stage_is_not_trained_unless_told_so():
    prior = second_stage()
    assert prior.trainable_weights == []
    prior.trainable = True
    assert len(prior.trainable_weights) == 4


def flat():
    return priors.StandardNormal(6)


WRONG = {
    "no base": (lambda: priors.Affine(3), TypeError, "`base` must be a layer"),
    "another size": (
        lambda: priors.Affine(flat(), (2, 4)),
        ValueError,
        "as many elements as one of `base`",
    ),
    "a shift of another shape": (
        lambda: priors.Affine(flat(), shift=[1.0]),
        ValueError,
        "`shift` must be finite numbers of shape",
    ),
    "a scale of zero": (
        lambda: priors.Affine(flat(), scale=np.zeros(6)),
        ValueError,
        "`scale` must be positive",
    ),
    "no samples": (
        lambda: second_stage(num_samples=0),
        ValueError,
        "`num_samples` must be an integer",
    ),
    "codes that are matrices": (
        lambda: priors.SecondStage((3, 1), None, None),
        ValueError,
        "The codes of a second stage are vectors",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_refuses(name):
    make, error, message = WRONG[name]
    with pytest.raises(error, match=rf"{message}.*Received"):
        make()
