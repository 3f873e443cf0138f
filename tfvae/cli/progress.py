"""How a training is followed: a live bar on a terminal, one line an epoch elsewhere."""

from __future__ import annotations

import time
from typing import Any

import keras
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tfvae.cli import console


class EpochLines(keras.callbacks.Callback):
    """Prints one line an epoch, for logs and pipes.

    Args:
        epochs: number of epochs.
        steps: number of training steps of an epoch.
    """

    def __init__(self, epochs: int, steps: int) -> None:
        super().__init__()
        self.epochs = epochs
        self.steps = steps
        self._started = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._print(self._line(epoch, logs))

    def _line(self, epoch: int, logs: Any) -> str:
        seconds = console.seconds_text(time.perf_counter() - self._started)
        return f"epoch {epoch + 1}/{self.epochs}  {console.in_nats(logs or {})}  {seconds}"

    def _print(self, line: str) -> None:
        console.err.print(line)

    def close(self) -> None:
        """Nothing is open."""


class LiveProgress(EpochLines):
    """A bar for the current epoch with the losses so far, in nats; a line for each that is done.

    Args:
        epochs: number of epochs.
        steps: number of training steps of an epoch.
    """

    # Reading the losses waits for the device, so they are shown a few times a second only.
    _REFRESH_SECONDS = 0.2

    def __init__(self, epochs: int, steps: int) -> None:
        super().__init__(epochs, steps)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=console.err,
            transient=True,
        )
        self._task = self._bar.add_task("", total=steps, losses="")
        self._shown_at = 0.0

    def on_train_begin(self, logs: Any = None) -> None:
        self._bar.start()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_begin(epoch, logs)
        self._bar.reset(
            self._task,
            total=self.params.get("steps") or self.steps,
            description=f"epoch {epoch + 1}/{self.epochs}",
            losses="",
        )

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if time.perf_counter() - self._shown_at > self._REFRESH_SECONDS:
            self._bar.update(self._task, completed=batch + 1, losses=console.in_nats(logs or {}))
            self._shown_at = time.perf_counter()

    def _print(self, line: str) -> None:
        self._bar.console.print(line)

    def close(self) -> None:
        """Leaves the terminal as it was."""
        self._bar.stop()
