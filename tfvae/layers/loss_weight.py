"""The weight of a term of the loss: a number, or a variable that a schedule or a training moves."""

from __future__ import annotations

from typing import Any

import keras


def as_weight(weight: Any, name: str = "weight") -> Any:
    """A number as a float, a variable as it is; the configuration of a variable as a new one.

    Raises:
        ValueError: if `weight` is neither a finite number that is not negative nor a variable.
    """
    if isinstance(weight, dict):
        return keras.Variable(
            weight["value"], dtype=weight["dtype"], trainable=weight["trainable"], name="weight"
        )
    if isinstance(weight, keras.Variable):
        return weight
    if (
        isinstance(weight, bool)
        or not isinstance(weight, (int, float))
        or not 0 <= weight < float("inf")
    ):
        raise ValueError(
            f"`{name}` must be a finite number that is not negative, or a `keras.Variable`. "
            f"Received: {weight!r}"
        )
    return float(weight)


def weight_config(weight: Any) -> Any:
    """The configuration of what `as_weight` returns: a number, or a variable's value and kind."""
    if isinstance(weight, keras.Variable):
        return {
            "value": float(weight.numpy()),
            "dtype": weight.dtype,
            "trainable": weight.trainable,
        }
    return weight
