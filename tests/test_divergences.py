"""Divergences against the formula in NumPy, and Monte Carlo against the closed form."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions import as_tensor_like
from tfvae.divergences import check_exact, kl_divergence, per_example

RNG = np.random.default_rng(0)
# S, B and D differ from each other, so that no broadcast can hide a wrong axis.
S, B, D = 5, 4, 3
LOC = RNG.normal(size=(B, D)).astype("f")
SCALE = np.exp(RNG.normal(scale=0.5, size=(B, D))).astype("f")
PRIOR_LOC = RNG.normal(size=D).astype("f")
PRIOR_SCALE = np.float32([0.5, 1.0, 2.0])


def numpy_kl(loc, scale, prior_loc, prior_scale):
    """Sum over the last axis of KL(N(loc, scale) || N(prior_loc, prior_scale)), in float64."""
    loc, scale, prior_loc, prior_scale = map(np.float64, (loc, scale, prior_loc, prior_scale))
    ratio = (scale / prior_scale) ** 2
    return 0.5 * (ratio + ((loc - prior_loc) / prior_scale) ** 2 - 1 - np.log(ratio)).sum(-1)


EXPECTED = numpy_kl(LOC, SCALE, PRIOR_LOC, PRIOR_SCALE)


@pytest.fixture
def q():
    return tfd.MultivariateNormalDiag(LOC, SCALE)


@pytest.fixture
def prior():
    return tfd.MultivariateNormalDiag(PRIOR_LOC, PRIOR_SCALE)


def with_draws(q, z):
    return as_tensor_like(q, z, is_draw=True)


class NoClosedForm(tfd.MultivariateNormalDiag):
    """A normal whose closed form is hidden behind a registration that refuses."""


@tfd.RegisterKL(NoClosedForm, tfd.MultivariateNormalDiag)
def _refuse(q, p, name=None):
    raise NotImplementedError


@pytest.mark.parametrize("exact", ["auto", True])
def test_closed_form_equals_the_formula(q, prior, exact):
    kl = kl_divergence(q, prior, exact=exact)
    assert kl.shape == (B,)
    np.testing.assert_allclose(kl, EXPECTED, rtol=2e-6)


def test_closed_form_ignores_the_draws(q, prior):
    draws = with_draws(q, np.zeros((S, B, D), "f"))
    np.testing.assert_array_equal(kl_divergence(draws, prior), kl_divergence(q, prior))


def test_further_batch_dimensions_are_added(prior):
    loc, scale = np.stack([LOC, 2 * LOC], 1), np.stack([SCALE, SCALE], 1)
    kl = kl_divergence(tfd.MultivariateNormalDiag(loc, scale), prior)
    expected = EXPECTED + numpy_kl(2 * LOC, SCALE, PRIOR_LOC, PRIOR_SCALE)
    np.testing.assert_allclose(kl, expected, rtol=2e-6)


def test_a_draw_that_the_distribution_carries_is_used(q, prior):
    z = RNG.normal(size=(B, D)).astype("f")
    kl = kl_divergence(with_draws(q, z), prior, exact=False)
    np.testing.assert_allclose(kl, q.log_prob(z) - prior.log_prob(z), rtol=1e-6)


def test_several_draws_that_the_distribution_carries_are_averaged(q, prior):
    z = RNG.normal(size=(S, B, D)).astype("f")
    kl = kl_divergence(with_draws(q, z), prior, exact=False)
    expected = np.mean(q.log_prob(z) - prior.log_prob(z), axis=0)
    assert kl.shape == (B,)
    np.testing.assert_allclose(kl, expected, rtol=1e-5)


def test_a_value_that_is_no_draw_is_not_used(q, prior):
    mean = as_tensor_like(q, LOC, is_draw=False)
    kl = kl_divergence(mean, prior, exact=False, seed=(1, 2))
    at_mean = q.log_prob(LOC) - prior.log_prob(LOC)
    assert np.all(kl.numpy() != at_mean.numpy())
    np.testing.assert_array_equal(kl, kl_divergence(q, prior, exact=False, seed=(1, 2)))


def test_monte_carlo_is_unbiased_within_its_standard_error(q, prior):
    num_samples = 20_000
    z = q.sample(num_samples, seed=(3, 4))
    log_ratio = (q.log_prob(z) - prior.log_prob(z)).numpy()
    standard_error = log_ratio.std(axis=0, ddof=1) / np.sqrt(num_samples)
    kl = kl_divergence(q, prior, exact=False, num_samples=num_samples, seed=(3, 4))
    # Seed (3, 4), 20,000 draws, four standard errors for each of four examples.
    assert np.all(np.abs(kl - EXPECTED) < 4 * standard_error)
    assert np.all(standard_error < 0.05 * EXPECTED)


def test_more_draws_are_taken_although_one_is_carried(q, prior):
    carried = with_draws(q, np.full((B, D), 100.0, "f"))
    kl = kl_divergence(carried, prior, exact=False, num_samples=50, seed=(5, 6))
    expected = kl_divergence(q, prior, exact=False, num_samples=50, seed=(5, 6))
    np.testing.assert_array_equal(kl, expected)


def test_auto_falls_back_to_monte_carlo_without_a_closed_form(prior):
    hidden = with_draws(NoClosedForm(LOC, SCALE), RNG.normal(size=(S, B, D)).astype("f"))
    expected = kl_divergence(hidden, prior, exact=False)
    np.testing.assert_array_equal(kl_divergence(hidden, prior, exact="auto"), expected)


def test_exact_refuses_without_a_closed_form(prior):
    with pytest.raises(NotImplementedError, match=r"NoClosedForm and .*Received: exact=True"):
        kl_divergence(NoClosedForm(LOC, SCALE), prior, exact=True)


def test_gradient_is_zero_and_not_nan_where_posterior_and_prior_agree():
    loc, scale = tf.zeros((B, D)), tf.ones((B, D))
    prior = tfd.MultivariateNormalDiag(tf.zeros(D), tf.ones(D))
    with tf.GradientTape() as tape:
        tape.watch([loc, scale])
        kl = kl_divergence(tfd.MultivariateNormalDiag(loc, scale), prior)
    np.testing.assert_array_equal(kl, np.zeros(B))
    for gradient in tape.gradient(kl, [loc, scale]):
        np.testing.assert_allclose(gradient, np.zeros((B, D)), atol=1e-7)


def test_refuses_a_posterior_without_a_batch(prior):
    q = tfd.MultivariateNormalDiag(PRIOR_LOC, PRIOR_SCALE)
    with pytest.raises(ValueError, match=r"no batch dimension.*Received: values of shape \(\)"):
        kl_divergence(q, prior)


def test_per_example_averages_draws_and_adds_the_rest():
    values = tf.constant(np.arange(S * B * 2, dtype=np.float32).reshape(S, B, 2))
    np.testing.assert_allclose(
        per_example(values, reduce_draws=True), values.numpy().mean(0).sum(-1)
    )
    np.testing.assert_allclose(per_example(values), values.numpy().sum((1, 2)))


@pytest.mark.parametrize("wrong", ["yes", None, 1, 0.5], ids=repr)
def test_refuses_another_choice_of_exact(wrong):
    with pytest.raises(ValueError, match=r"`exact` must be True, False or 'auto'. Received"):
        check_exact(wrong)
