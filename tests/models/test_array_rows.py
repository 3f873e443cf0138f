"""Rows of arrays in memory are NumPy's, whatever their type and wherever they begin."""

import numpy as np
import pytest
import tensorflow as tf

from tfvae.models.array_rows import array_rows

ROWS = np.random.default_rng(0).permutation(20)


@pytest.fixture(scope="module")
def in_a_program():
    return tf.function(
        lambda rows, numbers: rows.take(numbers), jit_compile=True, reduce_retracing=True
    )


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int64", "bool"])
def test_rows_are_those_of_numpy(dtype, first, in_a_program):
    """Of arrays that begin at all multiples of 16 bytes."""
    memory = np.random.default_rng(1).integers(0, 256, 20 * 5 * 3 * 8 + 128).astype(np.uint8)
    memory = memory[-memory.ctypes.data % 64 + 16 * first :]
    if dtype == "bool":
        memory %= 2
    array = np.frombuffer(memory, dtype, count=20 * 15).reshape(20, 5, 3)
    if array.dtype.kind == "f":
        array[:] = np.random.default_rng(2).normal(size=array.shape)
    assert array.ctypes.data % 64 == 16 * first
    rows = array_rows(array)
    expected = array[ROWS].astype("float32" if dtype == "float64" else dtype)
    for taken in (rows.take(tf.constant(ROWS)), in_a_program(rows, tf.constant(ROWS))):
        assert taken.dtype == expected.dtype
        np.testing.assert_array_equal(taken, expected)


def test_rows_of_a_tensor_and_of_numbers_alone():
    array = np.float32(np.arange(20))
    for rows in (array_rows(array), array_rows(tf.constant(array)), array_rows(tf.range(3.0))):
        np.testing.assert_array_equal(rows.take(tf.constant([2, 0])), [2.0, 0.0])


def test_no_memory_is_copied_but_64_bytes():
    array = np.zeros((20, 16), np.float32)
    rows = array_rows(array)
    array[:] = np.arange(20)[:, np.newaxis]
    taken = rows.take(tf.range(20)).numpy()
    np.testing.assert_array_equal(taken[1:], array[1:])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((20, 4))[:, ::2],
        np.zeros((20, 4), ">f4"),
        np.zeros(20, np.longdouble),
        np.zeros(20, "S8"),
        np.zeros(15, np.float32),
        np.frombuffer(bytes(80), np.float32),
        np.frombuffer(bytearray(81), np.uint8)[1:].view(np.float32),
    ],
    ids=["gaps", "byte order", "long", "bytes", "short", "read-only", "not aligned"],
)
def test_what_cannot_be_shared(array):
    assert array_rows(array) is None
