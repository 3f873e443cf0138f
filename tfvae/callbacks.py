"""Callbacks of a training: stopped at any moment and resumed bit for bit; its latent watched."""

from __future__ import annotations

import csv
import importlib.util
import math
import signal
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfvae.data.checks import check_integer
from tfvae.metrics.collapse import advice
from tfvae.metrics.diagnostics import SCALARS, Diagnostics, diagnose
from tfvae.metrics.dimensions import THRESHOLD
from tfvae.metrics.posteriors import require_posterior
from tfvae.saving import load_checkpoint, save_checkpoint, write_atomically


class TrainingInterrupted(Exception):  # noqa: N818 - not an error: it was asked for
    """A signal asked the training to stop; its state is saved.

    Args:
        signal_number: the signal.
        step: number of training steps that are done.
    """

    def __init__(self, signal_number: int, step: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name} after step {step}")
        self.signal_number = signal_number
        self.step = step


class Checkpoints(keras.callbacks.Callback):
    """Writes a checkpoint after every epoch, every few minutes, and when a signal says stop.

    A checkpoint holds everything that the rest of the training depends on: weights, optimizer,
    the state of the random numbers, and the running averages of an unfinished epoch. With data
    that are a function of the step (`tfvae.data.pipeline(start_step=...)`) a resumed training ends
    in the weights of one that was never stopped.

    Args:
        directory: where the checkpoints lie; see `tfvae.saving.save_checkpoint`.
        steps_per_epoch: number of training steps of an epoch.
        seconds: the longest time between two checkpoints inside an epoch.
        first_batch: number of steps of the first epoch that an earlier run has done.
        resume_from: a checkpoint to start from, or `None`.
        signals: signals that stop the training after the current step.

    Raises:
        TrainingInterrupted: out of `fit`, when a signal arrived; the second one of its kind has
            its usual effect.
        FloatingPointError: out of `fit`, when the loss of an epoch is not finite; the last
            checkpoint is from before.
    """

    def __init__(
        self,
        directory: str | Path,
        steps_per_epoch: int,
        seconds: float = 300.0,
        first_batch: int = 0,
        resume_from: Path | None = None,
        signals: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM),
    ) -> None:
        super().__init__()
        self.directory = Path(directory)
        self.steps_per_epoch = steps_per_epoch
        self.seconds = seconds
        self.first_batch = first_batch
        self.resume_from = resume_from
        self.signals = signals
        self._received: int | None = None
        self._usual: dict[int, Any] = {}
        self._epoch = 0
        self._batch = 0
        self._saved_at = time.monotonic()

    def on_train_begin(self, logs: Any = None) -> None:
        for number in self.signals:
            self._usual[number] = signal.signal(number, self._on_signal)

    def restore_signals(self) -> None:
        """Gives the signals back their usual handlers; call it when `fit` is left."""
        while self._usual:
            signal.signal(*self._usual.popitem())

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        self.restore_signals()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch, self._batch = epoch, self.first_batch
        self.first_batch = 0
        if self.resume_from is not None:
            # Keras has just reset the metrics; the averages of an unfinished epoch go on.
            load_checkpoint(self.resume_from, self.model)
            self.resume_from = None
            if self._batch == 0:
                self.model.reset_metrics()
        self._start = self._batch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._batch = self._start + batch + 1
        if self._batch == self.steps_per_epoch:
            return  # `on_epoch_end` saves, after validation, which draws random numbers too.
        if self._received is not None or time.monotonic() - self._saved_at > self.seconds:
            self._save(self._epoch, self._batch)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise FloatingPointError(
                "The loss is not finite any more; lower the learning rate or check the data. The "
                f"last good checkpoint is kept. Received: loss={loss} after epoch {epoch + 1}"
            )
        self._save(epoch + 1, 0)

    def _save(self, epoch: int, batch: int) -> None:
        step = epoch * self.steps_per_epoch + batch
        save_checkpoint(self.directory, self.model, {"step": step, "epoch": epoch, "batch": batch})
        self._saved_at = time.monotonic()
        if self._received is not None:
            raise TrainingInterrupted(self._received, step)


class HistoryCSV(keras.callbacks.Callback):
    """Writes a row for each epoch: its number, its seconds, and all that Keras logs, in nats.

    Args:
        path: a CSV file; rewritten as a whole after every epoch, so that it is never half a file.
        rows: rows of epochs that an earlier run has done.
    """

    def __init__(self, path: str | Path, rows: list[dict[str, float]] | None = None) -> None:
        super().__init__()
        self.path = Path(path)
        self.rows = list(rows or [])
        self._started = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        seconds = round(time.monotonic() - self._started, 3)
        values = {name: float(value) for name, value in (logs or {}).items()}
        self.rows.append({"epoch": epoch + 1, "seconds": seconds, **values})
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        with write_atomically(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)


class LatentDiagnostics(keras.callbacks.Callback):
    """Measures after an epoch what the model does with its code, and warns if it does nothing.

    What `tfvae.metrics.diagnose` finds on the given data goes into the logs of the epoch: `rate`,
    `distortion`, `mutual_information` and `marginal_kl`, in nats, and `active_units`. Keras'
    history shows them, and so does each callback that comes later in the list, such as
    `HistoryCSV`, `keras.callbacks.TensorBoard` or `EarlyStopping(monitor="distortion")`. An epoch
    without a measurement has no such value. The training is not changed: its weights are those of
    one that nobody looked at.

    Args:
        x: data `[N, *data_shape]` to measure on, such as the validation data.
        every: number of epochs between two measurements.
        num_samples: draws of the code for each example.
        max_examples: how many of the examples are measured, the first ones; the mutual information
            costs the square of this number, and is at most its logarithm.
        log_dir: where TensorBoard finds the same scalars, as `latent/rate`, and a histogram of the
            dimensions' divergences, `latent/kl_per_dimension`, by epoch; nowhere if `None`.
        min_active_units: the fewest active dimensions that are no collapse.
        threshold: the activity above which a dimension is active; codes that are small by design,
            such as those on a sphere, want a smaller one.
        patience: number of measurements in a row that must find a collapse before the warning. A
            training whose last measurement finds one is warned of at its end.
        prefix: goes before the names in the logs, where a name is taken.
        seed: fixes the draws, the same in every epoch.
        batch_size: how many examples are held at a time.

    Attributes:
        latest: the last measurement, a `tfvae.metrics.Diagnostics`; `None` before the first.

    Raises:
        TypeError: if a number is no integer, or, when the training begins, if the model has no
            posterior.
        ValueError: if there are fewer than two examples, if a number is below 1, or, when the
            training begins, if the model logs something else under one of the names.
        ImportError: if `log_dir` is given and the package `tensorboard` is not there.

    Warns:
        UserWarning: once, if the posterior has collapsed, with what to try.

    Example:
        >>> from tfvae.models import VAE
        >>> x = np.random.default_rng(0).random((64, 4), "float32")
        >>> vae = VAE.for_images((4,), latent_dim=2, hidden=(4,))
        >>> vae.compile()
        >>> watch = LatentDiagnostics(x, patience=5)
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")
        ...     history = vae.fit(x, epochs=2, callbacks=[watch], verbose=0).history
        >>> len(history["active_units"]), watch.latest.kl_per_dimension.shape
        (2, (2,))
    """

    def __init__(
        self,
        x: Any,
        every: int = 1,
        num_samples: int = 1,
        max_examples: int = 1000,
        log_dir: str | Path | None = None,
        min_active_units: int = 1,
        threshold: float = THRESHOLD,
        patience: int = 3,
        prefix: str = "",
        seed: int = 0,
        batch_size: int = 128,
    ) -> None:
        super().__init__()
        self.every = check_integer(every, "every", 1)
        self.num_samples = check_integer(num_samples, "num_samples", 1)
        max_examples = check_integer(max_examples, "max_examples", 2)
        if not isinstance(x, (np.ndarray, tf.Tensor)) or len(x.shape) < 2 or len(x) < 2:
            raise ValueError(
                "`x` must be an array of two examples or more, [N, *data_shape]. "
                f"Received: {f'shape {tuple(x.shape)}' if hasattr(x, 'shape') else repr(x)}"
            )
        self.x = np.asarray(x[:max_examples])
        if log_dir is not None and importlib.util.find_spec("tensorboard") is None:
            raise ImportError(
                "Summaries are written by the package `tensorboard`: install it, or leave "
                f"`log_dir` out. Received: log_dir={str(log_dir)!r}"
            )
        self.log_dir = log_dir
        self.min_active_units = check_integer(min_active_units, "min_active_units", 0)
        self.threshold = threshold
        self.patience = check_integer(patience, "patience", 1)
        self.prefix = prefix
        self.seed = seed
        self.batch_size = check_integer(batch_size, "batch_size", 1)
        self.latest: Diagnostics | None = None
        self._writer: Any = None
        self._advice: str | None = None
        self._collapsed = 0
        self._warned = False

    def on_train_begin(self, logs: Any = None) -> None:
        require_posterior(self.model)
        taken = {metric.name for metric in self.model.metrics}
        if clash := sorted(taken & {self.prefix + name for name in SCALARS}):
            raise ValueError(
                f"The model logs {', '.join(clash)} of its own: give `LatentDiagnostics` a prefix, "
                f"such as 'latent_'. Received: prefix={self.prefix!r}"
            )
        if self.log_dir is not None:
            self._writer = tf.summary.create_file_writer(str(self.log_dir))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if (epoch + 1) % self.every:
            return
        self.latest = diagnose(
            self.model, self.x, self.num_samples, self.threshold, self.seed, self.batch_size
        )
        if logs is not None:
            logs.update(
                {self.prefix + name: value for name, value in self.latest.scalars().items()}
            )
        if self._writer is not None:
            self._write(epoch, self.latest)
        self._advice = advice(self.latest, self.min_active_units)
        self._collapsed = self._collapsed + 1 if self._advice else 0
        if self._collapsed >= self.patience:
            self._warn()

    def on_train_end(self, logs: Any = None) -> None:
        self._warn()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _warn(self) -> None:
        if self._advice and not self._warned:
            self._warned = True
            warnings.warn(self._advice, UserWarning, stacklevel=2)

    def _write(self, epoch: int, found: Diagnostics) -> None:
        # Keras' own callback may have said that only some steps are recorded.
        with self._writer.as_default(step=epoch), tf.summary.record_if(True):
            for name, value in found.scalars().items():
                tf.summary.scalar(f"latent/{name}", value)
            if found.kl_per_dimension is not None:
                tf.summary.histogram("latent/kl_per_dimension", found.kl_per_dimension)
        self._writer.flush()


def read_history(path: str | Path) -> list[dict[str, float]]:
    """Reads what `HistoryCSV` wrote: a dictionary for each epoch, without its empty cells.

    Raises:
        ValueError: if the file is damaged.
    """
    path = Path(path)
    if not path.exists():
        return []
    with path.open(newline="") as file:
        try:
            return [
                {
                    name: int(value) if name == "epoch" else float(value)
                    for name, value in row.items()
                    if value
                }
                for row in csv.DictReader(file)
            ]
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"The history is damaged: remove the file to go on without it. Received: {path}"
            ) from error
