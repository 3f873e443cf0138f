"""Bayesian regression of labels on features: linear for numbers, logistic for yes and no.

The weights of the features have normal priors of mean zero, those of each degree with a precision
of their own; the intercept has a flat prior. The precisions, and the noise of a linear regression,
are those that maximise the evidence (MacKay's fixed points), so that there is nothing to tune and
no validation set to lose: where products of codes explain nothing, their precision grows until they
are gone.

It is written out here because it is short, because scikit-learn's `BayesianRidge` has one precision
for all weights (with one degree the two agree, which the tests check) and its `LogisticRegression`
no posterior, and because the base install of tfvae does without scikit-learn.

Reference:
    MacKay (1992), Bayesian Interpolation, Neural Computation 4(3), section 4.
    MacKay (1992), The Evidence Framework Applied to Classification Networks, Neural Computation
    4(5).
    Bishop (2006), Pattern Recognition and Machine Learning, sections 3.5 and 4.5.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tfvae.latent.features import Features

_MAX_STEPS, _TOLERANCE = 300, 1e-6
# Relative to the variance of the labels: below it the labels are explained to the last digit.
_NOISE_FLOOR = 1e-10
_LOWEST_PRECISION, _HIGHEST_PRECISION = 1e-8, 1e10


class Posterior(NamedTuple):
    """A normal distribution of the weights.

    Attributes:
        weights: their mean, the intercept last, `[F + 1]`.
        covariance: `[F + 1, F + 1]`.
        noise_variance: of labels about the line; 0 for the logistic regression.
    """

    weights: np.ndarray
    covariance: np.ndarray
    noise_variance: float


def linear(features: Features, codes: np.ndarray, labels: np.ndarray) -> Posterior:
    """Fits numbers: y = w'f(z) + noise.

    Args:
        features: f.
        codes: z, `[N, D]`.
        labels: y, `[N]`.

    Returns:
        The posterior of w at the hyperparameters of highest evidence.
    """
    # All that the evidence needs of the examples.
    size = sum(features.sizes) + 1
    gram, moment = np.zeros((size, size)), np.zeros(size)
    for rows, f in features.chunks(codes):
        gram += f.T @ f
        moment += f.T @ labels[rows]
    square, floor = float(labels @ labels), _NOISE_FLOOR * float(labels.var())

    noise, precisions = float(labels.var()), np.ones(len(features.sizes))
    weights = np.zeros(size)
    for _ in range(_MAX_STEPS):
        before = weights
        covariance = np.linalg.inv(_prior(features, precisions) + gram / noise)
        weights = covariance @ moment / noise
        determined, precisions = _update(features, precisions, weights, covariance)
        residual = max(float(square - 2 * weights @ moment + weights @ gram @ weights), 0.0)
        # The intercept is a weight that the labels always determine.
        noise = max(floor, residual / max(len(labels) - determined - 1, 1.0))
        if _has_converged(weights, before):
            break
    return Posterior(weights, covariance, noise)


def logistic(features: Features, codes: np.ndarray, labels: np.ndarray) -> Posterior:
    """Fits yes and no: P(y = 1) = sigmoid(w'f(z)), with Laplace's approximation of the posterior.

    Args:
        features: f.
        codes: z, `[N, D]`.
        labels: y, zeros and ones, `[N]`.

    Returns:
        The posterior of w at the prior precisions of highest evidence.
    """
    weights = np.zeros(sum(features.sizes) + 1)
    precisions = np.ones(len(features.sizes))
    here = _slopes(features, codes, labels, weights)
    for _ in range(_MAX_STEPS):
        prior = _prior(features, precisions)
        cost = here.cost + 0.5 * weights @ prior @ weights
        covariance = np.linalg.inv(here.curvature + prior)
        # A step of Newton's method, halved while it overshoots: the cost is convex.
        step = covariance @ (here.slope - prior @ weights)
        before, weights = weights, weights + step
        here = _slopes(features, codes, labels, weights)
        while here.cost + 0.5 * weights @ prior @ weights > cost + _TOLERANCE:
            step = 0.5 * step
            weights = before + step
            here = _slopes(features, codes, labels, weights)
        _, precisions = _update(features, precisions, weights, covariance)
        if _has_converged(weights, before):
            break
    return Posterior(weights, covariance, 0.0)


class _Slopes(NamedTuple):
    """-log P(labels | weights), minus its gradient, and its second derivative."""

    cost: float
    slope: np.ndarray
    curvature: np.ndarray


def _slopes(
    features: Features, codes: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> _Slopes:
    cost, slope, curvature = 0.0, np.zeros(len(weights)), np.zeros((len(weights),) * 2)
    for rows, f in features.chunks(codes):
        logits = f @ weights
        p = sigmoid(logits)
        cost += float(np.sum(np.logaddexp(0.0, logits) - labels[rows] * logits))
        slope += f.T @ (labels[rows] - p)
        curvature += (f.T * (p * (1 - p))) @ f
    return _Slopes(cost, slope, curvature)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * logits))


def _prior(features: Features, precisions: np.ndarray) -> np.ndarray:
    """The prior's precision matrix; flat for the intercept."""
    return np.diag(np.append(np.repeat(precisions, features.sizes), 0.0))


def _update(
    features: Features, precisions: np.ndarray, weights: np.ndarray, covariance: np.ndarray
) -> tuple[float, np.ndarray]:
    """How many weights the labels determine, and the precisions of highest evidence for them.

    MacKay's fixed point, for each degree: precision = determined / sum w^2, where determined is the
    number of its weights less precision * trace of their covariance.
    """
    ends = np.cumsum(features.sizes)
    variances = np.split(np.diag(covariance)[:-1], ends[:-1])
    squares = np.split(weights[:-1] ** 2, ends[:-1])
    determined = np.array(
        [len(v) - a * v.sum() for a, v in zip(precisions, variances, strict=True)]
    )
    tiny = np.finfo(np.float64).tiny
    updated = determined / np.maximum([s.sum() for s in squares], tiny)
    return float(determined.sum()), np.clip(updated, _LOWEST_PRECISION, _HIGHEST_PRECISION)


def _has_converged(weights: np.ndarray, before: np.ndarray) -> bool:
    return bool(np.linalg.norm(weights - before) <= _TOLERANCE * np.linalg.norm(weights))
