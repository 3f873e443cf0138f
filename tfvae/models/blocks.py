"""Several training steps in one call of a compiled function.

Keras has `steps_per_execution` for this, and three gaps in it: with `steps_per_epoch` the last
block of an epoch takes more steps than the epoch has; callbacks and the progress bar are told of
steps that were not run; and a step that XLA cannot compile ends the training. Here a block is as
long as the epoch allows, callbacks are told the last step that was run, and a choice of XLA that
was not the user's is taken back where it does not work.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

# What TensorFlow raises for an operation that XLA does not know.
_NOT_COMPILED = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)


class Block:
    """Where a pass over the data is: what the callbacks say and the compiled function needs.

    Attributes:
        steps: steps of the pass; `None` where only the data know.
        first: the step that the block begins with.
        done: steps that the last block took.
    """

    def __init__(self) -> None:
        self.steps: int | None = None
        self.first = 0
        self.done = 0

    def length(self, most: int) -> int:
        """Steps of the block that begins now, of `most` at most."""
        return most if self.steps is None else max(1, min(most, self.steps - self.first))

    def last(self) -> int:
        """The number of the last step that was run."""
        return self.first + max(1, self.done) - 1


class BlockCallbacks(keras.callbacks.CallbackList):
    """Callbacks that are told of the steps that were run.

    Args:
        training: the block of the training.
        evaluation: the block of an evaluation.
        callbacks: as `fit` takes them.
        **options: as for Keras' own list.
    """

    def __init__(self, training: Block, evaluation: Block, callbacks: Any, **options: Any) -> None:
        self._training = training
        self._evaluation = evaluation
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = callbacks.callbacks
        super().__init__(callbacks, **options)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._training.first = batch
        super().on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_end(self._training.last(), logs)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._evaluation.first = batch
        super().on_test_batch_begin(batch, logs)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        super().on_test_batch_end(self._evaluation.last(), logs)


def block_function(
    model: keras.Model,
    step: Callable[[Any], dict[str, tf.Tensor]],
    block: Block,
    fall_back: Callable[[], None] | None,
) -> Callable[[Any], dict[str, tf.Tensor]]:
    """A function that takes the next block of steps from an iterator and returns the last logs.

    Args:
        model: gives the strategy, `run_eagerly`, `jit_compile` and `steps_per_execution`.
        step: one step, from a batch to logs.
        block: is asked how long the block is, and told how many steps it took.
        fall_back: called where XLA cannot compile the step, to go on without; `None` if the user
            asked for XLA, and gets its error.

    Returns:
        As `keras.Model.make_train_function` must leave it in `train_function`.
    """
    one_step, several = _compiled(model, step, model.jit_compile)
    checked = fall_back is None or not model.jit_compile

    def function(iterator: Any) -> dict[str, tf.Tensor]:
        nonlocal one_step, several, checked
        length = block.length(model.steps_per_execution)
        if not isinstance(iterator, tf.data.Iterator):
            # A generator, or batches that are split among replicas.
            block.done = 0
            for batch in itertools.islice(iterator, length):
                logs = one_step(batch)
                block.done += 1
            if block.done == 0:
                raise StopIteration
            return logs
        # Outside the compiled function: at the end of the data nothing of a step runs, counters
        # included, and a batch that XLA fails on can be taken again.
        first = _next(iterator)
        try:
            logs, done = several(first, iterator, tf.constant(length))
        except _NOT_COMPILED as error:
            if checked:
                raise
            warnings.warn(_fallback_message(error), stacklevel=2)
            fall_back()
            one_step, several = _compiled(model, step, False)
            logs, done = several(first, iterator, tf.constant(length))
        checked = True
        block.done = int(done)
        return logs

    return function


def _next(iterator: tf.data.Iterator) -> tf.experimental.Optional:
    """The next batch: as an `Optional`, which keeps the size of the last batch out of its type."""
    batch = iterator.get_next_as_optional()
    if not batch.has_value():
        raise StopIteration
    return batch


def _compiled(
    model: keras.Model, step: Callable[[Any], dict[str, tf.Tensor]], jit_compile: bool
) -> tuple[Callable, Callable]:
    """One step of a batch, and up to a number of steps of an iterator."""
    strategy = model.distribute_strategy

    def one_step(batch: Any) -> dict[str, tf.Tensor]:
        # tf.data has no `None`: Keras puts an empty `Optional` where an array was not given.
        batch = tf.nest.map_structure(
            lambda part: None if isinstance(part, tf.experimental.Optional) else part, batch
        )
        logs = strategy.run(step, args=(batch,))
        if strategy.num_replicas_in_sync == 1:
            return logs
        return {name: strategy.reduce("MEAN", value, axis=None) for name, value in logs.items()}

    def several(
        first: Any, iterator: Any, length: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        logs = one_step(first.get_value())

        def more(done: tf.Tensor, has_more: tf.Tensor, logs: Any) -> tf.Tensor:
            return tf.logical_and(has_more, done < length)

        def next_step(done: tf.Tensor, has_more: tf.Tensor, logs: Any) -> Any:
            batch = iterator.get_next_as_optional()
            has_more = batch.has_value()
            logs = tf.cond(has_more, lambda: one_step(batch.get_value()), lambda: logs)
            return done + tf.cast(has_more, tf.int32), has_more, logs

        done, _, logs = tf.while_loop(more, next_step, (1, True, logs))
        return logs, done

    if model.run_eagerly:

        def several_eagerly(first: Any, iterator: Any, length: tf.Tensor) -> Any:
            logs, done = one_step(first.get_value()), 1
            # In this order, so that no batch is taken and dropped.
            for _, batch in zip(range(int(length) - 1), iterator, strict=False):
                logs, done = one_step(batch), done + 1
            return logs, done

        return one_step, several_eagerly
    one_step = tf.function(
        one_step, jit_compile=jit_compile, reduce_retracing=True, autograph=False
    )
    return one_step, tf.function(several, reduce_retracing=True, autograph=False)


def _fallback_message(error: Exception) -> str:
    first_line = str(error).strip().splitlines()[0][:300]
    return (
        "XLA cannot compile this model's training step, so it runs without: "
        f"`compile(jit_compile=False)` says so from the start. Received: {first_line}"
    )
