from __future__ import annotations

import numpy as np
import pytest

from tfvae.data.drawing import Canvas, ellipse, ramp, rounded_box


def test_a_disc_covers_its_area():
    canvas = Canvas(1, 64)
    disc = ellipse(canvas.x, canvas.y, 0.5, 0.5)
    canvas.paint(disc, np.full((3, 1, 1, 1), 255.0, np.float32))
    area = canvas.pictures().mean() / 255 * 4
    assert area == pytest.approx(np.pi / 4, rel=0.005)


def test_ellipse_distance_is_zero_on_the_edge_with_unit_slope():
    angle = np.linspace(0.1, 6.2, 50).astype(np.float32)
    x, y = 0.7 * np.cos(angle), 0.3 * np.sin(angle)
    np.testing.assert_allclose(ellipse(x, y, 0.7, 0.3), 0, atol=1e-5)
    normal = np.stack([x / 0.7**2, y / 0.3**2])
    normal /= np.linalg.norm(normal, axis=0)
    beyond = ellipse(x + 0.001 * normal[0], y + 0.001 * normal[1], 0.7, 0.3)
    np.testing.assert_allclose(beyond, 0.001, rtol=0.02)


def test_rounded_box_distance():
    x = np.array([0.0, 0.5, 0.7, 0.0, 0.5], np.float32)
    y = np.array([0.0, 0.0, 0.0, 0.4, 0.3], np.float32)
    corner = 0.1 * (np.sqrt(2) - 1)
    expected = [-0.3, 0.0, 0.2, 0.1, corner]
    np.testing.assert_allclose(rounded_box(x, y, 0.5, 0.3, 0.1), expected, atol=1e-6)


def test_ramp_hits_its_stops_and_is_linear_between():
    at = np.array([0.0, 0.25, 0.5, 1.0], np.float32)[:, None, None]
    colours = ramp([(0, 0, 0), (100, 200, 40), (10, 20, 30)], at)
    assert colours.dtype == np.float32
    expected = [[0, 0, 0], [50, 100, 20], [100, 200, 40], [10, 20, 30]]
    np.testing.assert_allclose(colours[:, :, 0, 0].T, expected, rtol=1e-6)
