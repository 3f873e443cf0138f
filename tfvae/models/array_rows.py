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


class ArrayRows(tf.experimental.ExtensionType):
    """An array `[N, ...]` that TensorFlow reads where it lies.

    The elements before the first place where a buffer may begin are copied, all others are shared.

    Attributes:
        head: the first elements of the array, as many as 64 bytes hold.
        body: the elements from `first` on.
        first: their number, of a type that holds the number of any element.
        row_shape: of an example.
    """

    head: tf.Tensor
    body: tf.Tensor
    first: tf.Tensor
    row_shape: tf.TensorShape

    def take(self, rows: tf.Tensor) -> tf.Tensor:
        """The examples of these numbers, `[B, ...]` for `[B]`; float64 becomes float32."""
        size = tf.constant(math.prod(self.row_shape), self.first.dtype)
        number = tf.cast(rows, size.dtype)[:, tf.newaxis] * size + tf.range(size)
        last = tf.size(self.head, size.dtype) - 1
        in_head = tf.gather(self.head, tf.minimum(number, last))
        in_body = tf.gather(self.body, tf.maximum(number - self.first, 0))
        taken = tf.where(number < self.first, in_head, in_body)
        taken = tf.reshape(taken, [-1, *self.row_shape])
        return tf.cast(taken, tf.float32) if taken.dtype == tf.float64 else taken


def array_rows(array: Any) -> ArrayRows | None:
    """The rows of a NumPy array or tensor, which is not to be changed while they are used.

    Args:
        array: `[N, ...]`.

    Returns:
        The rows, or `None` where memory cannot be shared: of a NumPy array that is read-only, has
        gaps or another byte order, or holds less than 64 bytes.

    Example:
        >>> import numpy as np
        >>> array = np.arange(300.0).reshape(100, 3)
        >>> array_rows(array).take(tf.constant([99, 0])).numpy().tolist()
        [[297.0, 298.0, 299.0], [0.0, 1.0, 2.0]]
        >>> array_rows(array[:, ::2]) is None
        True
    """
    if not isinstance(array, np.ndarray):
        flat = body = tf.reshape(array, [-1])
        first = 0
    elif _is_plain(array):
        flat = array.reshape(-1)
        first = -flat.ctypes.data % _ALIGNMENT // flat.itemsize
        body = tf.experimental.dlpack.from_dlpack(flat[first:].__dlpack__())
    else:
        return None
    number_type = tf.int32 if len(flat) <= tf.int32.max else tf.int64
    return ArrayRows(
        head=tf.convert_to_tensor(flat[: _ALIGNMENT // body.dtype.size]),
        body=body,
        first=tf.constant(first, number_type),
        row_shape=array.shape[1:],
    )


def _is_plain(array: np.ndarray) -> bool:
    """Whether DLPack and TensorFlow take the memory of an array as it is."""
    flags = array.flags
    numbers = array.dtype.kind in "biuf" and array.dtype.itemsize <= 8 and array.dtype.isnative
    laid_out = flags.c_contiguous and flags.aligned and flags.writeable
    return numbers and laid_out and array.nbytes >= _ALIGNMENT
