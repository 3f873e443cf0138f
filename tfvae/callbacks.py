"""Callbacks of a training that can be stopped at any moment and resumed bit for bit."""

from __future__ import annotations

import csv
import math
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import keras

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
