"""Polynomials of codes, against their definition and finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from tfvae.latent.features import Features

RNG = np.random.default_rng(0)
MEAN, SCALE = RNG.normal(size=3), 1.7
CODES = RNG.normal(size=(5, 3))


def test_the_features_are_the_monomials():
    u = (CODES - MEAN) / SCALE
    linear = Features(MEAN, SCALE, 1)
    np.testing.assert_allclose(linear.expand(CODES), np.c_[u, np.ones(5)])
    quadratic = Features(MEAN, SCALE, 2)
    products = [u[:, i] * u[:, j] for i in range(3) for j in range(i, 3)]
    np.testing.assert_allclose(quadratic.expand(CODES), np.c_[u, np.stack(products, 1), np.ones(5)])
    assert (linear.sizes, quadratic.sizes) == ((3,), (3, 6))


@pytest.mark.parametrize("degree", [1, 2])
def test_the_polynomial_is_the_weighted_sum(degree):
    features = Features(MEAN, SCALE, degree)
    weights = RNG.normal(size=sum(features.sizes) + 1)
    intercept, gradient, curvature = features.polynomial(weights)
    z = CODES - MEAN
    value = intercept + z @ gradient + 0.5 * np.einsum("ni,ij,nj->n", z, curvature, z)
    np.testing.assert_allclose(value, features.expand(CODES) @ weights)
    np.testing.assert_array_equal(curvature, curvature.T)


def test_chunks_cover_all_rows():
    features = Features(MEAN, SCALE, 2)
    codes = RNG.normal(size=(10_000, 3))
    parts = list(features.chunks(codes))
    assert len(parts) == 3
    np.testing.assert_array_equal(np.concatenate([f for _, f in parts]), features.expand(codes))
    np.testing.assert_array_equal(np.concatenate([codes[rows] for rows, _ in parts]), codes)
