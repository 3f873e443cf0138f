"""BlockwiseInitializer: several initialisers side by side."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfvae.layers import BlockwiseInitializer


def test_each_block_has_its_own_initializer():
    initializer = BlockwiseInitializer(
        ["zeros", keras.initializers.Constant(0.5), "ones"], [2, 1, 3]
    )
    expected = np.broadcast_to(np.float32([0, 0, 0.5, 1, 1, 1]), (4, 2, 6))
    np.testing.assert_array_equal(initializer((4, 2, 6)), expected)
    np.testing.assert_array_equal(initializer(tf.TensorShape([6])), expected[0, 0])


@pytest.mark.parametrize(("asked", "made"), [(None, "float32"), ("float64", "float64")])
def test_dtype(asked, made):
    assert BlockwiseInitializer(["zeros"], [2])((2,), dtype=asked).dtype.name == made


def test_random_blocks_have_their_moments():
    initializer = BlockwiseInitializer(
        [
            keras.initializers.RandomNormal(1.0, 0.5, seed=3),
            keras.initializers.RandomNormal(-2.0, 0.1, seed=4),
        ],
        [1, 1],
    )
    values = initializer((10000, 2)).numpy()
    # Four standard errors of a mean of 10,000.
    assert np.all(np.abs(values.mean(0) - [1.0, -2.0]) < 4 * np.array([0.5, 0.1]) / 100)
    np.testing.assert_allclose(values.std(0), [0.5, 0.1], rtol=4 / np.sqrt(2 * 10000))


def test_the_configuration_makes_the_same_initializer():
    initializer = BlockwiseInitializer(
        ["zeros", keras.initializers.RandomNormal(stddev=2.0, seed=5)], [1, 2], validate_args=True
    )
    config = keras.saving.serialize_keras_object(initializer)
    again = keras.saving.deserialize_keras_object(config, safe_mode=True)
    assert (again.sizes, again.validate_args) == ([1, 2], True)
    np.testing.assert_array_equal(again((3, 3)), initializer((3, 3)))
    assert keras.initializers.get(config).sizes == [1, 2]


def test_sizes_must_fill_the_last_axis():
    with pytest.raises(ValueError, match=r"sum\(sizes\) = 3\. Received: shape \(2, 4\)"):
        BlockwiseInitializer(["zeros", "ones"], [1, 2])((2, 4))


@pytest.mark.parametrize(
    ("initializers", "sizes", "message"),
    [
        (["zeros"], [1, 2], "same length"),
        ([], [], "at least 1"),
        (["zeros"], [0], "integers of at least 1"),
        (["zeros"], [1.5], "integers of at least 1"),
    ],
)
def test_bad_blocks_are_refused(initializers, sizes, message):
    with pytest.raises(ValueError, match=f"{message}.*Received"):
        BlockwiseInitializer(initializers, sizes)


def test_validate_args_checks_the_blocks():
    def one_too_many(shape, dtype=None):
        return tf.ones([*shape[:-1], shape[-1] + 1], dtype)

    with pytest.raises(ValueError, match=r"shape \(2, 1\). Received: shape \(2, 2\)"):
        BlockwiseInitializer(["zeros", one_too_many], [1, 1], validate_args=True)((2, 2))
