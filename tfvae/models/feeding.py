"""What `fit` is fed: datasets or rows of arrays, so many steps, and if schedules have the time."""

from __future__ import annotations

import math
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfvae.data.array_batches import array_batches, array_blocks, fit_in_block, row_blocks
from tfvae.layers.scheduled_weight import scheduled_weights
from tfvae.models.array_rows import ArrayRows, array_rows
from tfvae.models.blocks import Feed

# Keras' own, where an array comes without one.
BATCH_SIZE = 32
ARRAYS = (np.ndarray, tf.Tensor)


def as_dataset(
    x: Any, sample_weight: Any = None, batch_size: int | None = None, shuffle: bool = False
) -> tf.data.Dataset:
    """Batches `(x,)`, or `(x, sample_weight, sample_weight)`: a target that is never looked at.

    Args:
        x: an array `[N, *data_shape]`.
        sample_weight: `[N]`, or `None`.
        batch_size: 32 if `None`.
        shuffle: whether every pass has an order of its own.
    """
    return array_batches(_with_weight(x, sample_weight), batch_size or BATCH_SIZE, shuffle)


def readable_rows(x: Any, sample_weight: Any) -> tuple[ArrayRows, ...] | None:
    """The parts of a batch as arrays that a program reads where they lie.

    `None` where one of them cannot be read so.
    """
    arrays = _with_weight(x, sample_weight)
    rows = tuple(rows for array in arrays if (rows := array_rows(array)) is not None)
    return rows if len(rows) == len(arrays) else None


def as_rows(
    arrays: tuple[ArrayRows, ...], size: int, batch_size: int | None, shuffle: bool, length: int
) -> Feed:
    """The blocks of `as_blocks` as numbers of rows, which a program takes of the arrays itself.

    They need no thread beside the training, nor the 30 ms that a dataset of them takes to make: the
    one here is for Keras to iterate over.
    """
    rows = row_blocks(size, batch_size or BATCH_SIZE, length, shuffle)
    return Feed(tf.data.Dataset.range(1), stacked=True, arrays=arrays, rows=rows)


def as_blocks(
    x: Any, sample_weight: Any, batch_size: int | None, shuffle: bool, length: int
) -> Feed | None:
    """The batches of `as_dataset`, so many at once; `None` if that is too much to hold."""
    arrays, size = _with_weight(x, sample_weight), batch_size or BATCH_SIZE
    if not fit_in_block(arrays, size, length):
        return None
    return Feed(array_blocks(arrays, size, length, shuffle), stacked=True)


def _with_weight(x: Any, sample_weight: Any) -> tuple[Any, ...]:
    if sample_weight is None:
        return (x,)
    sample_weight = np.asarray(sample_weight)
    if sample_weight.shape[:1] != (len(x),):
        raise ValueError(
            "`sample_weight` must have a value for each example. "
            f"Received: shape {sample_weight.shape} for {len(x)} examples"
        )
    return (x, sample_weight, sample_weight)


def split_off(part: float, *arrays: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The first `1 - part` of each array, and the rest; arrays that are `None` stay so.

    Raises:
        ValueError: if either would be empty.

    Example:
        >>> split_off(0.25, np.arange(8), None)
        ((array([0, 1, 2, 3, 4, 5]), None), (array([6, 7]), None))
    """
    size = len(arrays[0])
    kept = math.floor(size * (1.0 - part))
    if not 0 < kept < size:
        raise ValueError(
            "`validation_split` must leave examples on both sides. "
            f"Received: validation_split={part} of {size} examples"
        )
    first, rest = (
        tuple(None if array is None else array[side] for array in arrays)
        for side in (slice(None, kept), slice(kept, None))
    )
    return first, rest


def steps_of_epoch(
    x: Any,
    batch_size: int | None = None,
    steps: int | None = None,
) -> int | None:
    """The steps of a pass over the data; `None` where only the data itself knows.

    Args:
        x: as `fit` takes it.
        batch_size: of an array.
        steps: an explicit number, which is the answer.

    Example:
        >>> import numpy as np
        >>> steps_of_epoch(np.zeros((100, 2)), batch_size=8), steps_of_epoch(iter([]))
        (13, None)
    """
    if steps is None:
        if isinstance(x, tf.data.Dataset):
            steps = int(x.cardinality())
        elif hasattr(x, "shape"):
            steps = -(-int(x.shape[0]) // (batch_size or BATCH_SIZE))
        else:
            # The length of a `keras.utils.PyDataset` is its number of batches.
            steps = getattr(x, "num_batches", None)
    # Negative are the constants of infinite and unknown datasets.
    return None if steps is None or steps < 0 else steps


def warn_of_long_schedules(model: keras.Model, steps: int) -> None:
    """Warns of each schedule of `model` that does not end within `steps` more training steps."""
    for weight in scheduled_weights(model):
        end = int(tf.convert_to_tensor(weight.step)) + steps
        if end < weight.schedule.num_steps:
            reached = float(weight.schedule(max(end - 1, 0)))
            warnings.warn(
                f"The schedule of `{weight.name}` takes {weight.schedule.num_steps} training "
                f"steps, the training ends at {end}, with {weight.name} at {reached:.3g}: its "
                "figures are not those of the final value. Shorten the schedule or train longer. "
                f"Received: {weight.schedule!r}",
                UserWarning,
                stacklevel=3,
            )
