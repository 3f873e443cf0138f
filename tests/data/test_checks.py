from __future__ import annotations

import numpy as np
import pytest

from tfvae.data import check_images
from tfvae.data.checks import check_integer


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((5, 4, 3, 2), (5, 4, 3, 2)), ((5, 4, 3), (5, 4, 3, 1)), ((5, 12), (5, 12))],
)
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
def test_good_images_pass_without_a_copy(shape, expected, dtype):
    images = np.ones(shape, dtype)
    checked = check_images(images)
    assert checked.shape == expected
    assert checked.dtype == images.dtype
    assert np.shares_memory(checked, images)


def test_bool_becomes_black_and_white():
    checked = check_images(np.array([[True, False]]))
    assert checked.dtype == np.uint8
    assert checked.tolist() == [[255, 0]]


def test_foreign_byte_order_is_turned():
    checked = check_images(np.array([[0.25, 0.5]], ">f4"))
    assert checked.dtype.isnative
    assert checked.tolist() == [[0.25, 0.5]]


def test_values_outside_the_unit_interval_may_be_allowed():
    images = np.array([[-3.0, 7.0]])
    assert check_images(images, unit_interval=False).tolist() == [[-3.0, 7.0]]


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((3, 4), "int64"), TypeError, r"`x` must be uint8 .*cast .*: dtype int64"),
        (np.array([None, "a"]), TypeError, r"stack the images .*Received: dtype object"),
        (np.array(["a"]), TypeError, r"Received: dtype <U1"),
        (np.zeros(3), ValueError, r"`x` must have shape .*Received: shape \(3,\)"),
        (np.zeros((1, 1, 1, 1, 1)), ValueError, r"Received: shape \(1, 1, 1, 1, 1\)"),
        (np.zeros((0, 8, 8)), ValueError, r"`x` is empty. Received: shape \(0, 8, 8\)"),
        (np.array([[0, np.nan]]), ValueError, r"must be finite.*Received: nan at index \(0, 1\)"),
        (np.array([[0], [-np.inf]]), ValueError, r"Received: -inf at index \(1, 0\)"),
        (np.array([[0.0, 255.0]]), ValueError, r"divide .* by 255.*values from 0.0 to 255.0"),
        (np.array([[-0.5, 0.5]]), ValueError, r"outside \[0, 1\].*values from -0.5 to 0.5"),
    ],
)
def test_bad_images(images, error, message):
    with pytest.raises(error, match=message):
        check_images(images, name="x")


def test_integers():
    assert check_integer(np.int64(3), "n", 1) == 3
    assert type(check_integer(np.int64(3), "n", 1)) is int
    with pytest.raises(ValueError, match=r"`n` must be at least 1. Received: 0"):
        check_integer(0, "n", 1)
    with pytest.raises(ValueError, match=r"`n` must be in \[1, 5\]. Received: 6"):
        check_integer(6, "n", 1, 5)
    for value in (True, 1.0, "1", None):
        with pytest.raises(TypeError, match=r"`n` must be an integer. Received: "):
            check_integer(value, "n", 1)
