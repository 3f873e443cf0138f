"""The networks inside encoders and decoders: plain Keras models from tensors to tensors.

They end in the parameters of a distribution, without an activation; a distribution layer follows.
Any other Keras model serves as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

NETWORKS = ("dense", "conv")


def _check_sizes(name: str, sizes: Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(sizes)
    if not sizes or not all(isinstance(s, int) and s >= 1 for s in sizes):
        raise ValueError(
            f"`{name}` must be a non-empty sequence of integers, each at least 1. "
            f"Received: {sizes!r}"
        )
    return sizes


def _image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    shape = _check_sizes("image_shape", shape)
    if len(shape) != 3:
        raise ValueError(
            "A convolutional network needs images of shape (height, width, channels); use "
            f"network='dense' for vectors. Received: {shape!r}"
        )
    return shape


def dense(
    input_shape: Sequence[int],
    output_size: int,
    hidden: Sequence[int] = (512, 256),
    activation: Any = "relu",
    name: str | None = None,
) -> keras.Sequential:
    """A multilayer perceptron, for an encoder (from images) or a decoder (from codes).

    Args:
        input_shape: shape of an example, flattened if it is not a vector.
        output_size: number of outputs, linear.
        hidden: units of the hidden layers, in order.
        activation: activation of the hidden layers.
        name: name of the model.

    Returns:
        A model from `[B, *input_shape]` to `[B, output_size]`.

    Raises:
        ValueError: if a size is not a positive integer.

    Example:
        >>> dense((28, 28, 1), 32, hidden=(64,)).output_shape
        (None, 32)
    """
    input_shape = _check_sizes("input_shape", input_shape)
    flatten = [layers.Flatten()] if len(input_shape) > 1 else []
    body = [layers.Dense(units, activation) for units in _check_sizes("hidden", hidden)]
    return keras.Sequential(
        [keras.Input(input_shape), *flatten, *body, layers.Dense(output_size)], name=name
    )


def conv_encoder(
    image_shape: Sequence[int],
    output_size: int,
    hidden: Sequence[int] = (32, 64),
    activation: Any = "relu",
    name: str | None = None,
) -> keras.Sequential:
    """A convolutional encoder for images of any size and number of channels.

    Args:
        image_shape: `(height, width, channels)`.
        output_size: number of outputs, linear.
        hidden: filters of the convolutions; each halves the height and width, rounded up.
        activation: activation of the convolutions.
        name: name of the model.

    Returns:
        A model from `[B, H, W, C]` to `[B, output_size]`.

    Raises:
        ValueError: if the shape is not that of an image or a size is not a positive integer.

    Example:
        >>> conv_encoder((27, 31, 3), 8).output_shape
        (None, 8)
    """
    body = [
        layers.Conv2D(filters, 3, strides=2, padding="same", activation=activation)
        for filters in _check_sizes("hidden", hidden)
    ]
    return keras.Sequential(
        [
            keras.Input(_image_shape(image_shape)),
            *body,
            layers.Flatten(),
            layers.Dense(output_size),
        ],
        name=name,
    )


def conv_decoder(
    latent_dim: int,
    image_shape: Sequence[int],
    maps: int = 1,
    hidden: Sequence[int] = (64, 32),
    activation: Any = "relu",
    name: str | None = None,
) -> keras.Sequential:
    """A convolutional decoder to images of any size: the mirror image of `conv_encoder`.

    Args:
        latent_dim: size of a code.
        image_shape: `(height, width, channels)` of the images.
        maps: parameters that the likelihood has for each value of a pixel.
        hidden: filters, from the smallest resolution to the largest; each transposed convolution
            doubles the height and width, and an odd size is cropped.
        activation: activation of the convolutions.
        name: name of the model.

    Returns:
        A model from `[B, latent_dim]` to `[B, maps * H * W * C]`, the maps one after the other as
        the distribution layers expect their parameters.

    Raises:
        ValueError: if the shape is not that of an image or a size is not a positive integer.

    Example:
        >>> conv_decoder(8, (27, 31, 3), maps=2).output_shape
        (None, 5022)
    """
    height, width, channels = _image_shape(image_shape)
    hidden = _check_sizes("hidden", hidden)
    sizes = [(height, width)]
    for _ in hidden:
        sizes.insert(0, (-(-sizes[0][0] // 2), -(-sizes[0][1] // 2)))
    body: list[Any] = [
        layers.Dense(math.prod(sizes[0]) * hidden[0], activation),
        layers.Reshape((*sizes[0], hidden[0])),
    ]
    for filters, (rows, columns), (made_from_rows, made_from_columns) in zip(
        hidden, sizes[1:], sizes[:-1], strict=True
    ):
        body.append(
            layers.Conv2DTranspose(filters, 3, strides=2, padding="same", activation=activation)
        )
        extra = (2 * made_from_rows - rows, 2 * made_from_columns - columns)
        if any(extra):
            body.append(layers.Cropping2D(((0, extra[0]), (0, extra[1]))))
    body.append(layers.Conv2D(maps * channels, 3, padding="same"))
    if maps > 1:
        # [H, W, maps * C] to [maps, H, W, C]: each parameter is one block of the vector.
        body += [layers.Reshape((height, width, maps, channels)), layers.Permute((3, 1, 2, 4))]
    return keras.Sequential(
        [keras.Input(_check_sizes("latent_dim", [latent_dim])), *body, layers.Flatten()], name=name
    )
