"""Arrays in memory as batches."""

from __future__ import annotations

import random

import numpy as np
import pytest
import tensorflow as tf

from tfvae.data import array_batches
from tfvae.data.array_batches import array_blocks, row_blocks

X = np.arange(20, dtype=np.float32).reshape(10, 2)


def test_every_pass_has_all_rows_in_an_order_of_its_own():
    random.seed(0)
    batches = array_batches((X, X[:, 0]), batch_size=4, shuffle=True)
    assert int(batches.cardinality()) == 3
    passes = []
    for _ in range(2):
        parts = list(batches.as_numpy_iterator())
        assert [len(x) for x, _ in parts] == [4, 4, 2]
        x, first = (np.concatenate(column) for column in zip(*parts, strict=True))
        np.testing.assert_array_equal(x[:, 0], first)
        np.testing.assert_array_equal(np.sort(x, axis=0), X)
        passes.append(first)
    assert (passes[0] != passes[1]).any()


def test_the_order_stays_if_it_is_not_shuffled():
    (x,) = next(array_batches((X,), batch_size=100).as_numpy_iterator())
    np.testing.assert_array_equal(x, X)


def test_nothing_runs_beside_the_training():
    """tf.data's tuning thread delays the end of each pass."""
    assert not array_batches((X,), 4).options().autotune.enabled


def test_doubles_arrive_as_floats_and_tensors_as_they_are():
    doubles, tensor = X.astype(np.float64), tf.constant(X)
    x, y = next(iter(array_batches((doubles, tensor), batch_size=3)))
    assert x.dtype == y.dtype == tf.float32
    np.testing.assert_array_equal(x, y)
    assert array_batches((doubles,), 3).element_spec[0].shape == (None, 2)


def test_a_seed_means_one_order():
    orders = []
    for seed in (3, 3, 4):
        random.seed(seed)
        (x,) = next(iter(array_batches((X,), batch_size=10, shuffle=True)))
        orders.append(x.numpy())
    np.testing.assert_array_equal(orders[0], orders[1])
    assert (orders[0] != orders[2]).any()


@pytest.mark.parametrize("size", [10, 12])
@pytest.mark.parametrize("shuffle", [False, True])
def test_blocks_of_rows_are_those_of_the_arrays(shuffle, size):
    """In every pass, with a seed; the last batch of ten is smaller."""
    numbers = np.arange(size)
    random.seed(0)
    blocks = array_blocks((numbers,), 4, 2, shuffle).repeat(3)
    random.seed(0)
    rows = row_blocks(size, 4, 2, shuffle)
    random.seed(1)  # the order is settled by then
    for (expected,), (given,) in zip(blocks.as_numpy_iterator(), rows, strict=False):
        np.testing.assert_array_equal(given, expected)
    assert int(blocks.cardinality()) == 6
