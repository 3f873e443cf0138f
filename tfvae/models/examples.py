"""Checks of what the functions around a model are given."""

from __future__ import annotations

from typing import Any

import numpy as np


def as_batch(model: Any, x: Any, name: str = "x") -> tuple[np.ndarray, bool]:
    """Data as a batch, and whether it was a single example.

    Args:
        model: a model of `tfvae.models`.
        x: data `[N, *data_shape]`, or one example `data_shape`.
        name: what to call it in an error.

    Returns:
        `[N, *data_shape]` in the dtype it came in, and whether N is 1 for want of a batch.

    Raises:
        TypeError: if the model is none.
        ValueError: if the shape is another, or there are no examples.
    """
    shape = getattr(model, "data_shape", None)
    if shape is None:
        raise TypeError(
            "The model must be a built model of tfvae, such as `tfvae.VAE`, which knows the shape "
            f"of its data. Received: {model!r}"
        )
    x = np.asarray(x)
    single = x.shape == tuple(shape)
    batch = x[None] if single else x
    if batch.shape[1:] != tuple(shape) or not len(batch):
        raise ValueError(
            f"`{name}` must be examples [N, {', '.join(map(str, shape))}], or one of them. "
            f"Received: shape {x.shape}"
        )
    return batch, single


def check_choice(name: str, choice: Any, choices: tuple[str, ...]) -> None:
    """Raises `ValueError` unless the choice is one of those there are."""
    if choice not in choices:
        raise ValueError(f"`{name}` must be one of {choices}. Received: {choice!r}")
