"""What a page is told of attributes is what `tfvae.latent` knows."""

import re

import numpy as np
import pytest

from tfvae.explorer import attributes
from tfvae.latent import Attribute
from tfvae.latent.codes import Codes


@pytest.fixture
def codes():
    draws = np.random.default_rng(0)
    mean = draws.normal(size=(500, 4))
    return Codes(mean, np.full((500, 4), 0.01))


def unpack(scales, content):
    """The factor, as attributes.js reads it."""
    size, at = len(scales), 0
    whole = np.frombuffer(content, "<i2")
    factor = np.zeros((size, size))
    for column, scale in enumerate(scales):
        factor[column:, column] = scale * whole[at : at + size - column]
        at += size - column
    assert at == len(whole)
    return factor


@pytest.mark.parametrize("rank", [6, 3])
def test_a_packed_factor_gives_the_covariance_back(rank):
    root = np.random.default_rng(1).normal(size=(6, rank))
    covariance = root @ root.T
    factor = unpack(*attributes._pack_factor(covariance))
    f = np.random.default_rng(2).normal(size=(100, 6))
    expected = np.einsum("ni,ij,nj->n", f, covariance, f)
    np.testing.assert_allclose(np.sum((f @ factor) ** 2, axis=1), expected, rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(factor @ factor.T, covariance, atol=2e-4 * covariance.max())


def test_a_label_that_the_code_does_not_hold_gets_no_slider(codes):
    noise = np.random.default_rng(3).normal(size=500)
    fitted = attributes.fit(codes, {"held": 2 * codes.mean[:, 0] + 1, "unheld": noise})
    assert list(fitted.attributes) == ["held"]
    assert fitted.share["held"] > 0.99
    assert re.fullmatch(r"the code explains \d% of its variance", fitted.left_out["unheld"])


def test_the_share_is_that_of_examples_not_seen(codes):
    # Signal of variance 1 and noise of variance 1: half is explained, to about 0.07 at n = 100.
    label = codes.mean[:, 1] + np.random.default_rng(4).normal(size=500)
    share = attributes.fit(codes, {"half": label}).share["half"]
    assert share == pytest.approx(0.5, abs=0.2)


def test_classes_are_not_held_while_another_grows(codes):
    winner = codes.mean[:, :3].argmax(axis=1)
    labels = {str(k): winner == k for k in range(3)} | {"other": codes.mean[:, 3]}
    holds = attributes.fit(codes, labels).holds
    assert holds["0"] == ["other"]
    assert holds["other"] == ["0", "1", "2"]


def test_what_is_mixed_up_with_an_attribute_is_not_held(codes):
    a, b = codes.mean[:, 0], codes.mean[:, 1]
    holds = attributes.fit(codes, {"a": a, "twice": 2 * a + 1e-9, "b": b}).holds
    assert holds["a"] == ["b"]
    assert holds["b"] == ["a"]


def test_an_entry_reads_codes(codes):
    label = codes.mean[:, 0] * codes.mean[:, 1] + codes.mean[:, 2]
    fitted = attributes.fit(codes, {"bent": label})
    (entry,), factors = attributes.describe(fitted, codes, {"bent": "a product"})
    shared = attributes.describe_codes(fitted.attributes.values())
    attribute = Attribute.fit_codes(codes, label, degree=2)
    centred = codes.mean - np.array(shared["mean"])
    curvature = np.array(entry["curvature"])
    read = entry["intercept"] + centred @ entry["gradient"]
    read = read + 0.5 * np.einsum("ni,ij,nj->n", centred, curvature, centred)
    np.testing.assert_allclose(read, attribute.score(codes.mean), atol=1e-9)
    u = centred / shared["scale"]
    i, j = np.triu_indices(4)
    f = np.concatenate([u, u[:, i] * u[:, j], np.ones((len(u), 1))], axis=1)
    doubt = np.sum((f @ unpack(entry["factor_scales"], factors)) ** 2, axis=1)
    expected = attribute.read_codes(codes).direction_variance
    np.testing.assert_allclose(doubt, expected, rtol=1e-3)
    assert (entry["meaning"], entry["range"]) == ("a product", [label.min(), label.max()])


def test_the_slider_of_a_binary_attribute_spans_log_odds(codes):
    fitted = attributes.fit(codes, {"positive": codes.mean[:, 0] > 0})
    (entry,), _ = attributes.describe(fitted, codes, {})
    low, high = entry["range"]
    scores = fitted.attributes["positive"].score(codes.mean)
    assert low <= -2
    assert high >= 2
    assert np.mean((scores < low) | (scores > high)) <= 0.02


def test_quadrature_gives_the_mean_of_a_logit_normal(codes):
    fitted = attributes.fit(codes, {"positive": codes.mean[:, 0] > 0})
    nodes, weights = map(
        np.array, attributes.describe_codes(fitted.attributes.values())["quadrature"]
    )
    assert weights.sum() == pytest.approx(1)
    assert weights @ nodes**4 == pytest.approx(3)
    assert attributes.describe_codes([]) is None


def test_large_codes_get_readings_of_degree_1():
    mean = np.random.default_rng(5).normal(size=(300, 40))
    fitted = attributes.fit(Codes(mean, np.zeros_like(mean)), {"first": mean[:, 0]})
    assert fitted.attributes["first"].features.degree == 1
