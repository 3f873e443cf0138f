"""Schedules: how a weight moves with the training step, as pure functions from a step to a value.

A schedule stands wherever a regulariser takes a weight: `VAE(..., beta=LinearWarmup(2000))`. It
holds no state; whoever uses it keeps the step, as a weight that is saved with the model, so that a
training that is resumed goes on at the step where it stopped. The first training step is step 0.

All but `Constant` take `num_steps` training steps from `start` to `stop`, and stay at `stop`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import keras
import numpy as np
import tensorflow as tf


class Schedule(ABC):
    """Abstract base: a function from a training step to a value.

    Attributes:
        num_steps: the step from which on the value no longer changes.
    """

    num_steps: int = 0

    @abstractmethod
    def __call__(self, step: Any) -> tf.Tensor:
        """The value at a step, or steps, of any shape: float32 of the same shape."""

    @abstractmethod
    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Schedule:
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


@keras.saving.register_keras_serializable(package="tfvae")
class Constant(Schedule):
    """The same value at every step.

    Args:
        value: a finite number that is not negative.

    Raises:
        ValueError: if `value` is not one.

    Example:
        >>> float(Constant(0.5)(1000))
        0.5
    """

    def __init__(self, value: float) -> None:
        self.value = _value(value, "value")

    def __call__(self, step: Any) -> tf.Tensor:
        return tf.fill(tf.shape(step), self.value)

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value}


class Ramp(Schedule):
    """Abstract base of what goes from `start` to `stop`: a shape from 0 to 1 says how.

    Args:
        num_steps: training steps from `start` to `stop`, at least 1.
        start: the value at step 0.
        stop: the value from step `num_steps` on.

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(self, num_steps: int, start: float = 0.0, stop: float = 1.0) -> None:
        self.num_steps = _count(num_steps, "num_steps")
        self.start = _value(start, "start")
        self.stop = _value(stop, "stop")

    @abstractmethod
    def shape(self, step: tf.Tensor) -> tf.Tensor:
        """How far, from 0 to 1, the value is from `start` to `stop` at an int64 step."""

    def __call__(self, step: Any) -> tf.Tensor:
        step = tf.cast(step, tf.int64)
        value = self.start + (self.stop - self.start) * self.shape(step)
        # The ends are `start` and `stop` to the last bit, whatever the shape rounds to.
        value = tf.where(step <= 0, tf.constant(self.start), value)
        return tf.where(step >= self.num_steps, tf.constant(self.stop), value)

    def progress(self, step: tf.Tensor) -> tf.Tensor:
        """The part of the steps that have been taken, from 0 to 1."""
        return _ratio(tf.minimum(step, self.num_steps), self.num_steps)

    def get_config(self) -> dict[str, Any]:
        return {"num_steps": self.num_steps, "start": self.start, "stop": self.stop}


@keras.saving.register_keras_serializable(package="tfvae")
class LinearWarmup(Ramp):
    """A straight line: start + (stop - start) t / T at step t of T.

    Args:
        num_steps: training steps T from `start` to `stop`.
        start: the value at step 0.
        stop: the value from step T on.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> LinearWarmup(4)([0, 1, 2, 4, 9]).numpy().tolist()
        [0.0, 0.25, 0.5, 1.0, 1.0]

    Reference:
        Sønderby, Raiko, Maaløe, Sønderby and Winther (2016), Ladder Variational Autoencoders,
        arXiv:1602.02282, section 2.3.
    """

    def shape(self, step: tf.Tensor) -> tf.Tensor:
        return self.progress(step)


@keras.saving.register_keras_serializable(package="tfvae")
class Cosine(Ramp):
    """Half a wave: start + (stop - start) (1 - cos(pi t / T)) / 2 at step t of T.

    Args:
        num_steps: training steps T from `start` to `stop`.
        start: the value at step 0.
        stop: the value from step T on.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> [round(float(value), 3) for value in Cosine(4)([0, 2, 4])]
        [0.0, 0.5, 1.0]

    Reference:
        Loshchilov and Hutter (2017), SGDR, arXiv:1608.03983, equation 5, for the wave.
    """

    def shape(self, step: tf.Tensor) -> tf.Tensor:
        return 0.5 - 0.5 * tf.cos(math.pi * self.progress(step))


@keras.saving.register_keras_serializable(package="tfvae")
class Sigmoid(Ramp):
    """A logistic curve, stretched so that it begins at `start` and ends at `stop` exactly.

    With u = t / T and steepness k,

        start + (stop - start) (1 + tanh(k (2u - 1) / 4) / tanh(k / 4)) / 2,

    which is the curve 1 / (1 + exp(-k (u - 1/2))) up to that stretch.

    Args:
        num_steps: training steps T from `start` to `stop`.
        start: the value at step 0.
        stop: the value from step T on.
        steepness: k, a positive number.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> [round(float(value), 3) for value in Sigmoid(4)([0, 1, 2, 4])]
        [0.0, 0.07, 0.5, 1.0]

    Reference:
        Bowman, Vilnis, Vinyals, Dai, Jozefowicz and Bengio (2016), Generating Sentences from a
        Continuous Space, arXiv:1511.06349, figure 2.
    """

    def __init__(
        self, num_steps: int, start: float = 0.0, stop: float = 1.0, steepness: float = 10.0
    ) -> None:
        super().__init__(num_steps, start, stop)
        self.steepness = _value(steepness, "steepness", above_zero=True)

    def shape(self, step: tf.Tensor) -> tf.Tensor:
        wave = tf.tanh(0.25 * self.steepness * (2.0 * self.progress(step) - 1.0))
        return 0.5 + 0.5 * wave / math.tanh(0.25 * self.steepness)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "steepness": self.steepness}


@keras.saving.register_keras_serializable(package="tfvae")
class Cyclical(Ramp):
    """Several warm-ups, one after another, each followed by a rest at `stop`.

    With T steps in M cycles of P = ceil(T / M) steps, at step t

        tau = (t mod P) / P,   start + (stop - start) min(tau / R, 1).

    Args:
        num_steps: training steps T of all cycles together, at least as many as cycles.
        start: the value at the begin of a cycle.
        stop: the value at the end of a cycle, and from step T on.
        cycles: number of cycles M.
        ratio: the part R of a cycle in which the value moves, above 0 and at most 1.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> Cyclical(8, cycles=2)([0, 1, 2, 3, 4, 5, 8]).numpy().tolist()
        [0.0, 0.5, 1.0, 1.0, 0.0, 0.5, 1.0]

    Reference:
        Fu, Li, Liu, Gao, Celikyilmaz and Carin (2019), Cyclical Annealing Schedule,
        arXiv:1903.10145, equations 6 and 7, of which steps are counted from 1.
    """

    def __init__(
        self,
        num_steps: int,
        start: float = 0.0,
        stop: float = 1.0,
        cycles: int = 4,
        ratio: float = 0.5,
    ) -> None:
        super().__init__(num_steps, start, stop)
        self.cycles = _count(cycles, "cycles")
        self.ratio = _value(ratio, "ratio", above_zero=True)
        if self.ratio > 1 or self.cycles > self.num_steps:
            raise ValueError(
                "`ratio` is a part of a cycle, at most 1, and a cycle has at least one step. "
                f"Received: ratio={ratio!r}, cycles={cycles!r}, num_steps={num_steps!r}"
            )

    def shape(self, step: tf.Tensor) -> tf.Tensor:
        period = -(-self.num_steps // self.cycles)
        return tf.minimum(_ratio(step % period, period) / self.ratio, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "cycles": self.cycles, "ratio": self.ratio}


def _ratio(step: tf.Tensor, of: int) -> tf.Tensor:
    return tf.cast(step, tf.float32) / np.float32(of)


def _count(number: Any, name: str) -> int:
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 1:
        raise ValueError(f"`{name}` must be an integer of at least 1. Received: {number!r}")
    return int(number)


def _value(number: Any, name: str, above_zero: bool = False) -> float:
    is_number = isinstance(number, (int, float, np.number)) and not isinstance(number, bool)
    if not is_number or not 0 <= number < math.inf or (above_zero and number == 0):
        least = "positive" if above_zero else "not negative"
        raise ValueError(f"`{name}` must be a finite number that is {least}. Received: {number!r}")
    return float(number)
