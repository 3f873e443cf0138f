"""Objectives against closed forms of their mean: the gap below log p(x), and the gradient.

The model and the posterior q = N(loc, scale^2) are those of `test_objectives.py`. With p = p(z|x),
every moment of a weight is an integral of normals,

    M(t) = E_q[(p / q)^t] = exp((t - 1) D_t(p || q)),

and K draws of a weight y of relative variance v and third central moment m have the mean

    E log (1/K) sum_k y_k = log E[y] - v / 2K + (m / 3 - 3 v^2 / 4) / K^2 + O(1 / K^3).

Its derivatives by the parameters are the gradients' means; they are taken of the formula.

Reference: Maddison et al. (2017), Filtering Variational Objectives, arXiv:1705.09279, for the first
term of the gap.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from test_objectives import CASES, LOC, POSTERIOR_VARIANCE, SCALE, SIGMA, THETA, W, X, run

from tfvae.objectives import IWAE, DReG, Renyi

DRAWS, REPLICAS = 16, 40_000
PARAMETERS = ("theta", "loc", "scale")
HERE = {"theta": THETA, "loc": LOC, "scale": SCALE}


def log_px(theta):
    return stats.norm.logpdf(X, theta, math.hypot(W, SIGMA))


def distance(theta, loc):
    """From the mean of q to that of p(z|x)."""
    return POSTERIOR_VARIANCE * W * (X - theta) / SIGMA**2 - loc


def log_moment(t, theta, loc, scale):
    """log E_q[(p / q)^t]."""
    mixed = t * scale**2 + (1 - t) * POSTERIOR_VARIANCE
    log_scales = 0.5 * t * math.log(POSTERIOR_VARIANCE) + (1 - t) * math.log(scale)
    log_mixed = 0.5 * math.log(mixed / (POSTERIOR_VARIANCE * scale**2))
    return -log_scales - log_mixed - 0.5 * t * (1 - t) * distance(theta, loc) ** 2 / mixed


def elbo(theta, loc, scale):
    """log p(x) - KL(q || p)."""
    ratio = scale**2 / POSTERIOR_VARIANCE
    moved = distance(theta, loc) ** 2 / POSTERIOR_VARIANCE
    return log_px(theta) - 0.5 * (ratio + moved - 1 - math.log(ratio))


def weighted(t, draws):
    """The mean of (1/t) log (1/K) sum_k w_k^t."""

    def mean(theta, loc, scale):
        first = log_moment(t, theta, loc, scale)
        second, third = (math.exp(log_moment(j * t, theta, loc, scale) - j * first) for j in (2, 3))
        variance, skew = second - 1, third - 3 * second + 2
        gap = -variance / (2 * draws) + (skew / 3 - 0.75 * variance**2) / draws**2
        return log_px(theta) + (first + gap) / t

    return mean


def between(theta, loc, scale):
    return 0.3 * elbo(theta, loc, scale) + 0.7 * weighted(1, DRAWS)(theta, loc, scale)


# The mean of each bound, and of what its posterior maximises.
MEANS = {
    "elbo": (elbo, elbo),
    "sticking the landing": (elbo, elbo),
    "iwae": (weighted(1, DRAWS), weighted(1, DRAWS)),
    "dreg": (weighted(1, DRAWS), weighted(1, DRAWS)),
    "miwae": (weighted(1, DRAWS // 2), weighted(1, DRAWS // 2)),
    "piwae": (weighted(1, DRAWS), weighted(1, DRAWS // 2)),
    "ciwae": (between, between),
    "renyi 0.5": (weighted(0.5, DRAWS), weighted(0.5, DRAWS)),
    "renyi -2": (weighted(3, DRAWS), weighted(3, DRAWS)),
}


def derivative(mean, name, step=1e-4):
    up, down = (mean(**{**HERE, name: HERE[name] + h}) for h in (step, -step))
    return (up - down) / (2 * step)


def test_every_objective_has_a_closed_form_here_but_the_largest_weight():
    assert set(CASES) - set(MEANS) == {"largest weight"}


@pytest.mark.parametrize("name", MEANS)
def test_bounds_and_gradients_have_the_means_of_the_closed_forms(name):
    make, (for_model, for_posterior) = CASES[name][0], MEANS[name]
    (value, *gradients), _ = run(make(), DRAWS, REPLICAS, seed=11)
    # Seed 11, 40,000 replicas: four standard errors. The formulas leave out less than 1e-4.
    error = value.std(ddof=1) / math.sqrt(REPLICAS)
    assert abs(value.mean() - for_model(**HERE)) < 4 * error + 1e-4
    gap = abs(log_px(THETA) - for_model(**HERE))
    assert gap > 4 * error + 1e-4
    for parameter, found in zip(PARAMETERS, gradients, strict=True):
        expected = derivative(for_model if parameter == "theta" else for_posterior, parameter)
        error = found.std(ddof=1) / math.sqrt(REPLICAS)
        assert abs(found.mean() - expected) < 4 * error + 1e-3, parameter


def test_the_largest_weight_approaches_the_largest_density_ratio():
    # log w is largest where the slopes of log p and log q are the same.
    z = np.linspace(-3, 5, 100_001)
    deviation = math.sqrt(POSTERIOR_VARIANCE)
    log_p = stats.norm.logpdf(z, LOC + distance(THETA, LOC), deviation)
    supremum = log_px(THETA) + (log_p - stats.norm.logpdf(z, LOC, SCALE)).max()
    (value, *_), _ = run(Renyi(-math.inf), 256, 1000)
    assert value.max() < supremum + 1e-4
    assert supremum - value.mean() < 1e-3
    assert supremum > log_px(THETA) + 0.1


def signals(objective, draws):
    """Mean over deviation of the gradients by theta and by loc."""
    (_, by_theta, by_loc, _), _ = run(objective, draws, 10_000, seed=draws)
    return np.array([abs(g.mean()) / g.std() for g in (by_theta, by_loc)])


def test_signals_follow_the_square_root_of_the_draws():
    # Rainforth et al. (2018), arXiv:1802.04537, theorem 1, and Tucker et al. (2019),
    # arXiv:1810.04152: sqrt(K) for the model and for DReG's posterior, 1 / sqrt(K) for IWAE's.
    # Seeds 4 and 64, 10,000 replicas: a ratio r of 4 is known to 4 sqrt(2 (1 + r^2 / 2) / 10,000)
    # / r, which is below 0.06 where r > 1.
    dreg = signals(DReG(), 64) / signals(DReG(), 4)
    np.testing.assert_allclose(dreg, [4.0, 4.0], rtol=0.1)
    # Of IWAE r is 0.14 and 0.035: the ratio is known to 0.01 / 0.035 of itself.
    iwae = signals(IWAE(), 64) / signals(IWAE(), 4)
    np.testing.assert_allclose(iwae[0], 4.0, rtol=0.1)
    assert 0.25 - 3 * 0.25 * 0.3 < iwae[1] < 0.25 + 3 * 0.25 * 0.3
