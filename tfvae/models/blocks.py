"""Several training steps in one call of a compiled function.

Keras has `steps_per_execution` for this, and three gaps in it: with `steps_per_epoch` the last
block of an epoch takes more steps than the epoch has; callbacks and the progress bar are told of
steps that were not run; and a step that XLA cannot compile ends the training. Here a block is as
long as the epoch allows, callbacks are told the last step that was run, and a choice of XLA that
was not the user's is taken back where it does not work.
"""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfvae.models.array_rows import ArrayRows

NOT_COMPILED = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)
"""What TensorFlow raises for an operation that XLA does not know."""


class Feed(NamedTuple):
    """What batches come from.

    Attributes:
        dataset: for Keras to iterate over.
        stacked: whether the data come in blocks, of `[steps, batch, ...]`.
        arrays: where the data are the numbers of rows, what to take them of; else `None`.
        rows: these numbers, which are taken in place of what Keras iterates over.
    """

    dataset: tf.data.Dataset | None = None
    stacked: bool = False
    arrays: tuple[ArrayRows, ...] | None = None
    rows: Iterator[tuple[np.ndarray]] | None = None


class Block:
    """Where a pass over the data is: what the callbacks say and the compiled function needs.

    Attributes:
        steps: steps of the pass; `None` where only the data know.
        batch_size: examples of the first batch; `None` where it has not been looked at.
        first: the step that the block begins with.
        done: steps that the last block took.
        feed: what the batches come from.
        in_use: whether a training is on its way.
    """

    def __init__(self) -> None:
        self.steps: int | None = None
        self.batch_size: int | None = None
        self.first = 0
        self.done = 0
        self.feed = Feed()
        self.in_use = False

    def length(self, most: int) -> int:
        """Steps of the block that begins now, of `most` at most."""
        return most if self.steps is None else max(1, min(most, self.steps - self.first))

    def rest_below(self, most: int) -> int:
        """Fewer examples make the block's last batch a rest, which ends a pass; 0 if none can."""
        ends = self.steps is not None and self.first + self.length(most) >= self.steps
        return self.batch_size or 0 if ends else 0

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Afterwards everything is as it was: a training may be called within another."""
        before = dict(vars(self))
        try:
            yield
        finally:
            vars(self).update(before)

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
    one_step = _on_replicas(model, step)
    if model.run_eagerly:
        run = _one_by_one(one_step)
    elif is_one_program(model):
        run = _in_one_program(one_step, fall_back is None)
    else:
        compiled = tf.function(
            one_step, jit_compile=model.jit_compile, reduce_retracing=True, autograph=False
        )
        run = _in_a_loop(compiled)
    # Whether a failure to compile is still to be expected, and not the user's own.
    on_trial = fall_back is not None and model.jit_compile

    def function(iterator: Any) -> dict[str, tf.Tensor]:
        nonlocal run, on_trial
        if inspect.isgenerator(iterator):  # the one batch of `train_on_batch`
            batches = _Batches(iterator, 1, 1)
        else:
            most = model.steps_per_execution
            _, stacked, arrays, rows = block.feed
            size = block.length(most), most, block.rest_below(most)
            batches = _Batches(rows or iterator, *size, stacked, arrays)
        if on_trial:
            batches.fetch()  # an error of the data is none of XLA's
        try:
            logs = run(batches)
        except NOT_COMPILED as error:
            if not on_trial or batches.in_rest:
                raise
            warnings.warn(_fallback_message(error), stacklevel=2)
            fall_back()
            run = _in_a_loop(tf.function(one_step, reduce_retracing=True, autograph=False))
            # Nothing of a program that was not compiled has run, of those before it all.
            logs = _one_by_one(one_step)(batches)
        on_trial = False
        block.done = batches.done
        return logs

    return function


def is_one_program(model: keras.Model) -> bool:
    """Whether a block of steps of this model is one program of XLA's."""
    alone = model.distribute_strategy.num_replicas_in_sync == 1
    return bool(model.jit_compile) and alone and not model.run_eagerly


class _Batches:
    """The batches of a block: those that were taken from the iterator, and how many were used.

    Args:
        iterator: what Keras iterates over, or the numbers of rows.
        length: batches of the block at most.
        most: batches of any block at most.
        rest_below: a last batch of fewer examples is a rest, see `Block`.
        stacked: whether what the iterator gives are several batches, `[n, batch, ...]`.
        arrays: see `Feed`.
    """

    def __init__(
        self,
        iterator: Any,
        length: int,
        most: int,
        rest_below: int = 0,
        stacked: bool = False,
        arrays: tuple[ArrayRows, ...] | None = None,
    ) -> None:
        self.iterator = iterator
        self.length = length
        self.most = most
        self.rest_below = rest_below
        self.stacked = stacked
        self.arrays = arrays
        self.done = 0
        self.in_rest = False
        self._taken: list[Any] = []

    def fetch(self) -> list[Any]:
        """What the iterator gives for the block; the same if asked again.

        Raises:
            StopIteration: if that is nothing.
        """
        left = 0 if self._taken else self.length
        while left > 0 and (element := next(self.iterator, None)) is not None:
            self._taken.append(_without_optionals(element))
            left -= _steps(element) if self.stacked else 1
        if not self._taken:
            raise StopIteration
        return self._taken

    def take(self) -> Iterator[Any]:
        """The batches of the block."""
        for element in self.fetch():
            if self.stacked:
                yield from (
                    _batch(element, number, self.arrays) for number in range(_steps(element))
                )
            else:
                yield element

    def stacks(self) -> list[Any]:
        """The same in stacks `[at most length, batch, ...]`."""
        elements = self.fetch()
        if self.stacked:
            return elements
        return [_each(_stack, *alike) for _, alike in itertools.groupby(elements, _shapes)]

    def is_rest(self, stack: Any) -> bool:
        """Whether this stack, the next one, is a smaller batch that ends the pass."""
        ends = self.done + 1 == self.length and _steps(stack) == 1
        return ends and _batch_size(stack) < self.rest_below


def _batch(stack: Any, number: Any, arrays: tuple[ArrayRows, ...] | None) -> Any:
    """One of the batches of a stack."""
    batch = _each(itemgetter(number), stack)
    if arrays is None:
        return batch
    (rows,) = batch
    return tuple(array.take(rows) for array in arrays)


def _each(function: Callable[..., Any], *batches: Any) -> Any:
    """The function of each part of batches; what was not given stays `None`."""
    return tf.nest.map_structure(
        lambda *parts: None if parts[0] is None else function(*parts), *batches
    )


def _stack(*parts: tf.Tensor) -> tf.Tensor:
    return tf.stack(parts)


def _filled(stack: Any, most: int) -> Any:
    """A stack of so many batches, of which those that are added are not to be looked at."""
    missing = most - _steps(stack)
    if not missing:
        return stack
    return _each(lambda part: tf.pad(part, [[0, missing], *[[0, 0]] * (part.ndim - 1)]), stack)


def _steps(stack: Any) -> int:
    return int(tf.nest.flatten(stack)[0].shape[0])


def _batch_size(stack: Any) -> int:
    return int(tf.nest.flatten(stack)[0].shape[1])


def _without_optionals(batch: Any) -> Any:
    """tf.data has no `None`: Keras puts an empty `Optional` where an array was not given."""
    return tf.nest.map_structure(
        lambda part: None if isinstance(part, tf.experimental.Optional) else part, batch
    )


def _on_replicas(
    model: keras.Model, step: Callable[[Any], dict[str, tf.Tensor]]
) -> Callable[[Any], dict[str, tf.Tensor]]:
    """The step under the model's strategy."""
    strategy = model.distribute_strategy

    def one_step(batch: Any) -> dict[str, tf.Tensor]:
        logs = strategy.run(step, args=(_without_optionals(batch),))
        if strategy.num_replicas_in_sync == 1:
            return logs
        return {name: strategy.reduce("MEAN", value, axis=None) for name, value in logs.items()}

    return one_step


def _one_by_one(one_step: Callable) -> Callable[[_Batches], dict[str, tf.Tensor]]:
    """Runs what is left of a block from Python: eager steps, and batches split among replicas."""

    def run(batches: _Batches) -> dict[str, tf.Tensor]:
        for batch in itertools.islice(batches.take(), batches.done, None):
            logs = one_step(batch)
            batches.done += 1
        return logs

    return run


def _in_a_loop(one_step: Callable) -> Callable[[_Batches], dict[str, tf.Tensor]]:
    """Runs a block in TensorFlow's own loop, which takes the batches from the iterator."""

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

    several = tf.function(several, reduce_retracing=True, autograph=False)
    one_by_one = _one_by_one(one_step)

    def run(batches: _Batches) -> dict[str, tf.Tensor]:
        if batches.stacked or not isinstance(batches.iterator, tf.data.Iterator):
            return one_by_one(batches)
        # Outside the compiled function: at the end of the data nothing of a step runs, counters
        # included. An `Optional` keeps the size of the last batch out of its type.
        first = batches.iterator.get_next_as_optional()
        if not first.has_value():
            raise StopIteration
        logs, done = several(first, batches.iterator, tf.constant(batches.length))
        batches.done = int(done)
        return logs

    return run


def _in_one_program(
    one_step: Callable, compile_rest: bool
) -> Callable[[_Batches], dict[str, tf.Tensor]]:
    """Runs a block as one program of XLA's, a loop whose state stays where it is.

    A program for each step would allocate weights and moments anew, and copy them, at every step:
    for a dense network of a million weights a quarter of its time. A short block is filled up with
    batches that are not looked at, so that one program serves all.

    Args:
        one_step: from a batch to logs.
        compile_rest: whether a smaller batch at the end of a pass is worth a program of its own,
            which takes as long to compile as the other.
    """

    def several(stack: Any, count: tf.Tensor, arrays: Any) -> dict[str, tf.Tensor]:
        def batch_of(number: tf.Tensor) -> Any:
            return _batch(stack, number, arrays)

        # Traced once; its outputs say what the loop carries.
        step = tf.function(one_step, autograph=False)
        logs_of = step.get_concrete_function(batch_of(tf.constant(0))).structured_outputs
        nothing = tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), logs_of)

        def next_step(done: tf.Tensor, logs: Any) -> Any:
            return done + 1, step(batch_of(done))

        _, logs = tf.while_loop(lambda done, logs: done < count, next_step, (0, nothing))
        return logs

    def rest(stack: Any, arrays: Any) -> dict[str, tf.Tensor]:
        return one_step(_batch(stack, 0, arrays))

    several = tf.function(several, jit_compile=True, reduce_retracing=True, autograph=False)
    rest = tf.function(rest, reduce_retracing=True, autograph=False)

    def run(batches: _Batches) -> dict[str, tf.Tensor]:
        for stack in batches.stacks():
            number = _steps(stack)
            batches.in_rest = not compile_rest and batches.is_rest(stack)
            if batches.in_rest:
                logs = rest(stack, batches.arrays)
            else:
                filled = _filled(stack, batches.most)
                logs = several(filled, tf.constant(number), batches.arrays)
            batches.done += number
        return logs

    return run


def all_before_any(gradients: list[Any]) -> list[Any]:
    """The same gradients, each of which depends on all: no weight changes before all are known.

    In a loop XLA updates a weight in place only where everything that reads the old one comes
    before by dependency; else it copies the weight at every step. The backward pass reads a weight
    for the gradients of the layers below it.

    Args:
        gradients: of each weight; `None` and sparse ones are left as they are.
    """
    dense = [gradient for gradient in gradients if isinstance(gradient, tf.Tensor)]
    finite = [tf.math.is_finite(tf.reshape(gradient, [-1])[0]) for gradient in dense]
    # Times 1 changes nothing; a gradient that is not finite ends the training in any case.
    one = tf.where(tf.reduce_all(finite), 1.0, float("nan"))
    return [
        gradient * tf.cast(one, gradient.dtype) if isinstance(gradient, tf.Tensor) else gradient
        for gradient in gradients
    ]


def _shapes(batch: Any) -> list[tuple[int, ...]]:
    return [tuple(part.shape) for part in tf.nest.flatten(batch) if part is not None]


def _fallback_message(error: Exception) -> str:
    first_line = str(error).strip().splitlines()[0][:300]
    return (
        "XLA cannot compile this model's training step, so it runs without: "
        f"`compile(jit_compile=False)` says so from the start. Received: {first_line}"
    )
