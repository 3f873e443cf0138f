"""Arrays in memory as batches for `fit`.

An epoch moves indices, and a batch is gathered whole: out of a NumPy array by NumPy, which needs no
second copy of it (`tf.convert_to_tensor` holds two for a moment). tf.data's autotuning is off here
and in `pipeline`: the thread that does it holds up the end of every pass by up to 0.65 s (measured,
TensorFlow 2.21), which is longer than an epoch of a small data set.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

_AHEAD_BYTES = 2**25
_LEAST_AHEAD = 2
_MOST_AHEAD = 64


def array_batches(
    arrays: tuple[Any, ...], batch_size: int, shuffle: bool = False
) -> tf.data.Dataset:
    """Batches of arrays of the same length, in a new order at every pass if shuffled.

    Args:
        arrays: NumPy arrays or tensors, each `[N, ...]`; not to be changed while the dataset is
            used.
        batch_size: examples in a batch; the last one may be smaller.
        shuffle: whether to draw an order; `keras.utils.set_random_seed` fixes it.

    Returns:
        A dataset of tuples of tensors, of known cardinality.

    Example:
        >>> import numpy as np
        >>> batches = array_batches((np.arange(5.0), np.arange(5)), batch_size=2)
        >>> [row.tolist() for _, row in batches.as_numpy_iterator()]
        [[0, 1], [2, 3], [4]]
    """
    size = len(arrays[0])
    starts = np.arange(0, size, batch_size)
    bounds = np.stack([starts, np.minimum(starts + batch_size, size)], axis=1)
    batches = _passes(arrays, bounds, shuffle)
    return without_autotuning(batches.prefetch(batches_ahead(batch_size * _row_bytes(arrays))))


def array_blocks(
    arrays: tuple[Any, ...], batch_size: int, length: int, shuffle: bool = False
) -> tf.data.Dataset:
    """The batches of `array_batches` in blocks, for a program that takes many at once.

    Args:
        arrays: as for `array_batches`.
        batch_size: as for `array_batches`.
        length: batches in a block, at most. A smaller last batch is a block of its own.
        shuffle: as for `array_batches`.

    Returns:
        A dataset of tuples of tensors `[at most length, batch_size, ...]`, of known cardinality.

    Example:
        >>> import numpy as np
        >>> blocks = array_blocks((np.arange(7.0),), batch_size=2, length=2)
        >>> [block.tolist() for block, in blocks.as_numpy_iterator()]
        [[[0.0, 1.0], [2.0, 3.0]], [[4.0, 5.0]], [[6.0]]]
    """
    import tensorflow as tf

    bounds = _bounds_of_blocks(len(arrays[0]), batch_size, length)

    def stacked(*parts: tf.Tensor) -> tuple[tf.Tensor, ...]:
        rows = tf.minimum(tf.shape(parts[0])[0], batch_size)
        return tuple(tf.reshape(part, [-1, rows, *part.shape[1:]]) for part in parts)

    return without_autotuning(_passes(arrays, bounds, shuffle).map(stacked).prefetch(1))


def row_blocks(
    size: int, batch_size: int, length: int, shuffle: bool = False
) -> Iterator[tuple[np.ndarray]]:
    """The numbers of the rows that `array_blocks` has, pass after pass without an end.

    Args:
        size: of the arrays.
        batch_size: as for `array_blocks`.
        length: as for `array_blocks`.
        shuffle: as for `array_blocks`.

    Returns:
        Tuples of numbers `[at most length, batch_size]`.

    Example:
        >>> blocks = row_blocks(7, batch_size=2, length=2)
        >>> [block.tolist() for block, in (next(blocks) for _ in range(4))]
        [[[0, 1], [2, 3]], [[4, 5]], [[6]], [[0, 1], [2, 3]]]
    """
    # Drawn now, as for a dataset, and not with the first block: the training has begun by then.
    order = _new_order()
    bounds = _bounds_of_blocks(size, batch_size, length)

    def passes() -> Iterator[tuple[np.ndarray]]:
        while True:
            rows = order.permutation(size) if shuffle else np.arange(size)
            for start, end in bounds:
                yield (rows[start:end].reshape(-1, min(batch_size, end - start)),)

    return passes()


def fit_in_block(arrays: tuple[Any, ...], batch_size: int, length: int) -> bool:
    """Whether a block of so many batches is within what may be held ahead, 32 MiB.

    Example:
        >>> import numpy as np
        >>> fit_in_block((np.zeros((9, 2**20), "float32"),), batch_size=4, length=2)
        True
        >>> fit_in_block((np.zeros((9, 2**20), "float32"),), batch_size=4, length=3)
        False
    """
    return length * batch_size * _row_bytes(arrays) <= _AHEAD_BYTES


def _bounds_of_blocks(size: int, batch_size: int, length: int) -> np.ndarray:
    """First row and end of each block, `[N, 2]`; a smaller last batch is a block of its own."""
    whole = size - size % batch_size
    starts = [*range(0, whole, length * batch_size), *([whole] if whole < size else [])]
    return np.stack([starts, [*starts[1:], size]], axis=1)


def _new_order() -> np.random.Generator:
    """What draws the orders of a training; `keras.utils.set_random_seed` fixes it."""
    return np.random.default_rng(random.getrandbits(64))


def _passes(arrays: tuple[Any, ...], bounds: np.ndarray, shuffle: bool) -> tf.data.Dataset:
    """The rows from each start to its end, in an order that every pass has of its own."""
    import tensorflow as tf

    size = len(arrays[0])
    order = _new_order()
    takers = [_taker(array) for array in arrays]

    def one_pass(_: tf.Tensor) -> tf.data.Dataset:
        if shuffle:
            rows = tf.numpy_function(lambda: order.permutation(size), [], tf.int64)
            rows.set_shape([size])
        else:
            rows = tf.range(size, dtype=tf.int64)

        def gathered(bound: tf.Tensor) -> tuple[tf.Tensor, ...]:
            taken = rows[bound[0] : bound[1]]
            return tuple(take(taken) for take in takers)

        return tf.data.Dataset.from_tensor_slices(bounds).map(gathered)

    number = tf.data.experimental.assert_cardinality(len(bounds))
    return tf.data.Dataset.range(1).flat_map(one_pass).apply(number)


def _row_bytes(arrays: tuple[Any, ...]) -> int:
    """What one example of all arrays takes."""
    import tensorflow as tf

    return sum(math.prod(array.shape[1:]) * tf.as_dtype(array.dtype).size for array in arrays)


def batches_ahead(batch_bytes: int) -> int:
    """How many batches of this size are put together while others are trained on.

    A block of steps takes its batches at once: as many as the longest block has, within 32 MiB.

    Example:
        >>> batches_ahead(1000), batches_ahead(2**20), batches_ahead(2**30)
        (64, 32, 2)
    """
    return min(_MOST_AHEAD, max(_LEAST_AHEAD, _AHEAD_BYTES // max(1, batch_bytes)))


def _taker(array: Any) -> Callable[[tf.Tensor], tf.Tensor]:
    """Takes rows of an array; float64 becomes float32, a batch at a time."""
    import tensorflow as tf

    if not isinstance(array, np.ndarray):
        return lambda rows: tf.gather(array, rows)
    dtype = np.dtype(np.float32) if array.dtype == np.float64 else array.dtype.newbyteorder("=")

    def take(rows: np.ndarray) -> np.ndarray:
        return np.take(array, rows, axis=0).astype(dtype, copy=False)

    def taken(rows: tf.Tensor) -> tf.Tensor:
        batch = tf.numpy_function(take, [rows], tf.as_dtype(dtype), stateful=False)
        batch.set_shape([None, *array.shape[1:]])
        return batch

    return taken


def without_autotuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The dataset with the parallelism that it states, and sharded by element among workers."""
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)
