"""One training that can be killed at any moment and started again with the same command.

An epoch is the unit: a checkpoint is written after each, and one that was cut short is done again.
The history has a row for each epoch with, beside Keras' averages in nats,

training_seconds, training_cpu_seconds   of the training steps alone, by the clock and of all
                                         processors of this process together,
elapsed_seconds, elapsed_cpu_seconds     since the command was started, with imports, compilation,
                                         tests and checkpoints; those of earlier runs are added,
test_nll                                 every few epochs: the importance-sampled estimate with
                                         `CURVE_SAMPLES` draws on the first `CURVE_IMAGES` images.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras

from reproductions.results import RESULT
from reproductions.setting import Setting
from tfvae.callbacks import Checkpoints, HistoryCSV, read_history
from tfvae.data import pipeline
from tfvae.models.feeding import warn_of_long_schedules
from tfvae.saving import latest_checkpoint, load_checkpoint, read_state, write_atomically

CURVE_IMAGES, CURVE_SAMPLES = 1000, 50
POINTS = 50
"""Points of a curve, about."""
LAST_RATE = 1e-2
"""The part of the learning rate that is left at the end."""

CHECKPOINTS, HISTORY, PLAN = "checkpoints", "history.csv", "plan.json"


class Clock(NamedTuple):
    """When the command was started, by the clock and in seconds of all processors."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Clock:
        return cls(time.perf_counter(), time.process_time())

    def since(self) -> tuple[float, float]:
        """Seconds and processor seconds that have passed."""
        return time.perf_counter() - self.wall, time.process_time() - self.cpu


class Meter(keras.callbacks.Callback):
    """Adds the costs of an epoch, and now and then the test's figure, to what is logged.

    Args:
        name: for the lines that are printed.
        elapsed: gives the seconds and processor seconds of all runs.
        curve: gives the test's figure.
        every: epochs between two of them; 0 for none.
        epochs: how many epochs there are, for the lines; none if that is not known.
    """

    def __init__(
        self,
        name: str,
        elapsed: Callable[[], tuple[float, float]],
        curve: Callable[[], float],
        every: int,
        epochs: int | None,
    ) -> None:
        super().__init__()
        self.name = name
        self.elapsed = elapsed
        self.curve = curve
        self.every = every
        self.epochs = epochs

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._begun = Clock.now()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        done = epoch + 1
        logs["training_seconds"], logs["training_cpu_seconds"] = self._begun.since()
        if self.every and (done % self.every == 0 or done in (1, self.epochs)):
            logs["test_nll"] = self.curve()
            test = f", test {logs['test_nll']:.2f} nats"
        else:
            test = ""
        wall, cpu = self.elapsed()
        logs["elapsed_seconds"], logs["elapsed_cpu_seconds"] = wall, cpu
        if test or not self.every:
            print(
                f"{self.name}: epoch {done}/{self.epochs or '?'}, loss {logs['loss']:.2f}{test}, "
                f"{wall:.0f} s, {cpu:.0f} processor s",
                file=sys.stderr,
                flush=True,
            )


class Budget(keras.callbacks.Callback):
    """Ends a training with the epoch in which its processor time is spent.

    The learning rate falls by half a cosine of the part that is spent. It stands behind a `Meter`,
    which logs what an epoch took.

    Args:
        seconds: of all processors, of the training steps with their compilation, which a training
            that goes on after it was killed pays again.
        spent: of them before.
        rate: the learning rate at the begin.
    """

    def __init__(self, seconds: float, spent: float, rate: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.spent = spent
        self.rate = rate

    @property
    def is_spent(self) -> bool:
        return self.spent >= self.seconds

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.model.optimizer.learning_rate = self.rate * part_of_rate(self.spent / self.seconds)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.spent += logs["training_cpu_seconds"]
        if self.is_spent:
            self.model.stop_training = True


class Training:
    """Trains a model in a folder, from where it was left.

    Args:
        name: for the lines that are printed.
        model: not yet compiled.
        setting: data and batch size.
        folder: where checkpoints and history lie; made if need be.
        plan: what the training was asked for: `learning_rate`, `seed`, and `epochs` or `minutes`. A
            folder that was begun with another plan is refused.
        clock: since when this run counts.
        curve: whether to test now and then.

    Raises:
        ValueError: if the folder was begun with another plan.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        setting: Setting,
        folder: Path,
        plan: Mapping[str, Any],
        clock: Clock,
        curve: bool = False,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        keep_plan(folder, plan)
        self.name = name
        self.model = model
        self.setting = setting
        self.folder = folder
        self.plan = plan
        self.clock = clock
        self.curve = curve
        last = (self.rows or [{}])[-1]
        self.earlier = last.get("elapsed_seconds", 0.0), last.get("elapsed_cpu_seconds", 0.0)

    @property
    def rows(self) -> list[dict[str, float]]:
        """The history of the epochs whose state is kept."""
        checkpoint = latest_checkpoint(self.folder / CHECKPOINTS)
        done = 0 if checkpoint is None else read_state(checkpoint)["epoch"]
        return [row for row in read_history(self.folder / HISTORY) if row["epoch"] <= done]

    def costs(self) -> dict[str, float]:
        """Seconds and processor seconds of the training steps, and of all runs up to now."""
        wall, cpu = self.elapsed()
        steps = ("training_seconds", "training_cpu_seconds")
        return {
            **{cost: sum(row[cost] for row in self.rows) for cost in steps},
            "elapsed_seconds": wall,
            "elapsed_cpu_seconds": cpu,
        }

    def elapsed(self) -> tuple[float, float]:
        """Seconds and processor seconds of all runs up to now."""
        wall, cpu = self.clock.since()
        return wall + self.earlier[0], cpu + self.earlier[1]

    def run(self) -> int:
        """Trains to the end of the plan; returns the number of epochs."""
        rate = self.plan["learning_rate"]
        if "epochs" in self.plan:
            epochs = self.plan["epochs"]
            decay = keras.optimizers.schedules.CosineDecay(
                rate, epochs * self.setting.steps, alpha=LAST_RATE
            )
            self.model.compile(keras.optimizers.Adam(decay))
            self._fit(epochs)
            return epochs
        spent = sum(row["training_cpu_seconds"] for row in self.rows)
        budget = Budget(60 * self.plan["minutes"], spent, rate)
        self.model.compile(keras.optimizers.Adam(rate))
        finished = budget.is_spent or (self.folder / RESULT).exists()
        self._fit(len(self.rows) if finished else None, budget)
        warn_of_long_schedules(self.model, 0)
        return len(self.rows)

    def _fit(self, epochs: int | None, *callbacks: keras.callbacks.Callback) -> None:
        """Trains to the end of so many epochs, or until a callback ends it."""
        checkpoint = latest_checkpoint(self.folder / CHECKPOINTS)
        rows = self.rows
        first, steps = len(rows), self.setting.steps
        if epochs is not None and first >= epochs:
            load_checkpoint(checkpoint, self.model)
            return
        every = max(1, (epochs or 0) // POINTS) if self.curve else 0
        meter = Meter(self.name, self.elapsed, self._test, every, epochs)
        # The order: the meter logs what the history writes, and what is written is kept.
        kept = Checkpoints(
            self.folder / CHECKPOINTS,
            steps,
            seconds=math.inf,
            resume_from=checkpoint,
            signals=(),
        )
        self.model.fit(
            pipeline(
                self.setting.train,
                batch_size=self.setting.batch_size,
                binarize="dynamic",
                shuffle=True,
                seed=self.plan["seed"],
                epochs=None,
                start_step=first * steps,
            ),
            initial_epoch=first,
            epochs=sys.maxsize if epochs is None else epochs,
            steps_per_epoch=steps,
            callbacks=[meter, HistoryCSV(self.folder / HISTORY, rows), kept, *callbacks],
            shuffle=False,
            verbose=0,
        )

    def _test(self) -> float:
        images = self.setting.test[:CURVE_IMAGES]
        return -float(self.model.log_likelihood(images, CURVE_SAMPLES).mean())


def begin_with(
    model: Any, earlier: Any, setting: Setting, folder: Path
) -> tuple[int, dict[str, float]]:
    """Gives a model the weights that another one of the same network was trained to.

    Args:
        model: begins with them.
        earlier: a new model, as the training in the folder began with.
        setting: of that training.
        folder: of that training.

    Returns:
        The epochs that it took, and what they cost.

    Raises:
        ValueError: if that training has not come to its end, or its network is another.
    """
    if not (folder / RESULT).exists():
        raise ValueError(
            f"To begin with what {folder.name} was trained to, train it first. "
            f"Received: {folder} without a {RESULT}"
        )
    shapes, theirs = ([weight.shape for weight in each.weights] for each in (model, earlier))
    if shapes != theirs:
        raise ValueError(
            f"{folder.name} has another network, whose weights do not fit. "
            f"Received: shapes {theirs} for {shapes}"
        )
    plan = json.loads((folder / PLAN).read_text())
    training = Training(folder.name, earlier, setting, folder, plan, Clock.now())
    epochs = training.run()  # to the end, where it is
    model.set_weights(earlier.get_weights())
    return epochs, training.costs()


def part_of_rate(progress: float) -> float:
    """Half a wave from 1 at the begin of a training to `LAST_RATE` at its end.

    Example:
        >>> [round(part_of_rate(progress), 3) for progress in (0.0, 0.5, 1.0)]
        [1.0, 0.505, 0.01]
    """
    return LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * progress)) / 2


def keep_plan(folder: Path, plan: Mapping[str, Any]) -> None:
    """Writes the plan of a folder, or compares it with the one that is there.

    Raises:
        ValueError: if they differ.
    """
    path = folder / PLAN
    if path.exists():
        begun = json.loads(path.read_text())
        if begun != plan:
            raise ValueError(
                f"{folder} was begun with other options; give those, or another --out. "
                f"Received: {dict(plan)} where there was {begun}"
            )
        return
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(dict(plan), indent=1))
