"""Arrays in memory as batches for `fit`.

Each array becomes one tensor; an epoch moves indices, and a batch is gathered whole. tf.data's
autotuning is off here and in `pipeline`: the thread that does it holds up the end of every pass by
up to 0.65 s (measured, TensorFlow 2.21), which is longer than an epoch of a small data set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf

PARALLEL_BATCHES = 2
"""Batches that are put together at once."""


def array_batches(
    arrays: tuple[Any, ...], batch_size: int, shuffle: bool = False
) -> tf.data.Dataset:
    """Batches of arrays of the same length, in a new order at every pass if shuffled.

    Args:
        arrays: each `[N, ...]`.
        batch_size: examples in a batch; the last one may be smaller.
        shuffle: whether to draw an order; TensorFlow's global seed fixes it.

    Returns:
        A dataset of tuples of tensors, of known cardinality.

    Example:
        >>> import numpy as np
        >>> batches = array_batches((np.arange(5.0), np.arange(5)), batch_size=2)
        >>> [row.tolist() for _, row in batches.as_numpy_iterator()]
        [[0, 1], [2, 3], [4]]
    """
    import tensorflow as tf

    with tf.device("CPU:0"):
        tensors = [tf.convert_to_tensor(array) for array in arrays]
    size = int(tensors[0].shape[0])
    rows = tf.data.Dataset.range(size)
    if shuffle:
        rows = rows.shuffle(size)

    def gathered(batch: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return tuple(tf.gather(tensor, batch) for tensor in tensors)

    batches = rows.batch(batch_size).map(gathered, num_parallel_calls=PARALLEL_BATCHES)
    return without_autotuning(batches.prefetch(PARALLEL_BATCHES))


def without_autotuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The dataset with the parallelism that it states, and sharded by element among workers."""
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)
