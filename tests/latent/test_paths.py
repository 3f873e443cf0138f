"""Interpolations, traversals and the activity of dimensions."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from tfvae.latent import interpolate, most_active_dimensions, traverse
from tfvae.latent.paths import _spherical

METHODS = ("linear", "spherical")


def decoded(truth, codes):
    return codes @ truth.weights.T + truth.mean


@pytest.mark.parametrize("method", METHODS)
def test_a_path_begins_and_ends_at_the_reconstructions(face_vae, small_faces, method):
    a, b = small_faces.test[:3], small_faces.test[3:6]
    frames = interpolate(face_vae, a, b, steps=5, method=method, batch_size=4)
    assert frames.shape == (3, 5, 16, 16, 3)
    np.testing.assert_allclose(frames[:, 0], face_vae.reconstruct(a), atol=1e-5)
    np.testing.assert_allclose(frames[:, -1], face_vae.reconstruct(b), atol=1e-5)
    one = interpolate(face_vae, a[1], b[1], steps=5, method=method)
    np.testing.assert_allclose(one, frames[1], atol=1e-5)


def test_the_straight_line_is_the_models_own(face_vae, small_faces):
    a, b = small_faces.test[:3], small_faces.test[3:6]
    np.testing.assert_allclose(interpolate(face_vae, a, b), face_vae.interpolate(a, b), atol=1e-5)


def test_the_linear_path_in_closed_form(exact_vae, truth):
    _, x = truth.data(2, seed=0)
    z = truth.code(x)
    frames = interpolate(exact_vae, x[0], x[1], steps=3)
    np.testing.assert_allclose(frames[1], decoded(truth, z.mean(axis=0)), atol=1e-5)


def test_the_sphere_keeps_the_length_and_turns_evenly():
    rng = np.random.default_rng(0)
    start, end = rng.normal(size=(2, 7))
    end *= np.linalg.norm(start) / np.linalg.norm(end)
    path = _spherical(start, end, np.linspace(0, 1, 5)[:, None])
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), np.linalg.norm(start))
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    np.testing.assert_allclose(steps, steps[0])


@pytest.mark.parametrize("factor", [2.0, -1.0, 0.0])
def test_where_the_sphere_has_no_arc_the_path_is_straight(factor):
    start = np.array([1.0, 2.0, 2.0])
    path = _spherical(start, factor * start, np.array([[0.25]]))
    np.testing.assert_allclose(path[0], (0.75 + 0.25 * factor) * start)


def test_interpolation_of_maps(maps_vae, maps):
    assert interpolate(maps_vae, maps[:2], maps[2:4], 3, "spherical").shape == (2, 3, 4, 4, 1)


def test_bad_arguments_of_interpolate(exact_vae):
    x = np.zeros((2, 6), "f")
    with pytest.raises(ValueError, match=r"`method` must be one of .* Received: 'geodesic'"):
        interpolate(exact_vae, x, x, method="geodesic")
    with pytest.raises(ValueError, match=r"at least 2 steps. Received: .*steps=1"):
        interpolate(exact_vae, x, x, steps=1)
    with pytest.raises(ValueError, match=r"Received: shapes \(2, 6\) and \(6,\)"):
        interpolate(exact_vae, x, x[0])


def test_a_traversal_follows_the_priors_quantiles(exact_vae, truth):
    _, x = truth.data(2, seed=0)
    frames = traverse(exact_vae, x, dimension=1, quantiles=3)
    # 8192 draws: three standard errors of a quantile at 1/6 are 0.05.
    for k, frame in enumerate(np.moveaxis(frames, 1, 0)):
        z = truth.code(x)
        z[:, 1] = NormalDist().inv_cdf((k + 0.5) / 3)
        tolerance = 0.05 * np.abs(truth.weights[:, 1]).max()
        np.testing.assert_allclose(frame, decoded(truth, z), atol=tolerance)
    np.testing.assert_array_equal(traverse(exact_vae, x[0], 1, [1 / 6, 1 / 2, 5 / 6]), frames[0])


def test_a_traversal_follows_the_aggregate_posterior(exact_vae, truth):
    """Images of which one code is far from the prior: the quantiles are theirs."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=(4000, 2)) * 0.2 + [5.0, 0.0]
    images = decoded(truth, z).astype("f")
    (median,) = traverse(exact_vae, images[0], dimension=0, quantiles=[0.5], images=images)
    expected = truth.code(images[:1])
    expected[:, 0] = np.median(truth.code(images)[:, 0])
    # The median of 4000 draws, of deviation 0.34, is good to 0.007; 4 of it.
    np.testing.assert_allclose(median, decoded(truth, expected)[0], atol=0.03 * 2.5)


def test_an_autoencoder_needs_images_to_traverse(face_autoencoder, small_faces):
    x = small_faces.test[:2]
    with pytest.raises(TypeError, match="has no prior to take quantiles from: pass `images`"):
        traverse(face_autoencoder, x, 0)
    frames = traverse(face_autoencoder, x, 0, quantiles=4, images=small_faces.test[:50])
    assert frames.shape == (2, 4, 16, 16, 3)


@pytest.mark.parametrize("dimension", [-1, 2, True])
def test_a_dimension_that_is_not_there_is_refused(exact_vae, dimension):
    with pytest.raises(ValueError, match=r"`dimension` must lie in \[0, 2\)"):
        traverse(exact_vae, np.zeros(6, "f"), dimension)


@pytest.mark.parametrize("quantiles", [0, [0.0, 0.5], [0.5, 1.0], [], [[0.5]], [np.nan]])
def test_probabilities_out_of_range_are_refused(exact_vae, quantiles):
    with pytest.raises(ValueError, match="`quantiles` must be"):
        traverse(exact_vae, np.zeros(6, "f"), 0, quantiles)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_activity_ranks_dimensions(exact_vae, truth, order):
    spread = np.array([2.0, 0.1])[order]
    z = np.random.default_rng(0).normal(size=(100, 2)) * spread
    images = decoded(truth, z).astype("f")
    assert most_active_dimensions(exact_vae, images).tolist() == order
    assert most_active_dimensions(exact_vae, images, count=1).tolist() == order[:1]


def test_activity_needs_images_and_dimensions(exact_vae):
    with pytest.raises(ValueError, match="Received: 1 example"):
        most_active_dimensions(exact_vae, np.zeros(6, "f"))
    with pytest.raises(ValueError, match=r"`count` must lie in \[1, 2\]. Received: 3"):
        most_active_dimensions(exact_vae, np.zeros((3, 6), "f"), count=3)
