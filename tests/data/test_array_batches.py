"""Arrays in memory as batches."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfvae.data import array_batches

X = np.arange(20, dtype=np.float32).reshape(10, 2)


def test_every_pass_has_all_rows_in_an_order_of_its_own():
    tf.random.set_seed(0)
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
