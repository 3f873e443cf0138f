"""Arrays in memory, of which a compiled program takes its batches by itself.

A batch that is put together beside the program is copied twice, and held until the program has come
to it. Where a program is handed the whole array and the numbers of rows, nothing is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

_ALIGNMENT = 64
"""Bytes. TensorFlow's and XLA's buffers begin at multiples of this; NumPy's at multiples of 16."""
_WORTH_SHARING = 2**20
"""Bytes. What is smaller may as well be copied."""


class ArrayRows(tf.experimental.ExtensionType):
    """An array `[N, ...]` that TensorFlow reads where it lies.

    Up to 64 bytes before the first place where a buffer may begin are copied, and as many at the
    end that the rest is of one size wherever the array begins: a program is compiled for a size.

    Attributes:
        edges: the first 64 bytes of the array and the last ones.
        body: the elements from `first` on, but for those of the end.
        first: their number, of a type that holds the number of any element.
        row_shape: of an example.
    """

    edges: tf.Tensor
    body: tf.Tensor
    first: tf.Tensor
    row_shape: tuple[int, ...]

    def take(self, rows: tf.Tensor) -> tf.Tensor:
        """The examples of these numbers, `[B, ...]` for `[B]`; float64 becomes float32.

        The numbers must be those of rows: a program of XLA's does not say that one is not.
        """
        size = tf.constant(math.prod(self.row_shape), self.first.dtype)
        shared, copied = (tf.size(part, size.dtype) for part in (self.body, self.edges))
        number = tf.cast(rows, size.dtype)[:, tf.newaxis] * size + tf.range(size)
        place = number - self.first
        edge = tf.where(place < 0, number, number - shared + copied // 2)
        taken = tf.where(
            (place >= 0) & (place < shared),
            tf.gather(self.body, tf.clip_by_value(place, 0, shared - 1)),
            tf.gather(self.edges, tf.clip_by_value(edge, 0, copied - 1)),
        )
        taken = tf.reshape(taken, [-1, *self.row_shape])
        return tf.cast(taken, tf.float32) if taken.dtype == tf.float64 else taken


def array_rows(array: Any) -> ArrayRows | None:
    """The rows of a NumPy array or tensor, which is not to be changed while they are used.

    Args:
        array: `[N, ...]`.

    Returns:
        The rows, or `None` where memory cannot be shared: of a NumPy array of a mebibyte or more
        that is read-only, has gaps, is not aligned, or is not of numbers in this byte order.

    Example:
        >>> import numpy as np
        >>> array = np.arange(300.0).reshape(100, 3)
        >>> array_rows(array).take(tf.constant([99, 0])).numpy().tolist()
        [[297.0, 298.0, 299.0], [0.0, 1.0, 2.0]]
        >>> array_rows(np.zeros((2000, 100, 2))[..., 0]) is None
        True
    """
    first = 0
    if not isinstance(array, np.ndarray) or array.nbytes < _WORTH_SHARING:
        body = tf.reshape(tf.convert_to_tensor(array), [-1])
        edges = tf.zeros([2 * _ALIGNMENT // body.dtype.size], body.dtype)
    elif _is_plain(array):
        flat = np.asarray(array).reshape(-1)
        copied = _ALIGNMENT // flat.itemsize
        first = -flat.ctypes.data % _ALIGNMENT // flat.itemsize
        shared = flat[first : len(flat) - copied + first]
        body = tf.experimental.dlpack.from_dlpack(shared.__dlpack__())
        edges = tf.convert_to_tensor(np.concatenate([flat[:copied], flat[-copied:]]))
    else:
        return None
    number_type = tf.int32 if math.prod(array.shape) <= tf.int32.max else tf.int64
    return ArrayRows(edges, body, tf.constant(first, number_type), tuple(map(int, array.shape[1:])))


def _is_plain(array: np.ndarray) -> bool:
    """Whether DLPack and TensorFlow take the memory of an array as it is."""
    flags = array.flags
    numbers = array.dtype.kind in "biuf" and array.dtype.itemsize <= 8 and array.dtype.isnative
    return numbers and flags.c_contiguous and flags.aligned and flags.writeable
