"""A weight of the loss that follows a schedule: the layer that keeps its step.

The step is a weight: it is saved with the model, counted once a training step inside the compiled
step, whatever the number of steps in one execution, and the same on every replica.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfvae.layers.loss_weight import as_weight, weight_config
from tfvae.schedules import Schedule


class ScheduledWeight(keras.layers.Layer):
    """A schedule and the training step that it has come to; stands where a number stands.

    `step` is the number of training steps that have begun, so that the value is that of the
    current step while it runs, and stays so while a model is evaluated after it. A metric of the
    layer's name reports the value.

    Args:
        schedule: a schedule of `tfvae.schedules`.
        name: the name of the value, as it is logged.

    Example:
        >>> from tfvae.schedules import LinearWarmup
        >>> beta = ScheduledWeight(LinearWarmup(4), name="beta")
        >>> values = []
        >>> for _ in range(3):
        ...     beta.advance()
        ...     values.append(float(beta))
        >>> values
        [0.0, 0.25, 0.5]
    """

    def __init__(self, schedule: Schedule, name: str) -> None:
        super().__init__(name=name, dtype="float32", trainable=False)
        self.schedule = schedule
        self.step = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="int64",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
            name="step",
        )
        self.tracker = _CurrentValue(self)
        self.built = True

    def advance(self) -> None:
        """Begins the next training step."""
        self.step.assign(tf.convert_to_tensor(self.step) + 1)

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> tf.Tensor:
        value = self.schedule(tf.maximum(tf.convert_to_tensor(self.step) - 1, 0))
        return value if dtype is None else tf.cast(value, dtype)

    def __float__(self) -> float:
        return float(tf.convert_to_tensor(self))


class _CurrentValue(keras.metrics.Metric):
    """Reports a scheduled weight as it is now, which a mean over an epoch would blur."""

    def __init__(self, weight: ScheduledWeight) -> None:
        super().__init__(name=weight.name)
        # In a closure, because the weight owns the metric and not the other way round.
        self._read = lambda: tf.convert_to_tensor(weight)

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: the step is the state."""

    def result(self) -> tf.Tensor:
        return self._read()


def as_scheduled_weight(weight: Any, name: str, logged_as: str | None = None) -> Any:
    """As `as_weight`, and a schedule, or the configuration of one, as a `ScheduledWeight`.

    Args:
        weight: a number, a variable, a schedule, or what this function has returned.
        name: the name of the argument, for errors.
        logged_as: the name that the value of a schedule is logged under; `name` if `None`.

    Raises:
        ValueError: if `weight` is none of these.
    """
    if isinstance(weight, dict) and "class_name" in weight:
        weight = keras.saving.deserialize_keras_object(weight)
    if isinstance(weight, Schedule):
        return ScheduledWeight(weight, logged_as or name)
    return weight if isinstance(weight, ScheduledWeight) else as_weight(weight, name)


def scheduled_weight_config(weight: Any) -> Any:
    """The configuration of what `as_scheduled_weight` returns."""
    if isinstance(weight, ScheduledWeight):
        return keras.saving.serialize_keras_object(weight.schedule)
    return weight_config(weight)


def scheduled_weights(layer: keras.layers.Layer) -> list[ScheduledWeight]:
    """The scheduled weights that a layer or model holds, each once."""
    return [part for part in layer._flatten_layers() if isinstance(part, ScheduledWeight)]
