"""How a vector of parameters is laid out over an event, the same way for every family.

Parameters are `[..., params_size]`. A family with `k` parameters an element splits the last axis
into `k` equal parts, each then reshaped to `[..., *event_shape]`: the order of `tfp.layers`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf


def event_shape_tuple(event_shape: Any) -> tuple[int, ...]:
    """Returns the shape as a tuple; an integer is the shape of a vector.

    Raises:
        ValueError: if a dimension is not a positive integer.

    Example:
        >>> event_shape_tuple(5), event_shape_tuple([28, 28, 1]), event_shape_tuple(())
        ((5,), (28, 28, 1), ())
    """
    dims = event_shape if isinstance(event_shape, Sequence) else np.ravel(event_shape).tolist()
    if isinstance(event_shape, str) or not all(
        isinstance(d, (int, np.integer)) and not isinstance(d, bool) and d >= 1 for d in dims
    ):
        raise ValueError(
            "`event_shape` must be an integer or a sequence of integers, each at least 1. "
            f"Received: {event_shape!r}"
        )
    return tuple(int(d) for d in dims)


def event_size(event_shape: Any) -> int:
    """Number of elements of an event, 1 for a scalar."""
    return math.prod(event_shape_tuple(event_shape))


def split_parameters(params: Any, event_shape: Any, parts: int = 1) -> list[tf.Tensor]:
    """Splits `[..., parts * event_size]` into `parts` tensors `[..., *event_shape]`.

    Raises:
        ValueError: if the last axis has another size, saying which one is needed.
    """
    params = tf.convert_to_tensor(params)
    event_shape = event_shape_tuple(event_shape)
    needed = parts * event_size(event_shape)
    if params.shape.rank is None or params.shape.rank < 1 or params.shape[-1] != needed:
        raise ValueError(
            f"{parts} parameter(s) an element of an event of shape {event_shape} need a last axis "
            f"of size {needed}: end the network in a layer of `params_size(...)` units. "
            f"Received: parameters of shape {tuple(params.shape)}"
        )
    return [reshape_last_axis(part, event_shape) for part in tf.split(params, parts, axis=-1)]


def reshape_last_axis(params: tf.Tensor, shape: Any) -> tf.Tensor:
    """Reshapes `[..., n]` to `[..., *shape]`, keeping what is known of the batch dimensions."""
    batch = params.shape[:-1].as_list()
    if batch.count(None) > 1:
        batch = tf.unstack(tf.shape(params)[:-1], num=len(batch))
    else:
        batch = [-1 if d is None else d for d in batch]
    return tf.reshape(params, [*batch, *shape])


def positive_integer(value: Any, name: str, least: int = 1) -> int:
    """Returns `value` as an integer.

    Raises:
        ValueError: if it is not an integer of at least `least`.
    """
    is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_integer or value < least:
        raise ValueError(f"`{name}` must be an integer of at least {least}. Received: {value!r}")
    return int(value)


def split_mixture(params: Any, num_components: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Splits `[..., K * (1 + n)]` into logits `[..., K]` and components' parameters `[..., K, n]`.

    Raises:
        ValueError: if the last axis is not a multiple of the number of components `K`.
    """
    params = tf.convert_to_tensor(params)
    size = params.shape[-1] if params.shape.rank else None
    if size is None or size <= num_components or size % num_components:
        raise ValueError(
            f"A mixture of {num_components} component(s) needs {num_components} * (1 + n) "
            "parameters, with n those of a component: end the network in a layer of "
            f"`params_size(...)` units. Received: parameters of shape {params.shape}"
        )
    components = params[..., num_components:]
    n = size // num_components - 1
    return params[..., :num_components], reshape_last_axis(components, [num_components, n])
