"""Readings: their moments and intervals, against TFP and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, special, stats
from tensorflow_probability import distributions as tfd

from tfvae.latent import Reading

LOC, SCALE = np.array([-2.0, 0.3, 4.0]), np.array([0.5, 1.5, 3.0])


def reading(binary):
    parts = (0.5 * SCALE**2, 0.3 * SCALE**2, 0.2 * SCALE**2)
    return Reading(LOC, *parts, binary)


def test_a_number_is_normal():
    found = reading(binary=False)
    np.testing.assert_allclose(found.scale, SCALE)
    np.testing.assert_array_equal(found.mean, LOC)
    np.testing.assert_allclose(found.stddev, SCALE)
    assert isinstance(found.distribution, tfd.Normal)
    for level in (0.5, 0.9, 0.99):
        np.testing.assert_allclose(found.interval(level), stats.norm(LOC, SCALE).interval(level))


def test_a_yes_has_a_probability_that_is_uncertain():
    found = reading(binary=True)
    for i, (loc, scale) in enumerate(zip(LOC, SCALE, strict=True)):
        first, second = (
            integrate.quad(
                lambda x, power=power, at=(loc, scale): (
                    special.expit(x) ** power * stats.norm.pdf(x, *at)
                ),
                loc - 12 * scale,
                loc + 12 * scale,
                points=[0.0, loc],
            )[0]
            for power in (1, 2)
        )
        assert found.mean[i] == pytest.approx(first, abs=1e-5)
        assert found.stddev[i] == pytest.approx(np.sqrt(second - first**2), abs=1e-5)
    assert isinstance(found.distribution, tfd.LogitNormal)
    low, high = found.interval(0.8)
    np.testing.assert_allclose(found.distribution.quantile(0.1), low, rtol=1e-5)
    np.testing.assert_allclose(found.distribution.quantile(0.9), high, rtol=1e-5)


def test_one_of_several():
    one = reading(binary=True).of(1)
    assert np.shape(one.mean) == ()
    assert one.mean == reading(binary=True).mean[1]


@pytest.mark.parametrize("level", [0.0, 1.0, 90, -0.5])
def test_a_level_is_a_probability(level):
    with pytest.raises(ValueError, match=r"`level` must lie in \(0, 1\).*Received"):
        reading(binary=False).interval(level)
