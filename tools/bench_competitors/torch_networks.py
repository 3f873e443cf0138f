"""The networks in PyTorch, for the plain loop and for Pythae.

TensorFlow pads a stride of 2 below and to the right, PyTorch above and to the left. So that neither
pays for a padding of its own, everything spatial is turned by half a turn here: images, kernels and
the dense kernels on either side of the maps. The loss is the same, and so is the work.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from bench_competitors.cases import Case, Layer, decoder_layers, encoder_layers


def half_turn(array: np.ndarray) -> np.ndarray:
    """Turns `[..., H, W, C]` by half a turn."""
    return np.ascontiguousarray(array[..., ::-1, ::-1, :])


class ToMaps(nn.Module):
    """`[B, H * W * C]` to `[B, C, H, W]`, in memory as before: channels last."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(-1, *self.shape).permute(0, 3, 1, 2)


class ToVectors(nn.Module):
    """The inverse of `ToMaps`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


def _module(
    layer: Layer, kernel: np.ndarray, bias: np.ndarray, before: Layer | None, after: Layer | None
) -> list[nn.Module]:
    modules: list[nn.Module] = []
    made: nn.Module
    if layer.kind == "dense":
        made = nn.Linear(*layer.kernel)
        if before is not None and before.kind != "dense":
            modules.append(ToVectors())
            kernel = half_turn(kernel.reshape(*before.outputs, -1).transpose(3, 0, 1, 2))
            kernel = kernel.reshape(layer.units, -1).T
        if after is not None and after.kind != "dense":
            kernel = half_turn(kernel.reshape(-1, *after.inputs)).reshape(kernel.shape)
            bias = half_turn(bias.reshape(after.inputs)).ravel()
        kernel = kernel.T
    else:
        kernel = kernel[::-1, ::-1].transpose(3, 2, 0, 1)
        if layer.kind == "conv":
            made = nn.Conv2d(layer.inputs[-1], layer.units, 3, layer.stride, padding=1)
        else:
            made = nn.ConvTranspose2d(
                layer.inputs[-1], layer.units, 3, layer.stride, padding=1, output_padding=1
            )
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(np.ascontiguousarray(kernel)))
        made.bias.copy_(torch.from_numpy(np.ascontiguousarray(bias)))
    modules.append(made)
    if after is not None and layer.kind == "dense" and after.kind != "dense":
        modules.append(ToMaps(after.inputs))
    return modules


def network(plan: list[Layer], activation: str, weights: list[np.ndarray]) -> nn.Sequential:
    """The layers of a plan, with their weights."""
    modules: list[nn.Module] = []
    for index, layer in enumerate(plan):
        before = plan[index - 1] if index else None
        after = plan[index + 1] if index + 1 < len(plan) else None
        made = _module(layer, weights[2 * index], weights[2 * index + 1], before, after)
        if layer.active:
            # Directly after the weights, before the vector becomes maps.
            at = next(i for i, module in enumerate(made) if hasattr(module, "weight"))
            made.insert(at + 1, nn.ReLU() if activation == "relu" else nn.Tanh())
        modules += made
    return nn.Sequential(*modules)


def encoder(case: Case, weights: list[np.ndarray]) -> nn.Sequential:
    """From images as `image_tensor` has them to the parameters of the posterior."""
    return network(encoder_layers(case), case.activation, weights)


def decoder(case: Case, weights: list[np.ndarray]) -> nn.Sequential:
    """From codes to logits, in the shape of the images."""
    return network(decoder_layers(case), case.activation, weights)


def image_tensor(case: Case, images: np.ndarray, channels_last: bool = True) -> torch.Tensor:
    """Images as the networks want them: vectors, or `[N, C, H, W]`."""
    if case.network == "dense":
        return torch.from_numpy(images.reshape(len(images), -1))
    tensor = torch.from_numpy(half_turn(images)).permute(0, 3, 1, 2)
    return tensor if channels_last else tensor.contiguous()
