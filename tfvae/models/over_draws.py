"""Estimates from many draws, in parts that fit into memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfvae.distributions import MultivariateNormalDiag, plain
from tfvae.layers.seeded import unchanged_draws
from tfvae.models.blocks import NOT_COMPILED
from tfvae.models.execution import compiles_estimates

_LOG = logging.getLogger("tfvae")
# Rows of the decoder's input held at once.
_ROWS_AT_ONCE = 4096

OfDraws = Callable[[tf.Tensor, int], list[tf.Tensor]]
"""From a seed and a number of draws to several tensors `[B]`, of one batch."""


class Join(NamedTuple):
    """How the values of two chunks become one.

    Attributes:
        of_two: the operation, which is associative.
        nothing: what changes nothing.
    """

    of_two: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    nothing: float


SUM = Join(tf.add, 0.0)
LOG_SUM_EXP = Join(tfp.math.log_add_exp, float("-inf"))


def estimate(
    model: Any,
    key: str,
    chunk_fn: Callable[[tf.Tensor], OfDraws],
    join: Join,
    x: Any,
    num_samples: int,
    seed: int,
    batch_size: int,
) -> list[np.ndarray]:
    """Evaluates a function of a model, which keeps it compiled: by XLA where that pays and works.

    Args:
        model: a `LatentVariableModel`.
        key: its name for the function.
        chunk_fn: as for `in_chunks`.
        join: as for `over_draws`.
        x: as for `over_draws`; checked.
        num_samples: as for `over_draws`.
        seed: as for `over_draws`.
        batch_size: as for `over_draws`.

    Returns:
        An array `[N]` for each tensor.
    """
    _check_draws(num_samples)
    x = np.asarray(x)
    model._check_data(x)

    def estimated(jit_compile: bool) -> list[np.ndarray]:
        def compiled(draws: int) -> Callable[..., Any]:
            chunks = in_chunks(chunk_fn, join, draws)
            return model._compiled((key, draws), chunks, jit_compile)

        return over_draws(compiled, join, x, num_samples, seed, batch_size)

    if compiles_estimates(model, len(x) * num_samples) and _draws_alike(model, x):
        try:
            return estimated(jit_compile=True)
        except NOT_COMPILED as error:
            model._fell_back = True
            _LOG.info("%s estimates without XLA, which cannot compile it: %s", model.name, error)
    return estimated(jit_compile=False)


def _draws_alike(model: Any, x: np.ndarray) -> bool:
    """Whether a seed means the same draws of the posterior with and without XLA."""
    with unchanged_draws(model):
        q = plain(model.encode(x[:1]))
    return isinstance(q, MultivariateNormalDiag) or isinstance(
        getattr(q, "distribution", None), MultivariateNormalDiag
    )


def _check_draws(num_samples: Any) -> None:
    if isinstance(num_samples, bool) or not isinstance(num_samples, int) or num_samples < 1:
        raise ValueError(
            f"`num_samples` must be an integer of at least 1. Received: {num_samples!r}"
        )


def in_chunks(
    chunk_fn: Callable[[tf.Tensor], OfDraws], join: Join, draws: int
) -> Callable[..., Any]:
    """A function of a batch and the seeds of its chunks, `[n, 2]`, each of so many draws.

    A loop holds one chunk at a time, whatever their number. The posterior of the batch is computed
    once: an encoder that draws numbers of its own does so once for all.

    Args:
        chunk_fn: from a batch `[B, ...]` to what is computed of its draws.
        join: as for `over_draws`.
        draws: of a chunk.
    """

    def joined(batch: tf.Tensor, seeds: tf.Tensor) -> list[tf.Tensor]:
        of_draws = chunk_fn(batch)
        # Traced once, for what it returns and for the loop.
        chunk = tf.function(lambda seed: of_draws(seed, draws), autograph=False)
        chunk = chunk.get_concrete_function(tf.TensorSpec([2], tf.int32))

        def next_chunk(number: tf.Tensor, totals: list[tf.Tensor]) -> Any:
            values = chunk(seeds[number])
            return number + 1, [join.of_two(a, b) for a, b in zip(totals, values, strict=True)]

        count = tf.shape(seeds)[0]
        size = tf.shape(batch)[:1]
        nothing = [
            tf.fill(size, tf.cast(join.nothing, value.dtype)) for value in chunk.structured_outputs
        ]
        _, totals = tf.while_loop(lambda number, _: number < count, next_chunk, (0, nothing))
        return totals

    return joined


def over_draws(
    compiled: Callable[[int], Callable[..., Any]],
    join: Join,
    x: np.ndarray,
    num_samples: int,
    seed: int,
    batch_size: int,
) -> list[np.ndarray]:
    """Evaluates a function over batches of `x` and chunks of the draws.

    Args:
        compiled: from a number of draws to a function of a batch `[B, ...]` and the seeds of
            chunks of so many draws, int32 `[n, 2]`, to several tensors `[B]`; see `in_chunks`.
        join: makes one value of those of two chunks.
        x: data, `[N, ...]`.
        num_samples: number of draws.
        seed: an integer, of which each batch and chunk has another part of the noise.
        batch_size: how many examples are held at a time, at most.

    Returns:
        An array `[N]` for each tensor.

    Raises:
        ValueError: if `num_samples` is not a positive integer.

    Example:
        >>> def count(batch):
        ...     return lambda seed, draws: [tf.fill(tf.shape(batch), float(draws))]
        >>> over_draws(
        ...     lambda draws: in_chunks(count, SUM, draws), SUM, np.zeros(3, "f"), 5000, 0, 2
        ... )[0].tolist()
        [5000.0, 5000.0, 5000.0]
    """
    _check_draws(num_samples)
    # Batches of one size, and chunks of one size but perhaps the last: few programs serve all.
    number = -(-len(x) // batch_size)
    batch_size = -(-len(x) // number)
    chunk = _chunk_size(num_samples, max(1, _ROWS_AT_ONCE // batch_size))
    whole, rest = divmod(num_samples, chunk)

    joined = []
    for batch_number in range(number):
        part = x[batch_number * batch_size : (batch_number + 1) * batch_size]
        # The last batch is filled up with an example that is there already.
        filled = np.concatenate([part, np.repeat(part[-1:], batch_size - len(part), axis=0)])
        batch = tf.convert_to_tensor(filled, tf.float32)
        # One key a batch, folded with the chunk: no two chunks share their noise.
        seeds = np.stack([_fold_seed(seed, batch_number, place) for place in range(whole + 1)])
        total = compiled(chunk)(batch, tf.constant(seeds[:whole]))
        if rest:
            last = compiled(rest)(batch, tf.constant(seeds[whole:]))
            total = [join.of_two(a, b) for a, b in zip(total, last, strict=True)]
        joined.append([value.numpy()[: len(part)] for value in total])
    return [np.concatenate(values) for values in zip(*joined, strict=True)]


def _chunk_size(num_samples: int, most: int) -> int:
    """The largest part of the draws that fits and leaves no rest, or little less than what fits.

    Example:
        >>> _chunk_size(5000, 32), _chunk_size(7, 32), _chunk_size(101, 32)
        (25, 7, 26)
    """
    count = -(-num_samples // most)
    for chunk in range(min(num_samples, most), most // 2, -1):
        if num_samples % chunk == 0:
            return chunk
    return -(-num_samples // count)


def _fold_seed(seed: int, batch_number: int, chunk_number: int) -> np.ndarray:
    """A seed for TFP's stateless samplers that differs for every batch and chunk."""
    sequence = np.random.SeedSequence([seed & 0xFFFFFFFF, batch_number, chunk_number])
    return sequence.generate_state(2).astype(np.uint32).view(np.int32)
