"""Layers of vectors: full and low-rank covariances, and directions."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats
from tensorflow_probability import distributions as tfd

from tfvae import layers
from tfvae.divergences import kl_divergence

RNG = np.random.default_rng(11)
B, D, RANK = 3, 4, 2
LOC = RNG.normal(size=(B, D))
RAW = RNG.normal(size=(B, D))
FACTOR = RNG.normal(size=(B, D, RANK))
SCALE = 1e-5 + np.logaddexp(0.0, RAW)
X = RNG.normal(size=(B, D))


def low_rank_parameters():
    return np.concatenate([LOC, RAW, FACTOR.reshape(B, -1)], axis=1).astype("f")


def low_rank_covariance():
    w = 10 * np.tanh(FACTOR / 10)
    return SCALE[:, :, None] * (np.eye(D) + w @ w.transpose(0, 2, 1)) * SCALE[:, None]


def numpy_kl(loc, covariance, prior_loc, prior_scale):
    """KL(N(loc, covariance) || N(prior_loc, diag(prior_scale^2)))."""
    trace = (np.diagonal(covariance, axis1=1, axis2=2) / prior_scale**2).sum(-1)
    distance = np.square((loc - prior_loc) / prior_scale).sum(-1)
    log_determinants = 2 * np.log(prior_scale).sum() - np.linalg.slogdet(covariance)[1]
    return 0.5 * (trace + distance - D + log_determinants)


def test_low_rank_density_and_moments():
    p = layers.MultivariateNormalLowRank(D, RANK)(low_rank_parameters())
    covariance = low_rank_covariance()
    expected = [
        stats.multivariate_normal(m, c).logpdf(x)
        for m, c, x in zip(LOC, covariance, X, strict=True)
    ]
    np.testing.assert_allclose(p.log_prob(np.float32(X)), expected, rtol=1e-5)
    np.testing.assert_allclose(p.mean(), LOC, rtol=1e-6)
    np.testing.assert_allclose(p.covariance(), covariance, rtol=1e-5, atol=1e-6)
    assert layers.MultivariateNormalLowRank.params_size(D, RANK) == D * (2 + RANK)


def test_low_rank_divergence_has_a_closed_form():
    q = layers.MultivariateNormalLowRank(D, RANK)(low_rank_parameters())
    prior_loc, prior_scale = RNG.normal(size=D), np.exp(RNG.normal(size=D))
    prior = tfd.MultivariateNormalDiag(np.float32(prior_loc), np.float32(prior_scale))
    expected = numpy_kl(LOC, low_rank_covariance(), prior_loc, prior_scale)
    np.testing.assert_allclose(kl_divergence(q, prior, exact=True), expected, rtol=1e-5)


def test_low_rank_draws():
    p = layers.MultivariateNormalLowRank(D, RANK)(low_rank_parameters())
    draws = p.sample(20_000, seed=(1, 2)).numpy()
    for b, covariance in enumerate(low_rank_covariance()):
        variances = np.diag(covariance)
        # The variance of a product of two normals is at most 2 of the product of their variances.
        error = 5 * np.sqrt(2 * np.outer(variances, variances) / 20_000)
        np.testing.assert_array_less(np.abs(np.cov(draws[:, b].T) - covariance), error)


def test_full_covariance():
    params = RNG.normal(size=(B, 14)).astype("f")
    p = layers.MultivariateNormalTriL(D)(params)
    assert isinstance(p, tfd.MultivariateNormalTriL)
    expected = [
        stats.multivariate_normal(m, c).logpdf(x)
        for m, c, x in zip(params[:, :D], p.covariance().numpy(), X, strict=True)
    ]
    np.testing.assert_allclose(p.log_prob(np.float32(X)), expected, rtol=2e-4)


# ---- directions ---------------------------------------------------------------------------------


def sphere_density(kappa, dimension):
    """Davidson et al. (2018), equation 2: the logarithm of the normaliser."""
    order = dimension / 2 - 1
    bessel = np.log(special.ive(order, kappa)) + kappa
    return order * np.log(kappa) - dimension / 2 * np.log(2 * np.pi) - bessel


@pytest.mark.parametrize("dimension", [2, 3, 10])
def test_directions(dimension):
    params = RNG.normal(size=(B, dimension + 1)).astype("f")
    p = layers.VonMisesFisher(dimension)(params)
    direction = params[:, :-1] + 1e-3 * np.eye(dimension)[0]
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    kappa = p.concentration.numpy()
    x = RNG.normal(size=(B, dimension))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    expected = sphere_density(kappa, dimension) + kappa * (direction * x).sum(1)
    np.testing.assert_allclose(p.log_prob(np.float32(x)), expected, rtol=1e-4)
    np.testing.assert_allclose(p.mode(), direction, atol=1e-6)
    assert isinstance(p, tfd.VonMisesFisher)


def test_density_on_the_circle_integrates_to_one():
    p = layers.VonMisesFisher(2)(RNG.normal(size=(B, 3)).astype("f"))
    angles = np.linspace(-np.pi, np.pi, 2001)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype("f")
    total = np.trapezoid(p.prob(circle[:, None]), angles, axis=0)
    np.testing.assert_allclose(total, 1.0, rtol=1e-5)


def test_directions_are_checked():
    layer = layers.VonMisesFisher(3, validate_args=True)
    assert layer.support == (-1.0, 1.0)
    p = layer(tf.zeros([1, 4]))
    assert np.isfinite(p.log_prob([[0.0, 0.6, 0.8]]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="unit length"):
        p.log_prob([[0.0, 1.0, 1.0]])


def test_uniform_prior_in_the_loss():
    from tfvae.layers import KLDivergenceRegularizer

    regularizer = KLDivergenceRegularizer(lambda: tfd.SphericalUniform(3), exact=True)
    layer = layers.VonMisesFisher(3, activity_regularizer=regularizer)
    q = layer(RNG.normal(size=(B, 4)).astype("f"))
    kappa = q.concentration.numpy()
    # E[log q] of the sphere in three dimensions, plus the logarithm of its area.
    mean_cosine = 1 / np.tanh(kappa) - 1 / kappa
    expected = sphere_density(kappa, 3) + kappa * mean_cosine + np.log(4 * np.pi)
    np.testing.assert_allclose(layer.losses[0], expected.mean(), rtol=1e-4)


# ---- of them all --------------------------------------------------------------------------------

FAMILIES = {
    "MultivariateNormalTriL": (lambda **o: layers.MultivariateNormalTriL(D, **o), 14),
    "MultivariateNormalLowRank": (lambda **o: layers.MultivariateNormalLowRank(D, RANK, **o), 16),
    "VonMisesFisher": (lambda **o: layers.VonMisesFisher(D, **o), 5),
}


@pytest.mark.parametrize("extreme", [-1e4, 0.0, 1e4])
@pytest.mark.parametrize("name", ["MultivariateNormalLowRank", "VonMisesFisher"])
def test_extreme_parameters_leave_finite_gradients(name, extreme):
    make, size = FAMILIES[name]
    params = tf.fill([1, size], extreme)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(params)
        p = make()(params)
        log_prob = p.log_prob(0.5 * tf.ones([1, D]))
        draw = tf.reduce_sum(p.sample(seed=(1, 2)) ** 3)
    assert np.isfinite(log_prob).all()
    assert np.isfinite(tape.gradient(log_prob, params)).all()
    assert np.isfinite(tape.gradient(draw, params)).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_is_saved_and_loaded(name, tmp_path):
    make, size = FAMILIES[name]
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(size), make()])
    inputs = RNG.normal(size=(B, 3)).astype("f")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    p, q = loaded(inputs), model(inputs)
    np.testing.assert_array_equal(p, q)
    np.testing.assert_allclose(p.log_prob(np.float32(X)), q.log_prob(np.float32(X)), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.VonMisesFisher(1), "`event_size` .* at least 2. Received: 1"),
        (lambda: layers.MultivariateNormalLowRank(4, 0), "`rank` .* Received: 0"),
        (lambda: layers.MultivariateNormalTriL(2.5), "`event_size` .* Received: 2.5"),
        (lambda: layers.MultivariateNormalTriL(2)(tf.zeros([3, 4])), "size 5.* Received"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
