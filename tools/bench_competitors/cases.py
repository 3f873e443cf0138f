"""The models that are compared, and the inputs that every competitor is given.

Nothing but NumPy is imported here: every environment has it.

A dense model is images, hidden layers, mean and raw scale of the code; the decoder mirrors it. A
convolutional one has convolutions of 3 by 3 and stride 2, then a dense layer; its decoder is a
dense layer, transposed convolutions and one convolution to the logits. The scale of the posterior
is softplus of its parameter plus 1e-5, the likelihood is Bernoulli.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

SCALE_FLOOR = 1e-5
LEARNING_RATE = 1e-3
CHECK_STEPS = 10
CHECK_BATCH = 32


@dataclass(frozen=True)
class Case:
    """A model to train.

    Attributes:
        name: what `--cases` takes.
        image_shape: `(height, width, channels)`.
        network: `"dense"` or `"conv"`.
        hidden: units or filters of the encoder.
        latent: size of a code.
        activation: `"relu"` or `"tanh"`.
        num_images: images of one epoch: a multiple of 1,024, so that no batch is smaller.
    """

    name: str
    image_shape: tuple[int, int, int]
    network: str
    hidden: tuple[int, ...]
    latent: int
    activation: str
    num_images: int

    @property
    def size(self) -> int:
        """Values of an image."""
        return math.prod(self.image_shape)

    @property
    def maps(self) -> list[tuple[int, int]]:
        """Height and width before the first convolution, between them and after the last."""
        sizes = [self.image_shape[:2]]
        for _ in self.hidden:
            sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
        return sizes

    @property
    def flat(self) -> int:
        """Values of the last map of the encoder."""
        return math.prod(self.maps[-1]) * self.hidden[-1]


@dataclass(frozen=True)
class Layer:
    """A layer with a kernel.

    Attributes:
        kind: `"dense"`, `"conv"` or `"transposed"`.
        kernel: its shape as Keras has it: `[in, out]`, `[3, 3, in, out]` or `[3, 3, out, in]`.
        inputs: shape of an example before it.
        outputs: shape of an example after it.
        stride: of a convolution.
        active: whether the activation follows.
    """

    kind: str
    kernel: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    stride: int = 1
    active: bool = True

    @property
    def units(self) -> int:
        """Length of the bias."""
        return self.outputs[-1]


def _dense(inputs: int, outputs: int, active: bool = True) -> Layer:
    return Layer("dense", (inputs, outputs), (inputs,), (outputs,), active=active)


def encoder_layers(case: Case) -> list[Layer]:
    """The layers from an image to the parameters of the posterior."""
    if case.network == "dense":
        sizes = (case.size, *case.hidden)
        body = [_dense(a, b) for a, b in pairwise(sizes)]
        return [*body, _dense(sizes[-1], 2 * case.latent, active=False)]
    body = []
    channels = (case.image_shape[2], *case.hidden)
    for index, (a, b) in enumerate(pairwise(channels)):
        inputs, outputs = (*case.maps[index], a), (*case.maps[index + 1], b)
        body.append(Layer("conv", (3, 3, a, b), inputs, outputs, stride=2))
    return [*body, _dense(case.flat, 2 * case.latent, active=False)]


def decoder_layers(case: Case) -> list[Layer]:
    """The layers from a code to the logits."""
    if case.network == "dense":
        sizes = (case.latent, *reversed(case.hidden))
        body = [_dense(a, b) for a, b in pairwise(sizes)]
        return [*body, _dense(sizes[-1], case.size, active=False)]
    body = [_dense(case.latent, case.flat)]
    channels = (case.hidden[-1], *reversed(case.hidden))
    maps = case.maps[::-1]
    for index, (a, b) in enumerate(pairwise(channels)):
        inputs, outputs = (*maps[index], a), (*maps[index + 1], b)
        body.append(Layer("transposed", (3, 3, b, a), inputs, outputs, stride=2))
    kernel = (3, 3, channels[-1], case.image_shape[2])
    inputs = (*case.image_shape[:2], channels[-1])
    return [*body, Layer("conv", kernel, inputs, case.image_shape, active=False)]


def initial_weights(case: Case, seed: int = 0) -> list[np.ndarray]:
    """Kernel and bias of every layer, encoder first: Glorot's uniform draw, and zeros."""
    rng = np.random.default_rng(seed)
    weights: list[np.ndarray] = []
    for layer in [*encoder_layers(case), *decoder_layers(case)]:
        places = math.prod(layer.kernel[:-2])
        limit = math.sqrt(6.0 / (places * sum(layer.kernel[-2:])))
        weights.append(rng.uniform(-limit, limit, layer.kernel).astype(np.float32))
        weights.append(np.zeros(layer.units, np.float32))
    return weights


@dataclass(frozen=True)
class Inputs:
    """What every competitor is given.

    Attributes:
        case: the model.
        weights: kernel and bias of every layer, encoder first, as Keras lays them out.
        images: float32 in [0, 1], `[N, H, W, C]`.
        noise: standard normals for the check, `[CHECK_STEPS, CHECK_BATCH, latent]`.
    """

    case: Case
    weights: list[np.ndarray]
    images: np.ndarray
    noise: np.ndarray

    @property
    def encoder_weights(self) -> list[np.ndarray]:
        return self.weights[: 2 * len(encoder_layers(self.case))]

    @property
    def decoder_weights(self) -> list[np.ndarray]:
        return self.weights[2 * len(encoder_layers(self.case)) :]

    def check_batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Images and noise of each step of the check."""
        for step, noise in enumerate(self.noise):
            yield self.images[step * CHECK_BATCH : (step + 1) * CHECK_BATCH], noise


def save_inputs(path: Path, case: Case, images: np.ndarray) -> None:
    """Writes the inputs of a case; `images` are uint8, `[N, H, W, C]`."""
    noise = np.random.default_rng(1).standard_normal((CHECK_STEPS, CHECK_BATCH, case.latent))
    arrays: dict[str, Any] = {"images": images, "noise": noise.astype(np.float32)}
    arrays |= {f"weight_{i:02d}": value for i, value in enumerate(initial_weights(case))}
    np.savez(path, **arrays)


def load_inputs(path: Path, case: Case) -> Inputs:
    """Reads what `save_inputs` wrote."""
    with np.load(path, allow_pickle=False) as archive:
        weights = [archive[name] for name in sorted(archive) if name.startswith("weight_")]
        images = archive["images"].astype(np.float32) / np.float32(255)
        return Inputs(case, weights, images, archive["noise"])


CASES = {
    case.name: case
    for case in (
        Case("dense", (28, 28, 1), "dense", (512, 256), 16, "relu", 16 * 1024),
        Case("dense200", (28, 28, 1), "dense", (200, 200), 50, "tanh", 16 * 1024),
        Case("conv28", (28, 28, 1), "conv", (32, 64), 16, "relu", 4 * 1024),
        Case("conv64", (64, 64, 3), "conv", (32, 64), 16, "relu", 1024),
    )
}
"""The models of the comparison, by name."""
