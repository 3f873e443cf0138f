"""The layout of parameters over an event."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfvae.layers.parameters import event_shape_tuple, event_size, split_parameters

SHAPES = {
    "integer": (5, (5,), 5),
    "NumPy integer": (np.int64(5), (5,), 5),
    "list": ([2, 3], (2, 3), 6),
    "tuple of NumPy integers": ((np.int32(2), 3), (2, 3), 6),
    "array": (np.array([2, 3, 4]), (2, 3, 4), 24),
    "scalar": ((), (), 1),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name):
    given, shape, size = SHAPES[name]
    assert event_shape_tuple(given) == shape
    assert all(type(d) is int for d in event_shape_tuple(given))
    assert event_size(given) == size


@pytest.mark.parametrize("wrong", [0, -1, (2, 0), 2.5, (2.0,), "12", None, (True,)], ids=repr)
def test_refuses_other_shapes(wrong):
    with pytest.raises(ValueError, match=r"`event_shape` must be .*Received"):
        event_shape_tuple(wrong)


@pytest.mark.parametrize("batch", [(), (4,), (5, 4)], ids=str)
def test_parts_follow_each_other(batch):
    params = np.random.default_rng(0).normal(size=(*batch, 12)).astype("f")
    first, second = split_parameters(params, (2, 3), 2)
    np.testing.assert_array_equal(first, params[..., :6].reshape(*batch, 2, 3))
    np.testing.assert_array_equal(second, params[..., 6:].reshape(*batch, 2, 3))


@pytest.mark.parametrize("shape", [[None, 12], [None, 4, 12], [None, None, 12]], ids=str)
def test_unknown_batches(shape):
    split = tf.function(
        lambda params: split_parameters(params, (2, 3), 2),
        input_signature=[tf.TensorSpec(shape, tf.float32)],
    )
    params = np.random.default_rng(0).normal(size=(*[4, 4][: len(shape) - 1], 12)).astype("f")
    for found, expected in zip(split(params), split_parameters(params, (2, 3), 2), strict=True):
        np.testing.assert_array_equal(found, expected)
    static = split.get_concrete_function().output_shapes[0].as_list()
    assert static[-2:] == [2, 3]
    assert static[:-2] == shape[:-1] or shape.count(None) > 1


@pytest.mark.parametrize("shape", [(4, 11), (4, 13), (4, 6), (12,) * 0], ids=str)
def test_refuses_another_number_of_parameters(shape):
    message = r"need a last axis of size 12: .*`params_size\(...\)` units. Received: .*shape \("
    with pytest.raises(ValueError, match=message):
        split_parameters(np.zeros(shape, "f"), (2, 3), 2)
