"""How a training is run on the machine at hand: compiled by XLA or not, and how many steps at once.

What pays was measured on two CPU cores (`tools/bench.py`). XLA fuses the many small operations of a
step; in a dense network these cost as much as the matrix products. XLA's convolutions for CPUs are
slower than oneDNN's, which TensorFlow calls without it. Several steps in one execution save a
return to Python after each, and the copies and waits that come with it.

The choice depends on the network, the batch, the device and the strategy, and the length of a block
on where the data lie; nothing depends on the length of the training: one that is resumed runs as it
began.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfvae.priors import Prior

AUTO = "auto"

MAX_STEPS = 64
"""Steps of one execution at most."""

# What an execution should come to: a tenth to half a second on two cores, fast and slow ones, so
# that a progress bar moves and a signal is heard. Two to three milliseconds of Python come with it.
_FLOPS_ON_CPU = 6e10
_FLOPS_ON_ACCELERATOR = 1e12
# What the batches of a program may take where they are put together beside it. Three such lots are
# held: one in use, one ready, one in the making. An accelerator's short steps make a new program
# dear.
_BYTES_ON_CPU = 2**24
# Forward, and backward with respect to inputs and weights: three products of a multiplication and
# an addition for each weight.
_FLOPS_A_WEIGHT = 6
# XLA takes a second to compile; with fewer multiplications an example it gains less than a tenth.
_WORTH_COMPILING = 1e5
# Estimates from fewer multiplications take few seconds in any case.
_ESTIMATE_WORTH_COMPILING = 2e11
_CALLBACKS_FOR_BLOCKS = ("keras.", "tfvae.")


class Execution(NamedTuple):
    """How a training is run, and why.

    Attributes:
        jit_compile: whether XLA compiles the step; under `"auto"` not that of a rest of a batch.
        steps_per_execution: training steps between two returns to Python.
        reason: for people.
    """

    jit_compile: bool
    steps_per_execution: int
    reason: str

    def __str__(self) -> str:
        xla = "with" if self.jit_compile else "without"
        return f"{xla} XLA, {self.steps_per_execution} steps an execution: {self.reason}"


def choose_execution(
    model: keras.Model,
    batch_size: int,
    steps: int | None = None,
    jit_compile: bool | str = AUTO,
    steps_per_execution: int | str = AUTO,
    callbacks: Any = None,
    held: bool = True,
) -> Execution:
    """Decides what an argument of `"auto"` leaves open.

    Args:
        model: a built model.
        batch_size: examples in a batch.
        steps: training steps of an epoch, if known.
        jit_compile: a decision, or `"auto"`.
        steps_per_execution: a decision, or `"auto"`.
        callbacks: of `fit`; one that wants to be called after every step is.
        held: whether a program's batches are put together beside it, and not taken out of an array
            in memory by the program itself.

    Returns:
        The decisions and their reasons.

    Example:
        >>> from tfvae.models import VAE
        >>> dense = VAE.for_images((28, 28, 1), latent_dim=2)
        >>> conv = VAE.for_images((28, 28, 1), latent_dim=2, network="conv")
        >>> choose_execution(dense, 32).jit_compile, choose_execution(conv, 32).jit_compile
        (True, False)
    """
    reasons = []
    if jit_compile == AUTO:
        jit_compile, reason = _choose_jit(model)
        reasons.append(reason)
    if steps_per_execution == AUTO:
        steps_per_execution, reason = _choose_steps(
            model, batch_size, steps, callbacks, held=held and bool(jit_compile)
        )
        reasons.append(reason)
    return Execution(
        bool(jit_compile), int(steps_per_execution), "; ".join(reasons) or "as asked for"
    )


def compiles_estimates(model: keras.Model, draws: int) -> bool:
    """Whether XLA should compile an estimate from so many draws, of all examples together.

    Not where the user said no, or XLA failed before.
    The likelihood of a draw costs as many elementary functions as the data have elements, beside
    the decoder's products about as much again; XLA halves that, after seconds of compiling.
    """
    if model._asked["jit_compile"] is False or model._fell_back:
        return False
    decoding = multiplications(model.decoder)
    return draws * decoding >= _ESTIMATE_WORTH_COMPILING and _choose_jit(model)[0]


def _choose_jit(model: keras.Model) -> tuple[bool, str]:
    if model.run_eagerly:
        return False, "it runs eagerly"
    if model.distribute_strategy.num_replicas_in_sync > 1:
        return False, "several replicas, whose exchange XLA does not compile on every device"
    if on_accelerator():
        return True, "an accelerator, where XLA fuses the step"
    if _convolves(model):
        return False, "convolutions on a CPU, which are faster without XLA"
    if multiplications(model) < _WORTH_COMPILING:
        return False, "a small network, which XLA would compile for longer than it saves"
    return True, "a dense network on a CPU, where XLA fuses the step"


def _convolves(model: keras.Model) -> bool:
    """Whether a kernel slides over places. What a prior learns is none, of whatever rank it is."""
    networks = [layer for layer in model._flatten_layers() if not isinstance(layer, Prior)]
    weights = [weight for layer in networks for weight in layer._trainable_variables]
    return any(len(weight.shape) > 2 for weight in weights)


def _choose_steps(
    model: keras.Model, batch_size: int, steps: int | None, callbacks: Any, held: bool
) -> tuple[int, str]:
    if model.run_eagerly:
        return 1, "eager steps are single"
    watcher = _watcher_of_steps(callbacks)
    if watcher is not None:
        return 1, f"{type(watcher).__name__} is called after every step"
    flops = _FLOPS_A_WEIGHT * batch_size * multiplications(model)
    affordable = (_FLOPS_ON_ACCELERATOR if on_accelerator() else _FLOPS_ON_CPU) / max(flops, 1.0)
    number = min(MAX_STEPS, round(affordable))
    if held and not on_accelerator():
        example = math.prod(size or 1 for size in model.data_shape)
        number = min(number, _BYTES_ON_CPU // (4 * batch_size * example))
    number = max(1, number)
    if steps:
        # Of one length, as far as they go: what a shorter one lacks is filled up.
        number = -(-steps // -(-steps // number))
    return number, f"steps of {_si(flops)}FLOP"


def multiplications(model: keras.Model) -> float:
    """Multiplications of a forward pass of one example, roughly: those with the kernels.

    The decoder's count for every draw of the posterior.

    Example:
        >>> from tfvae.models import VAE
        >>> vae = VAE.for_images((8, 8, 1), latent_dim=2, hidden=(16,))
        >>> multiplications(vae) == 64 * 16 + 16 * 4 + 2 * 16 + 16 * 64
        True
    """
    total = 0.0
    decoder = getattr(model, "decoder", None)
    after_draws = {id(layer) for layer in decoder._flatten_layers()} if decoder else ()
    for layer in model._flatten_layers():
        draws = getattr(model, "num_draws", 1) if id(layer) in after_draws else 1
        for weight in layer._trainable_variables:
            rank = len(weight.shape)
            if rank >= 2:
                # A kernel meets as many places as the smaller of the two maps has.
                places = _places(layer, rank - 2) if rank > 2 else 1
                total += math.prod(weight.shape) * places * draws
    return total


def _places(layer: keras.layers.Layer, spatial: int) -> int:
    """Places of the smaller of a convolution's maps; 1 where the layer does not know its shapes."""
    places = []
    for end in ("input", "output"):
        try:
            shape = getattr(layer, end).shape[1:]
        except (AttributeError, ValueError):
            continue
        # The channels, first or last, are one of the sizes; the places are the others.
        channels_last = getattr(layer, "data_format", "channels_last") == "channels_last"
        sizes = [size or 1 for size in (shape[:spatial] if channels_last else shape[-spatial:])]
        places.append(math.prod(sizes))
    return min(places, default=1)


def _watcher_of_steps(callbacks: Any) -> keras.callbacks.Callback | None:
    """A callback with a method of somebody else's for every step.

    Keras' own and tfvae's know blocks of steps; others may count calls.
    """
    for callback in _flattened(callbacks):
        for name in (
            "on_train_batch_begin",
            "on_train_batch_end",
            "on_batch_begin",
            "on_batch_end",
        ):
            method = getattr(callback, name, None)
            module = getattr(method, "__module__", "") or ""
            if method is not None and not f"{module}.".startswith(_CALLBACKS_FOR_BLOCKS):
                return callback
    return None


def _flattened(callbacks: Any) -> list[Any]:
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    return list(tf.nest.flatten(callbacks)) if callbacks else []


def on_accelerator() -> bool:
    """Whether TensorFlow sees another device than CPUs."""
    return any(device.device_type != "CPU" for device in tf.config.get_visible_devices())


def _si(value: float) -> str:
    for scale, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:.3g} {prefix}"
    return f"{value:.3g} "
