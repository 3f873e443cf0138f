"""How many training steps a call of `fit` will take, and whether a schedule has time to end."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import tensorflow as tf

from tfvae.layers.scheduled_weight import scheduled_weights


def planned_steps(
    x: Any,
    batch_size: int | None = None,
    epochs: int = 1,
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
    validation_split: float = 0.0,
    **others: Any,
) -> int | None:
    """The training steps of `fit` with these arguments; `None` where only the data itself knows.

    Example:
        >>> import numpy as np
        >>> planned_steps(np.zeros((100, 2)), batch_size=8, epochs=3), planned_steps(iter([]))
        (39, None)
    """
    del others
    if steps_per_epoch is None:
        if isinstance(x, tf.data.Dataset):
            steps_per_epoch = int(x.cardinality())
        elif hasattr(x, "shape"):
            examples = int(x.shape[0] * (1.0 - validation_split))
            steps_per_epoch = -(-examples // (batch_size or 32))
        else:
            # The length of a `keras.utils.PyDataset` is its number of batches.
            steps_per_epoch = getattr(x, "num_batches", None)
    # Negative are the constants of infinite and unknown datasets.
    if steps_per_epoch is None or steps_per_epoch < 0:
        return None
    return steps_per_epoch * max(0, epochs - initial_epoch)


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
