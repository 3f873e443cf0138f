"""How the autoencoders train: each states its cost of an example in nats, and `fit` is Keras' own.

Keras' own step hands a loss the prediction alone, but the cost needs the posterior and the
likelihood of the same forward pass, weighted by example. How the steps are run is decided in
`execution`, and done in `blocks`.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.data import check_images
from tfvae.distributions import float_dtype
from tfvae.models.array_rows import ArrayRows
from tfvae.models.blocks import (
    Block,
    BlockCallbacks,
    Feed,
    all_before_any,
    block_function,
    is_one_program,
)
from tfvae.models.execution import AUTO, Execution, choose_execution, on_accelerator
from tfvae.models.feeding import (
    ARRAYS,
    BATCH_SIZE,
    as_blocks,
    as_dataset,
    as_rows,
    readable_rows,
    split_off,
    steps_of_epoch,
    warn_of_long_schedules,
)

_LOG = logging.getLogger("tfvae")


class ExampleTerms(NamedTuple):
    """What one forward pass says of each example.

    Attributes:
        cost: what is minimised, `[B]`, in nats.
        terms: its parts by the name they are logged under, each `[B]`.
        likelihood: p(x|z), for metrics that the user adds.
    """

    cost: tf.Tensor
    terms: dict[str, tf.Tensor]
    likelihood: tfd.Distribution


class TrainedOnExamples(keras.Model):
    """Abstract base of models that are trained to a cost of their own for each example.

    Attributes:
        term_trackers: for each part of the cost, by the name it is logged under, its running mean.
    """

    term_trackers: dict[str, keras.metrics.Mean]
    jit_compile: bool
    train_function: Callable | None
    test_function: Callable | None
    # What `compile` was asked for, and whether XLA turned out not to compile the step.
    _asked: dict[str, Any]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._training_block = Block()
        self._evaluation_block = Block()
        self._fell_back = False
        self._rows_compiled_for: int | None = None
        self._asked = {"jit_compile": AUTO, "steps_per_execution": AUTO}

    @abstractmethod
    def example_terms(self, x: tf.Tensor, training: bool) -> ExampleTerms:
        """One forward pass of a batch `[B, *data_shape]`."""

    @abstractmethod
    def data_support(self) -> tuple[float, float] | None:
        """The interval that data must lie in, if the likelihood says so."""

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        # Keras lists those of a layer inside a layer twice.
        return list(dict.fromkeys(super().metrics))

    def compile(
        self,
        optimizer: Any = None,
        loss: Any = None,
        jit_compile: bool | str = AUTO,
        steps_per_execution: int | str = AUTO,
        **kwargs: Any,
    ) -> None:
        """Prepares `fit`; the loss is the model's own.

        Args:
            optimizer: a Keras optimizer or its name; Adam with a learning rate of 1e-3 if `None`.
            loss: must be `None`.
            jit_compile: whether XLA compiles the step; `"auto"` decides from the network, the
                device and the strategy, see `execution`, and against it for a last batch that is
                smaller, which would need a second program.
            steps_per_execution: training steps between two returns to Python, which callbacks are
                called in; `"auto"` takes what a fraction of a second holds, and one if a callback
                wants to be called after every step.
            **kwargs: as for `keras.Model.compile`; `metrics` are called with the data and the
                likelihood, `metric(x, p)`.

        Raises:
            ValueError: if a loss is given.
        """
        if loss is not None:
            raise ValueError(
                f"{type(self).__name__} brings its own loss, the cost of an example in nats: "
                "choose the likelihood by the decoder's last layer and the latent's cost by "
                "`regularizer`. "
                f"Received: loss={loss!r}"
            )
        self._fell_back = False
        self._asked = {"jit_compile": jit_compile, "steps_per_execution": steps_per_execution}
        super().compile(
            optimizer=keras.optimizers.Adam(1e-3) if optimizer is None else optimizer,
            jit_compile=jit_compile is True,
            steps_per_execution=1 if steps_per_execution == AUTO else steps_per_execution,
            **kwargs,
        )

    def get_compile_config(self) -> dict[str, Any] | None:
        config = super().get_compile_config()
        return {**config, **self._asked} if config else config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def execution(
        self,
        batch_size: int = 32,
        steps: int | None = None,
        callbacks: Any = None,
        held: bool = True,
    ) -> Execution:
        """How `fit` runs this model with batches of this size, and why.

        Args:
            batch_size: examples in a batch.
            steps: training steps of an epoch, if known.
            callbacks: of `fit`.
            held: whether batches wait in memory until they are used, as those of a dataset and of
                a validation do. Where XLA's program reads an array by itself, and there is no
                validation, they do not, and a block is as long as a fraction of a second holds.

        Raises:
            ValueError: if the model is not built.
        """
        if not self.built:
            raise ValueError(
                "How a model is run depends on its layers' shapes: build it first, or call it on "
                f"data. Received: {self.name!r} without weights"
            )
        return choose_execution(
            self, batch_size, steps, **self._asked, callbacks=callbacks, held=held
        )

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Trains on data alone; see `keras.Model.fit` for every other argument.

        Args:
            x: data `[N, *data_shape]`, or a dataset of batches `x`, `(x, y)` or
                `(x, y, sample_weight)`. Labels `y` are ignored.
            y: ignored, so that a labelled pipeline serves as it is.
            batch_size: examples in a batch where `x` is an array; 32 if `None`.
            epochs: the epoch to end after.
            verbose: 0 is silent, 1 a bar, 2 a line for each epoch.
            callbacks: Keras callbacks.
            validation_split: share of an array, at its end, to validate on.
            validation_data: data as `x`, or `(x, y)` or `(x, y, sample_weight)`.
            shuffle: whether an array has a new order in every epoch.
            sample_weight: what each example of an array counts, `[N]`.
            **kwargs: as for `keras.Model.fit`.

        Returns:
            Keras' history: for each epoch the loss and its parts in nats an example.

        Raises:
            ValueError: if the data is outside the likelihood's support, not finite or empty.

        Warns:
            UserWarning: if a schedule is longer than the training, which then ends on the way; or
                if `jit_compile="auto"` chose XLA, and it cannot compile the step.
        """
        shape = self._check_data(x, batch_size)
        if isinstance(x, ARRAYS):
            if validation_split and validation_data is None:
                (x, sample_weight), (held_out, weight) = split_off(
                    validation_split, x, sample_weight
                )
                validation_data = (held_out, None, weight)
        else:
            kwargs.update(batch_size=batch_size, validation_split=validation_split)
        size = kwargs.pop("validation_batch_size", None) or batch_size
        given = kwargs.get("steps_per_epoch")
        steps = steps_of_epoch(x, batch_size, given)
        if steps is not None:
            left = max(0, epochs - kwargs.get("initial_epoch", 0))
            warn_of_long_schedules(self, steps * left)
        self._build_for(shape)
        rows = self._rows_of(x, sample_weight) if given is None else None
        block = self._training_block
        if isinstance(x, tf.data.Dataset) and given is not None:
            # Keras counts a short block as a long one, and would take a dataset of known size to be
            # at its end before it is. The filter makes the size unknown, and keeps everything.
            x = x.filter(lambda *batch: True)
        # A callback may have begun this training in another, which then goes on as it was.
        with self._steps_for_now() if block.in_use else nullcontext(), block.kept():
            block.in_use = True
            # Keras validates in blocks as long as the training's, of batches that are held.
            self._prepare(shape, steps, callbacks, held=rows is None or validation_data is not None)
            block.steps, block.batch_size = steps, shape[0] if shape else None
            if isinstance(x, ARRAYS):
                arrays = x, sample_weight, batch_size, shuffle
                in_blocks = self._blocks_of(*arrays, rows) if given is None else None
                block.feed = in_blocks or Feed(as_dataset(*arrays))
                x = block.feed.dataset
                y = sample_weight = None
                if given is None:
                    # One iterator for all epochs, which is ready for the next where one ends.
                    kwargs["steps_per_epoch"] = steps
                    x = x.repeat()
            history = super().fit(
                x,
                _target(y, sample_weight),
                epochs=epochs,
                verbose=verbose,
                callbacks=BlockCallbacks(
                    block,
                    self._evaluation_block,
                    callbacks,
                    add_history=True,
                    add_progbar=verbose != 0,
                    verbose=verbose,
                    epochs=epochs,
                    steps=steps,
                    model=self,
                ),
                validation_data=self._as_validation(validation_data, size),
                # A dataset has an order; Keras warns that it will not give it another.
                shuffle=shuffle and not isinstance(x, tf.data.Dataset),
                sample_weight=sample_weight,
                **kwargs,
            )
        if steps is None:
            warn_of_long_schedules(self, 0)
        return history

    def _rows_of(self, x: Any, sample_weight: Any) -> tuple[ArrayRows, ...] | None:
        """Arrays, where a program may take its batches out of them by itself."""
        alone = self.distribute_strategy.num_replicas_in_sync == 1
        if not isinstance(x, ARRAYS) or not alone or self.run_eagerly or on_accelerator():
            return None
        if not self._is_built_throughout():
            return None
        if self.train_function is None:
            self._rows_compiled_for = None
        # A program of rows is compiled for their number; one of blocks serves all numbers.
        at_hand = self._rows_compiled_for in (None, len(x))
        return readable_rows(x, sample_weight) if at_hand else None

    def _blocks_of(
        self,
        x: Any,
        sample_weight: Any,
        batch_size: int | None,
        shuffle: bool,
        rows: tuple[ArrayRows, ...] | None,
    ) -> Feed | None:
        """Arrays in blocks, where a block is one program; `None` where single batches are better.

        Keras looks at the first element to build what is not built.
        """
        if not is_one_program(self) or not self._is_built_throughout():
            return None
        how = batch_size, shuffle, self.steps_per_execution
        if rows is None:
            return as_blocks(x, sample_weight, *how)
        self._rows_compiled_for = len(x)
        return as_rows(rows, len(x), *how)

    def _is_built_throughout(self) -> bool:
        """Whether Keras has nothing left to build, of layers and of metrics."""
        metrics = self._compile_metrics
        return all(layer.built for layer in self._flatten_layers()) and (
            metrics is None or metrics.built
        )

    def _as_validation(self, data: Any, batch_size: int | None) -> Any:
        """Checked, and arrays as a dataset, which Keras iterates after every epoch."""
        if data is None or isinstance(data, tf.data.Dataset):
            return data
        x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if not isinstance(x, ARRAYS):
            return data
        self._check_data(x)
        return as_dataset(x, sample_weight, batch_size)

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Measures the cost and its parts; `fit` does so on its validation data.

        Args:
            x: data, as for `fit`.
            y: ignored.
            batch_size: as for `fit`.
            verbose: as for `fit`.
            sample_weight: as for `fit`.
            steps: batches to measure on; all of them if `None`.
            callbacks: Keras callbacks.
            **kwargs: as for `keras.Model.evaluate`.

        Returns:
            As `keras.Model.evaluate`.

        Raises:
            ValueError: if the data is outside the likelihood's support, not finite or empty.
        """
        shape = self._check_data(x, batch_size)
        if isinstance(x, ARRAYS):
            x = as_dataset(x, sample_weight, batch_size)
            y = sample_weight = None
        else:
            kwargs.update(batch_size=batch_size)
        number = steps_of_epoch(x, batch_size, steps)
        with self._steps_for_now():
            if not isinstance(callbacks, BlockCallbacks):  # as they come from `fit`
                self._build_for(shape)
                self._prepare(shape, number, callbacks)
                callbacks = BlockCallbacks(
                    self._training_block,
                    self._evaluation_block,
                    callbacks,
                    add_progbar=verbose != 0,
                    verbose=verbose,
                    epochs=1,
                    steps=number,
                    model=self,
                )
            self._evaluation_block.steps = number
            self._evaluation_block.batch_size = shape[0] if shape else None
            return super().evaluate(
                x,
                _target(y, sample_weight),
                verbose=verbose,
                sample_weight=sample_weight,
                steps=steps,
                callbacks=callbacks,
                **kwargs,
            )

    def predict(self, x: Any, **kwargs: Any) -> Any:
        """As `keras.Model.predict`: what `p(x|z)` is as a tensor, batch by batch."""
        with self._steps_for_now():
            if self.compiled and self._asked["steps_per_execution"] == AUTO:
                # Keras unrolls the steps of a prediction, instead of looping.
                self.steps_per_execution = 1
            return super().predict(x, **kwargs)

    @contextmanager
    def _steps_for_now(self) -> Iterator[None]:
        """Afterwards an execution has its steps back: a `fit` whose callback asks goes on by it."""
        steps = self.steps_per_execution
        try:
            yield
        finally:
            self.steps_per_execution = steps

    def _build_for(self, shape: tuple[int, ...] | None) -> None:
        """Builds the model for batches of this shape, if it is to be trained and not built."""
        if self.compiled and shape is not None and not self.built:
            with self.distribute_strategy.scope():
                self.build((None, *shape[1:]))

    def _prepare(
        self, shape: tuple[int, ...] | None, steps: int | None, callbacks: Any, held: bool = True
    ) -> None:
        """Decides how to run batches of this shape; other functions are made where it matters."""
        if not self.compiled or shape is None:
            return
        chosen = self.execution(shape[0], steps, callbacks, held)
        if chosen.jit_compile != self.jit_compile and not self._fell_back:
            self.jit_compile = chosen.jit_compile
            self.train_function = self.test_function = self._rows_compiled_for = None
        self.steps_per_execution = chosen.steps_per_execution
        _LOG.info("%s runs %s", self.name, chosen)

    def make_train_function(self, force: bool = False) -> None:
        if self.built and not self.optimizer.built:
            # A step whose first trace makes the optimizer's variables is traced a second time.
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        if self.train_function is None or force:
            self.train_function = self._in_blocks(self.train_step, self._training_block)

    def make_test_function(self, force: bool = False) -> None:
        if self.test_function is None or force:
            self.test_function = self._in_blocks(self.test_step, self._evaluation_block)

    def _in_blocks(self, step: Callable, block: Block) -> Callable:
        fall_back = self._fall_back if self._asked["jit_compile"] == AUTO else None
        return block_function(self, step, block, fall_back)

    def _fall_back(self) -> None:
        self.jit_compile = False
        self._fell_back = True

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = self._minimised(x, sample_weight, training=True)
            scaled = self.optimizer.scale_loss(loss)
        weights = self.trainable_weights
        gradients = tape.gradient(scaled, weights)
        if self.jit_compile:
            gradients = all_before_any(gradients)
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return self.get_metrics_result()

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        self._minimised(x, sample_weight, training=False)
        return self.get_metrics_result()

    def _minimised(self, x: tf.Tensor, sample_weight: Any, training: bool) -> tf.Tensor:
        """The mean cost of the batch plus the networks' own penalties; updates the metrics."""
        x = self._as_data(x)
        if not self.built:
            self.build(x.shape)
        cost, terms, p = self.example_terms(x, training)
        if sample_weight is None:
            weigh = tf.identity
        else:
            weight = tf.reshape(tf.cast(sample_weight, cost.dtype), [-1])
            weigh = weight.__mul__
        penalties = [tf.cast(penalty, cost.dtype) for penalty in self.losses]
        loss = tf.add_n([tf.reduce_mean(weigh(cost)), *penalties])
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(cost)[0])
        for name, tracker in self.term_trackers.items():
            tracker.update_state(weigh(terms[name]))
        self.compute_metrics(x, x, p, sample_weight)
        return loss / tf.distribute.get_strategy().num_replicas_in_sync

    def _as_data(self, x: Any) -> tf.Tensor:
        """Data as a float tensor; whole numbers are refused, since their scale is unknown."""
        x = tf.convert_to_tensor(x)
        if not x.dtype.is_floating:
            raise ValueError(
                "Data must be floating point, scaled as the likelihood expects it: see "
                "`tfvae.data.pipeline`, or divide images by 255. "
                f"Received: dtype {x.dtype.name}, shape {tuple(x.shape)}"
            )
        return tf.cast(x, float_dtype())

    def _check_data(self, x: Any, batch_size: int | None = None) -> tuple[int, ...] | None:
        """Checks arrays whole, datasets by the first batch; returns the shape of a batch."""
        if isinstance(x, tf.data.Dataset):
            x = next(iter(x.take(1)), None)
            if x is None:
                raise ValueError("The dataset has no batches. Received: an empty tf.data.Dataset")
            x, _, _ = keras.utils.unpack_x_y_sample_weight(x)
            batch_size = x.shape[0]
        if not isinstance(x, (np.ndarray, tf.Tensor)):
            return None
        check_images(np.asarray(x), name="x", unit_interval=self.data_support() == (0.0, 1.0))
        return (batch_size or BATCH_SIZE, *x.shape[1:])


def _target(y: Any, sample_weight: Any) -> Any:
    """Something to stand for the targets, without which Keras drops `sample_weight` silently."""
    return sample_weight if y is None else y
