"""Bayesian regression, against closed forms, scikit-learn and its own promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize
from sklearn.linear_model import BayesianRidge, LogisticRegression

from tfvae.latent import regression
from tfvae.latent.features import Features

WEIGHTS = np.array([0.8, -0.5, 0.0, 0.3])


def plain(degree=1, size=4):
    """Features of codes as they are."""
    return Features(np.zeros(size), 1.0, degree)


def example(count=300, noise=0.4, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(count, 4)) @ rng.normal(size=(4, 4)) + rng.normal(size=4)
    return codes, codes @ WEIGHTS + 1.5 + noise * rng.normal(size=count)


# ---- linear ---------------------------------------------------------------------------------


def test_of_degree_one_it_is_bayesian_ridge():
    codes, labels = example()
    # Its own priors of the hyperparameters switched off: it then maximises the evidence, too.
    ridge = BayesianRidge(
        max_iter=1000, tol=1e-12, alpha_1=0, alpha_2=0, lambda_1=0, lambda_2=0
    ).fit(codes, labels)
    found = regression.linear(plain(), codes, labels)
    # It leaves the intercept out of the number of determined weights, 1 in 300; weights are
    # compared in units of their standard errors.
    error = np.sqrt(np.diag(ridge.sigma_))
    np.testing.assert_array_less(np.abs(found.weights[:4] - ridge.coef_) / error, 0.01)
    np.testing.assert_allclose(found.weights[4], ridge.intercept_, rtol=1e-3)
    np.testing.assert_allclose(found.noise_variance, 1 / ridge.alpha_, rtol=0.005)
    np.testing.assert_allclose(found.covariance[:4, :4], ridge.sigma_, rtol=0.01, atol=1e-6)


def test_the_posterior_in_closed_form():
    codes, labels = example()
    found = regression.linear(plain(), codes, labels)
    rows = np.c_[codes, np.ones(len(codes))]
    # The prior's precision that MacKay's equation asks for, with S the posterior's covariance.
    weights, covariance = found.weights[:4], found.covariance[:4, :4]
    precision = 4 / (weights @ weights + np.trace(covariance))
    prior = np.diag([precision] * 4 + [0.0])
    expected = np.linalg.inv(prior + rows.T @ rows / found.noise_variance)
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-4)
    np.testing.assert_allclose(
        found.weights, expected @ rows.T @ labels / found.noise_variance, rtol=1e-4
    )


def test_the_hyperparameters_maximise_the_evidence():
    codes, labels = example(count=60)
    found = regression.linear(plain(), codes, labels)
    centred, target = codes - codes.mean(axis=0), labels - labels.mean()

    def minus_evidence(logarithms):
        """-log p(labels), with the flat intercept integrated out, up to a constant."""
        precision, noise = np.exp(logarithms)
        covariance = noise * np.eye(60) + centred @ centred.T / precision
        _, determinant = np.linalg.slogdet(covariance)
        return 0.5 * (target @ np.linalg.solve(covariance, target) + determinant - np.log(noise))

    best = optimize.minimize(minus_evidence, [0.0, 0.0], method="Nelder-Mead", tol=1e-9)
    assert found.noise_variance == pytest.approx(np.exp(best.x[1]), rel=1e-3)


def test_the_posterior_of_the_weights_is_calibrated():
    """Over 400 data sets the truth lies in the 90 % interval as often as it should."""
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(400):
        codes, truth = rng.normal(size=(40, 4)), rng.normal(size=4)
        labels = codes @ truth + 0.5 * rng.normal(size=40)
        found = regression.linear(plain(), codes, labels)
        deviation = np.sqrt(np.diag(found.covariance))[:4]
        inside.append(np.abs(found.weights[:4] - truth) < 1.6449 * deviation)
    # 1600 intervals, nearly independent: the standard error is 0.0075. The evidence fixes the
    # noise instead of integrating over it, which costs about 0.006 at 35 degrees of freedom.
    assert np.mean(inside) == pytest.approx(0.895, abs=0.025)


def test_products_are_found_and_superfluous_ones_vanish():
    rng = np.random.default_rng(2)
    codes = rng.normal(size=(500, 3))
    bent = codes[:, 0] + 0.7 * codes[:, 0] * codes[:, 1] + 0.01 * rng.normal(size=500)
    found = regression.linear(plain(2, 3), codes, bent)
    # u1 u2 is the second product: 1, 12, 13, 22, 23, 33.
    np.testing.assert_allclose(found.weights, [1, 0, 0, 0, 0.7, 0, 0, 0, 0, 0], atol=0.003)
    straight = codes[:, 0] + 0.5 * rng.normal(size=500)
    found = regression.linear(plain(2, 3), codes, straight)
    assert np.abs(found.weights[3:9]).max() < 0.06
    assert found.weights[0] == pytest.approx(1.0, abs=0.07)


def test_labels_without_noise_or_without_meaning():
    codes, labels = example(noise=0.0)
    found = regression.linear(plain(), codes, labels)
    np.testing.assert_allclose(found.weights, [*WEIGHTS, 1.5], atol=1e-4)
    assert found.noise_variance < 1e-8 * labels.var()
    noise = np.random.default_rng(3).normal(size=len(codes))
    found = regression.linear(plain(), codes, noise)
    assert np.isfinite(found.weights).all()
    assert found.noise_variance == pytest.approx(noise.var(), rel=0.05)
    assert np.abs(codes @ found.weights[:4]).std() < 0.15


def test_fewer_labels_than_weights():
    codes, labels = example(count=8)
    found = regression.linear(plain(2), codes, labels)
    assert np.isfinite(found.covariance).all()
    assert (np.diag(found.covariance) > 0).all()


# ---- logistic -------------------------------------------------------------------------------


def yes_and_no(count=400, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(count, 4))
    return codes, (rng.random(count) < regression.sigmoid(codes @ WEIGHTS * 3 - 0.5)).astype(float)


def test_the_logistic_mode_is_scikit_learns():
    codes, labels = yes_and_no()
    found = regression.logistic(plain(), codes, labels)
    weights, covariance = found.weights[:4], found.covariance[:4, :4]
    precision = 4 / (weights @ weights + np.trace(covariance))
    theirs = LogisticRegression(C=1 / precision, tol=1e-10, max_iter=1000).fit(codes, labels)
    np.testing.assert_allclose(weights, theirs.coef_[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.weights[4], theirs.intercept_[0], rtol=1e-3)
    assert found.noise_variance == 0


def test_the_logistic_covariance_is_the_inverse_curvature():
    codes, labels = yes_and_no()
    found = regression.logistic(plain(), codes, labels)
    precision = 4 / (found.weights[:4] @ found.weights[:4] + np.trace(found.covariance[:4, :4]))
    rows = np.c_[codes, np.ones(len(codes))]

    def cost(w):
        logits = rows @ w
        likelihood = np.logaddexp(0, logits).sum() - labels @ logits
        return likelihood + 0.5 * precision * w[:4] @ w[:4]

    step, unit = 1e-3, np.eye(5)
    curvature = [
        [
            sum(
                s * t * cost(found.weights + step * (s * unit[i] + t * unit[j]))
                for s in (1, -1)
                for t in (1, -1)
            )
            / (4 * step**2)
            for i in range(5)
        ]
        for j in range(5)
    ]
    np.testing.assert_allclose(found.covariance @ curvature, np.eye(5), atol=2e-3)


def test_the_logistic_posterior_is_calibrated():
    rng = np.random.default_rng(4)
    inside = []
    for _ in range(200):
        codes, truth = rng.normal(size=(600, 4)), rng.normal(size=4)
        labels = (rng.random(600) < regression.sigmoid(codes @ truth)).astype(float)
        found = regression.logistic(plain(), codes, labels)
        deviation = np.sqrt(np.diag(found.covariance))[:4]
        inside.append(np.abs(found.weights[:4] - truth) < 1.6449 * deviation)
    # 800 intervals: the standard error is 0.011, and Laplace's approximation has its own.
    assert np.mean(inside) == pytest.approx(0.89, abs=0.035)


def test_labels_that_can_be_told_apart_do_not_send_the_weights_to_infinity():
    codes = np.linspace(-1, 1, 40)[:, None]
    found = regression.logistic(plain(1, 1), codes, (codes[:, 0] > 0).astype(float))
    assert np.isfinite(found.covariance).all()
    assert 5 < found.weights[0] < 1e4
    assert regression.sigmoid(found.weights[0] * 0.5 + found.weights[1]) > 0.9


def test_the_sigmoid_does_not_overflow():
    with np.errstate(all="raise"):
        found = regression.sigmoid(np.array([-1e4, -1.0, 0.0, 1e4]))
    np.testing.assert_allclose(found, [0, 1 / (1 + np.e), 0.5, 1])
