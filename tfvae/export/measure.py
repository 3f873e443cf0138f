"""What an export lost and what it costs: its report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import numpy as np
import tensorflow as tf

from tfvae import random
from tfvae.export.signatures import Signature

# Seeds of the inputs that are measured with: noise that no user's seed is likely to repeat.
_DATA_SEED, _ROW_SEED = 0x7F5A1, 0x7F5A2
_SECONDS = 0.1
_MAX_REPEATS = 30

Tensors = dict[str, np.ndarray]


def check_representative(model: Any, representative: Any) -> np.ndarray | None:
    """Checks example data.

    Args:
        model: the model.
        representative: `[M, *data_shape]`, or `None`.

    Returns:
        float32, or `None`.

    Raises:
        ValueError: if the shape is another, or a value is not finite.
    """
    if representative is None:
        return None
    data = np.asarray(representative, np.float32)
    if data.shape[1:] != tuple(model.data_shape) or not len(data) or not np.isfinite(data).all():
        raise ValueError(
            f"`representative` must be finite data of shape [M, {str(model.data_shape)[1:-1]}], "
            f"M at least 1. Received: shape {data.shape}"
        )
    return data


def example_inputs(
    model: Any, signature: Signature, batch: int, representative: np.ndarray | None
) -> Tensors:
    """Inputs that a signature may meet.

    Args:
        model: the model.
        signature: the signature.
        batch: the number of rows.
        representative: data `[M, *data_shape]`, taken in turn; uniform noise in (0, 1) if
            `None`. Codes are those of the data.

    Returns:
        An array for each input, by name.
    """
    data = example_data(model, signature, batch, representative)
    made = {
        "x": lambda: data,
        "a": lambda: data,
        "b": lambda: data[::-1],
        "z": lambda: _codes(model, data),
        "t": lambda: np.linspace(0, 1, batch, dtype=np.float32),
        "seed": lambda: random.seeds(_ROW_SEED, batch),
    }
    return {given.name: made[given.name]() for given in signature.inputs}


def example_data(
    model: Any, signature: Signature, batch: int, representative: np.ndarray | None
) -> np.ndarray:
    """Data `[batch, *data_shape]`, float32."""
    if representative is not None:
        return np.resize(representative, (batch, *representative.shape[1:]))
    size = int(np.prod(model.data_shape))
    noise = random.uniform(random.seeds(_DATA_SEED, batch), size).numpy()
    return noise.reshape(batch, *model.data_shape)


def _codes(model: Any, data: np.ndarray) -> np.ndarray:
    """Codes of data, or of the prior where the posterior has no mean."""
    try:
        return model.code(data).numpy()
    except NotImplementedError:
        return model.prior.draw(random.seeds(_ROW_SEED, len(data))).numpy()


def reference(signature: Signature, inputs: Mapping[str, np.ndarray]) -> Tensors:
    """What the Keras model itself answers; to be called inside `in_float32(model)`."""
    outputs = signature.function(**{name: tf.constant(value) for name, value in inputs.items()})
    return {name: value.numpy() for name, value in outputs.items()}


def errors(found: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The largest and the mean absolute difference of each output.

    Example:
        >>> errors({"x": np.array([1.0, 2.0])}, {"x": np.array([1.0, 2.5])})
        {'x': {'max_error': 0.5, 'mean_error': 0.25}}
    """
    report = {}
    for name, value in expected.items():
        difference = np.abs(np.asarray(found[name], np.float64) - np.asarray(value, np.float64))
        report[name] = {
            "max_error": float(f"{difference.max():.3g}"),
            "mean_error": float(f"{difference.mean():.3g}"),
        }
    return report


def milliseconds(call: Callable[[], Any]) -> float:
    """The median time of a call, after one that does not count.

    Args:
        call: what to time.

    Returns:
        Milliseconds.
    """
    call()
    times: list[float] = []
    while len(times) < _MAX_REPEATS and (len(times) < 3 or sum(times) < _SECONDS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(f"{1000 * median(times):.3g}")
