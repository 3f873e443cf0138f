"""Estimates from many draws, in parts that fit into memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

# Rows of the decoder's input held at once.
_ROWS_AT_ONCE = 4096


def over_draws(
    chunk_fn: Callable[..., Any],
    join: Callable[..., Any],
    x: np.ndarray,
    num_samples: int,
    seed: int,
    batch_size: int,
) -> list[np.ndarray]:
    """Evaluates `chunk_fn(batch, seed, draws)` over batches of `x` and chunks of the draws.

    Args:
        chunk_fn: returns several tensors `[B]` for a batch `[B, ...]`, a seed int32 `[2]` and a
            number of draws.
        join: makes one value of those of two chunks.
        x: data, `[N, ...]`.
        num_samples: number of draws.
        seed: an integer, of which each batch and chunk has another part of the noise.
        batch_size: how many examples are held at a time.

    Returns:
        An array `[N]` for each tensor of `chunk_fn`.

    Raises:
        ValueError: if `num_samples` is not a positive integer.

    Example:
        >>> def count(batch, seed, draws):
        ...     return [tf.fill(tf.shape(batch), draws)]
        >>> over_draws(count, np.add, np.zeros(3, "f"), 5000, seed=0, batch_size=2)[0].tolist()
        [5000, 5000, 5000]
    """
    if isinstance(num_samples, bool) or not isinstance(num_samples, int) or num_samples < 1:
        raise ValueError(
            f"`num_samples` must be an integer of at least 1. Received: {num_samples!r}"
        )
    chunk = max(1, min(num_samples, _ROWS_AT_ONCE // min(batch_size, len(x))))
    sizes = [chunk] * (num_samples // chunk)
    if num_samples % chunk:
        sizes.append(num_samples % chunk)
    joined = []
    for batch_number, start in enumerate(range(0, len(x), batch_size)):
        batch = tf.convert_to_tensor(x[start : start + batch_size], tf.float32)
        # One key a batch, folded with the chunk: no two chunks share their noise.
        parts = [
            chunk_fn(batch, tf.constant(_fold_seed(seed, batch_number, number)), draws)
            for number, draws in enumerate(sizes)
        ]
        parts = [[np.asarray(value) for value in part] for part in parts]
        total = parts[0]
        for part in parts[1:]:
            total = [join(a, b) for a, b in zip(total, part, strict=True)]
        joined.append(total)
    return [np.concatenate(values) for values in zip(*joined, strict=True)]


def _fold_seed(seed: int, batch_number: int, chunk_number: int) -> np.ndarray:
    """A seed for TFP's stateless samplers that differs for every batch and chunk."""
    sequence = np.random.SeedSequence([seed & 0xFFFFFFFF, batch_number, chunk_number])
    return sequence.generate_state(2).astype(np.uint32).view(np.int32)
