from __future__ import annotations

from importlib import resources

import numpy as np
from sklearn.datasets import load_digits

from tfvae.data import digits


def test_every_digit_is_that_of_the_source_in_its_order():
    train, test = digits()
    assert (len(train), len(test)) == (1437, 360)
    images = np.concatenate([train.images, test.images])
    assert images.dtype == np.uint8
    source = load_digits()
    np.testing.assert_array_equal(np.rint(images[..., 0] * (16 / 255)), source.images)
    np.testing.assert_array_equal(np.concatenate([train.labels, test.labels]), source.target)


def test_levels_fill_the_whole_range():
    levels = np.unique(digits()[0].images)
    assert levels.tolist() == [round(value * 255 / 16) for value in range(17)]


def test_the_licence_comes_along():
    text = resources.files("tfvae.data").joinpath("digits.LICENSE.txt").read_text()
    for words in ("CC BY 4.0", "Alpaydin", "Kaynak", "BSD 3-Clause", "The scikit-learn developers"):
        assert words in text
