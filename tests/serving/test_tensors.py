"""Tensors in messages, TensorFlow's and ours."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from tfvae.serving.errors import ServingError
from tfvae.serving.messages import message
from tfvae.serving.tensors import read_tensor, write_tensor

ARRAYS = [
    np.array([[1.5, -2.25, np.inf]], np.float32),
    np.array([1e300, -0.0]),
    np.array([[-(2**31)], [2**31 - 1]], np.int32),
    np.array([0, 255], np.uint8),
    np.array([-(2**15), 7], np.int16),
    np.array([-128, 127], np.int8),
    np.array([2**63 - 1], np.int64),
    np.array([True, False, True]),
    np.array([2**32 - 1], np.uint32),
    np.array([2**64 - 1], np.uint64),
    np.array([b"", b"\0\xff"], object),
    np.array(3, np.float32),
    np.zeros((0, 4), np.float32),
]
MESSAGES = {"ours": lambda: message("TensorProto"), "TensorFlow's": tensor_pb2.TensorProto}


@pytest.mark.parametrize("make", MESSAGES.values(), ids=MESSAGES)
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_there_and_back(make, array):
    tensor = make()
    write_tensor(array, tensor)
    back = read_tensor("x", make().FromString(tensor.SerializeToString()), 1 << 20)
    np.testing.assert_array_equal(back, array)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_tensorflow_reads_what_we_write_and_the_reverse(array):
    ours = message("TensorProto")
    write_tensor(array, ours)
    theirs = tensor_pb2.TensorProto.FromString(ours.SerializeToString())
    np.testing.assert_array_equal(tf.make_ndarray(theirs), array)
    made = tf.make_tensor_proto(array).SerializeToString()
    back = read_tensor("x", message("TensorProto").FromString(made), 1 << 20)
    np.testing.assert_array_equal(back, array)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)


def tensor(*shape, dtype=1, **fields):
    made = message("TensorProto", dtype=dtype, **fields)
    for size in shape:
        made.tensor_shape.dim.add(size=size)
    return made


def test_values_that_are_left_out_repeat_the_last():
    made = read_tensor("x", tensor(2, 2, float_val=[1.0, 2.0]), 100)
    np.testing.assert_array_equal(made, [[1.0, 2.0], [2.0, 2.0]])
    np.testing.assert_array_equal(read_tensor("x", tensor(2), 100), [0.0, 0.0])
    assert read_tensor("s", tensor(2, dtype=7), 100).tolist() == [b"", b""]
    assert read_tensor("x", tensor(0, float_val=[]), 100).shape == (0,)


def test_bytes_of_truth_are_true_or_false():
    made = read_tensor("b", tensor(3, dtype=10, tensor_content=b"\0\1\7"), 100)
    assert made.view(np.uint8).tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("made", "message_"),
    [
        (tensor(1, dtype=21), "`x` has a type that cannot be sent. Received: 21"),
        (tensor(-1), r"must have a known shape. Received: \[-1\]"),
        (
            tensor(2**40, float_val=[1]),
            r"larger than 100 bytes. Received: float32 \[1099511627776\]",
        ),
        (tensor(0, 2**62, 2**62), "an impossible shape"),
        (tensor(*[1] * 65), "an impossible shape"),
        (tensor(3, tensor_content=b"12345"), "must have 12 bytes. Received: 5"),
        (tensor(1, float_val=[1, 2]), "holds 1 values. Received: 2"),
        (tensor(1, dtype=4, int_val=[-1]), "out of range"),
        (tensor(2, dtype=4, int_val=[256, 0]), "out of range"),
    ],
)
def test_refuse(made, message_):
    with pytest.raises(ServingError, match=message_):
        read_tensor("x", made, 100)


def test_unknown_rank():
    made = tensor(float_val=[1.0])
    made.tensor_shape.unknown_rank = True
    with pytest.raises(ServingError, match="must have a known shape"):
        read_tensor("x", made, 100)
