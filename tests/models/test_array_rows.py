"""Rows of arrays in memory are NumPy's, whatever their type and wherever they begin."""

import numpy as np
import pytest
import tensorflow as tf

from tfvae.models import array_rows as module
from tfvae.models.array_rows import array_rows

ROWS = np.random.default_rng(0).permutation(20)


@pytest.fixture(autouse=True)
def small_arrays_are_shared(monkeypatch):
    monkeypatch.setattr(module, "_WORTH_SHARING", 128)


@pytest.fixture(scope="module")
def in_a_program():
    return tf.function(
        lambda rows, numbers: rows.take(numbers), jit_compile=True, reduce_retracing=True
    )


def array_at(first, dtype="float32", shape=(20, 5, 3)):
    """An array that begins so many bytes after a place where a buffer may."""
    memory = np.random.default_rng(1).integers(0, 256, 8 * np.prod(shape) + 192).astype(np.uint8)
    memory = memory[-memory.ctypes.data % 64 + first :]
    if dtype == "bool":
        memory %= 2
    array = np.frombuffer(memory, dtype, count=np.prod(shape)).reshape(shape)
    if array.dtype.kind == "f":
        array[:] = np.random.default_rng(2).normal(size=shape)
    assert array.ctypes.data % 64 == first
    return array


@pytest.mark.parametrize("first", [0, 16, 56])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int64", "bool"])
def test_rows_are_those_of_numpy(dtype, first, in_a_program):
    array = array_at(first, dtype)
    rows = array_rows(array)
    expected = array[ROWS].astype("float32" if dtype == "float64" else dtype)
    for taken in (rows.take(tf.constant(ROWS)), in_a_program(rows, tf.constant(ROWS))):
        assert taken.dtype == expected.dtype
        np.testing.assert_array_equal(taken, expected)


def test_one_program_serves_arrays_that_begin_elsewhere():
    sizes = {tuple(array_rows(array_at(first)).body.shape) for first in (0, 4, 16, 60)}
    assert sizes == {(20 * 15 - 16,)}


@pytest.mark.parametrize("shapes", [[(20,), (20, 1)], [(20, 5, 3), (20, 4, 3), (10, 4, 3)]])
def test_one_function_serves_rows_of_several_shapes(shapes):
    take = tf.function(
        lambda rows, numbers: rows.take(numbers), jit_compile=True, reduce_retracing=True
    )
    for shape in shapes:
        array = array_at(16, shape=shape)
        numbers = np.array([shape[0] - 1, 0, 3])
        np.testing.assert_array_equal(take(array_rows(array), tf.constant(numbers)), array[numbers])


@pytest.mark.parametrize(
    "array",
    [
        np.float32(np.arange(20)),
        tf.range(20.0),
        np.frombuffer(np.arange(20.0).tobytes()),
        np.matrix(np.arange(40.0)).reshape(20, 2),
    ],
    ids=["short", "tensor", "read-only and short", "matrix"],
)
def test_rows_of_other_kinds(array, monkeypatch, in_a_program):
    if isinstance(array, np.ndarray) and not isinstance(array, np.matrix):
        monkeypatch.setattr(module, "_WORTH_SHARING", 2**20)
    numbers = tf.constant([19, 0, 7])
    for take in (lambda rows, numbers: rows.take(numbers), in_a_program):
        np.testing.assert_array_equal(
            take(array_rows(array), numbers), np.asarray(array)[numbers.numpy()]
        )


def test_no_memory_is_copied_but_at_the_ends():
    array = np.zeros((20, 16), np.float32)
    rows = array_rows(array)
    array[:] = np.arange(20)[:, np.newaxis]
    taken = rows.take(tf.range(20)).numpy()
    np.testing.assert_array_equal(taken[1:-1], array[1:-1])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((20, 8))[:, ::2],
        np.zeros((20, 4), ">f4"),
        np.zeros(20, np.longdouble),
        np.zeros(20, "S8"),
        np.frombuffer(bytes(160), np.float32),
        np.frombuffer(bytearray(161), np.uint8)[1:].view(np.float32),
    ],
    ids=["gaps", "byte order", "long", "bytes", "read-only", "not aligned"],
)
def test_what_cannot_be_shared(array):
    assert array_rows(array) is None
