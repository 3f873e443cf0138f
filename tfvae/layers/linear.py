"""Linear operations whose kernel may be random: a matrix product and the convolutions.

An operation knows the shape of its kernel, applies any kernel to its input, adds a bias, and says
over which axes the elements of one example share a kernel's rows and columns, where Flipout puts
its signs. It holds no weights and is linear in both arguments, which is all that the estimators in
`tfvae.layers.estimators` ask for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfvae.layers.parameters import positive_integer


class LinearOperation(ABC):
    """Abstract base: y = inputs * kernel, for some product."""

    # Size of the last axis of the kernel: units or filters.
    outputs: int
    channel_axis: int

    @abstractmethod
    def check_rank(self, input_shape: tuple[int | None, ...]) -> None:
        """Raises `ValueError` if an input of this shape has not the rank that is needed."""

    @abstractmethod
    def kernel_shape_of(self, channels: int) -> tuple[int, ...]:
        """Shape of the kernel for an input of so many channels."""

    @abstractmethod
    def __call__(self, inputs: Any, kernel: Any) -> Any:
        """Applies a kernel, in the dtype of the inputs."""

    @abstractmethod
    def broadcast_bias(self, bias: tf.Tensor) -> tf.Tensor:
        """Brings a bias `[outputs]` to a shape that broadcasts against the output."""

    @abstractmethod
    def sign_shape(self, tensor: tf.Tensor) -> tf.Tensor:
        """Shape of the signs of an input or output: one for each example and channel."""

    @abstractmethod
    def get_config(self) -> dict[str, Any]:
        """The arguments of the operation, by the name that they have in a layer."""

    def kernel_shape(self, input_shape: Any) -> tuple[int, ...]:
        """Shape of the kernel for an input of this shape.

        Raises:
            ValueError: if the input has another rank, or channels of unknown number.
        """
        input_shape = tuple(input_shape)
        self.check_rank(input_shape)
        channels = input_shape[self.channel_axis]
        if channels is None:
            raise ValueError(
                f"The size of axis {self.channel_axis} of the input, its channels, must be known "
                f"when the layer is built. Received: input shape {input_shape}"
            )
        return self.kernel_shape_of(channels)

    def output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Shape of the output for an input of this shape, by running the operation on symbols."""
        kernel_shape = self.kernel_shape(input_shape)
        return tuple(self(keras.KerasTensor(input_shape), keras.KerasTensor(kernel_shape)).shape)


class MatrixProduct(LinearOperation):
    """`[..., channels]` times `[channels, units]`.

    Args:
        units: size of the last axis of the output.
    """

    channel_axis = -1

    def __init__(self, units: int) -> None:
        self.outputs = positive_integer(units, "units")

    def check_rank(self, input_shape: tuple[int | None, ...]) -> None:
        if len(input_shape) < 2:
            raise ValueError(
                "A dense layer needs an input of rank 2 or more, [B, ..., channels]. "
                f"Received: input shape {input_shape}"
            )

    def kernel_shape_of(self, channels: int) -> tuple[int, ...]:
        return channels, self.outputs

    def __call__(self, inputs: Any, kernel: Any) -> Any:
        return keras.ops.matmul(inputs, keras.ops.cast(kernel, inputs.dtype))

    def broadcast_bias(self, bias: tf.Tensor) -> tf.Tensor:
        return bias

    def sign_shape(self, tensor: tf.Tensor) -> tf.Tensor:
        return tf.shape(tensor)

    def get_config(self) -> dict[str, Any]:
        return {"units": self.outputs}


class Convolution(LinearOperation):
    """Convolution over `rank` axes, as in the convolutional layers of Keras.

    Args:
        rank: number of axes that are convolved: 1, 2 or 3.
        filters: number of channels of the output.
        kernel_size: size of the window, an integer or one for each axis.
        strides: steps of the window.
        padding: `"valid"`, `"same"`, or `"causal"` in one dimension.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: distance between the taps of the window.

    Raises:
        ValueError: if an argument is out of range, or strides and dilation are both above 1.
    """

    def __init__(
        self,
        rank: int,
        filters: int,
        kernel_size: Any,
        strides: Any,
        padding: str,
        data_format: str,
        dilation_rate: Any,
    ) -> None:
        self.rank = rank
        self.outputs = positive_integer(filters, "filters")
        self.kernel_size = _window(kernel_size, rank, "kernel_size")
        self.strides = _window(strides, rank, "strides")
        self.dilation_rate = _window(dilation_rate, rank, "dilation_rate")
        paddings = ("valid", "same", "causal") if rank == 1 else ("valid", "same")
        self.padding = _one_of(padding, paddings, "padding")
        formats = ("channels_last", "channels_first")
        self.data_format = _one_of(data_format, formats, "data_format")
        self.channel_axis = -1 if self.data_format == "channels_last" else 1
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                "A convolution takes strides or a dilation above 1, not both. Received: "
                f"strides={self.strides}, dilation_rate={self.dilation_rate}"
            )

    def check_rank(self, input_shape: tuple[int | None, ...]) -> None:
        if len(input_shape) != self.rank + 2:
            raise ValueError(
                f"A convolution over {self.rank} axes needs an input of rank {self.rank + 2}: "
                f"batch, channels and those axes. Received: input shape {input_shape}"
            )

    def kernel_shape_of(self, channels: int) -> tuple[int, ...]:
        return *self.kernel_size, channels, self.outputs

    def __call__(self, inputs: Any, kernel: Any) -> Any:
        padding = self.padding
        if padding == "causal":
            before = self.dilation_rate[0] * (self.kernel_size[0] - 1)
            pad = [[0, 0], [0, 0], [0, 0]]
            pad[1 if self.data_format == "channels_last" else 2][0] = before
            inputs, padding = keras.ops.pad(inputs, pad), "valid"
        return keras.ops.conv(
            inputs,
            keras.ops.cast(kernel, inputs.dtype),
            strides=list(self.strides),
            padding=padding,
            data_format=self.data_format,
            dilation_rate=list(self.dilation_rate),
        )

    def broadcast_bias(self, bias: tf.Tensor) -> tf.Tensor:
        if self.data_format == "channels_last":
            return bias
        return tf.reshape(bias, [self.outputs, *[1] * self.rank])

    def sign_shape(self, tensor: tf.Tensor) -> tf.Tensor:
        # A kernel slides over its axes, so the signs of an example are the same all along them.
        batch, channels = tf.shape(tensor)[:1], tf.shape(tensor)[self.channel_axis][None]
        ones = tf.ones([self.rank], tf.int32)
        if self.data_format == "channels_last":
            return tf.concat([batch, ones, channels], axis=0)
        return tf.concat([batch, channels, ones], axis=0)

    def get_config(self) -> dict[str, Any]:
        return {
            "filters": self.outputs,
            "kernel_size": list(self.kernel_size),
            "strides": list(self.strides),
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": list(self.dilation_rate),
        }


def _window(value: Any, rank: int, name: str) -> tuple[int, ...]:
    """An integer for all axes, or one for each, as a tuple."""
    sizes = [value] * rank if isinstance(value, (int, np.integer)) else value
    if not isinstance(sizes, (list, tuple)) or len(sizes) != rank:
        raise ValueError(
            f"`{name}` must be an integer, or a tuple of {rank} integers. Received: {value!r}"
        )
    return tuple(positive_integer(size, name) for size in sizes)


def _one_of(value: Any, choices: tuple[str, ...], name: str) -> str:
    lowered = value.lower() if isinstance(value, str) else value
    if lowered not in choices:
        raise ValueError(f"`{name}` must be one of {choices}. Received: {value!r}")
    return lowered
