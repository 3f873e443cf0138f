"""The limit: nothing but the matrix products and convolutions of a training step.

Of each layer the output, the gradient of the kernel and the gradient of the input, but not that of
the images: no activation, no loss, no optimizer, no data. The table takes the fastest library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench_competitors.cases import Inputs, Layer, decoder_layers, encoder_layers
from bench_competitors.contract import Check, Competitor

Product = tuple[Layer, np.ndarray, np.ndarray, np.ndarray, bool]
"""Layer, inputs, kernel, gradient of the outputs, and whether that of the inputs is wanted."""


def products(inputs: Inputs, batch: int) -> list[Product]:
    """The products of a step, with numbers of the right shapes."""
    rng = np.random.default_rng(0)
    made: list[Product] = []
    layers = [*encoder_layers(inputs.case), *decoder_layers(inputs.case)]
    for index, layer in enumerate(layers):
        x = rng.standard_normal((batch, *layer.inputs), np.float32)
        gradient = rng.standard_normal((batch, *layer.outputs), np.float32)
        made.append((layer, x, inputs.weights[2 * index], gradient, index > 0))
    return made


def with_numpy(made: list[Product]) -> Callable[[], Any]:
    """Dense layers only."""
    buffers = [
        (x, kernel, gradient, wants, np.empty_like(gradient), np.empty_like(kernel), x.copy())
        for _, x, kernel, gradient, wants in made
    ]

    def step() -> None:
        for x, kernel, gradient, wants, outputs, of_kernel, of_x in buffers:
            np.matmul(x, kernel, out=outputs)
            np.matmul(x.T, gradient, out=of_kernel)
            if wants:
                np.matmul(gradient, kernel.T, out=of_x)

    return step


def with_torch(made: list[Product]) -> Callable[[], Any]:
    """Convolutions are channels last."""
    import torch

    def maps(array: np.ndarray) -> Any:
        return torch.from_numpy(array).permute(0, 3, 1, 2)

    def dense(x: np.ndarray, kernel: np.ndarray, gradient: np.ndarray, wants: bool) -> Any:
        a, w, g = (torch.from_numpy(array) for array in (x, kernel, gradient))
        outputs, of_w, of_a = torch.empty_like(g), torch.empty_like(w), torch.empty_like(a)

        def run() -> None:
            torch.mm(a, w, out=outputs)
            torch.mm(a.T, g, out=of_w)
            if wants:
                torch.mm(g, w.T, out=of_a)

        return run

    def conv(layer: Layer, x: np.ndarray, kernel: np.ndarray, g: np.ndarray, wants: bool) -> Any:
        transposed = layer.kind == "transposed"
        pads = ([1, 1], [1, 1], transposed, [int(transposed)] * 2, 1)
        w = torch.from_numpy(kernel).permute(3, 2, 0, 1)
        w = w.contiguous(memory_format=torch.channels_last)
        a, gradient = maps(x), maps(g)
        stride = [layer.stride] * 2

        def run() -> None:
            torch.convolution(a, w, None, stride, *pads)
            torch.ops.aten.convolution_backward(
                gradient, a, w, None, stride, *pads, [wants, True, False]
            )

        return run

    runs = [
        dense(x, kernel, g, wants) if layer.kind == "dense" else conv(layer, x, kernel, g, wants)
        for layer, x, kernel, g, wants in made
    ]

    def step() -> None:
        with torch.inference_mode():
            for run in runs:
                run()

    return step


def with_jax(made: list[Product]) -> Callable[[], Any]:
    """All products in one call; gradients of convolutions are JAX's own."""
    import jax
    from jax import lax

    def forward(layer: Layer, x: Any, kernel: Any) -> Any:
        if layer.kind == "dense":
            return x @ kernel
        options: Any = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
        strides = (layer.stride, layer.stride)
        if layer.kind == "conv":
            return lax.conv_general_dilated(x, kernel, strides, "SAME", **options)
        return lax.conv_transpose(x, kernel, strides, "SAME", transpose_kernel=True, **options)

    layers = [layer for layer, *_ in made]
    wanted = [wants for *_, wants in made]

    @jax.jit
    def step(arrays: Any) -> Any:
        results = []
        for layer, wants, (x, kernel, gradient) in zip(layers, wanted, arrays, strict=True):
            outputs, backward = jax.vjp(lambda x, k, layer=layer: forward(layer, x, k), x, kernel)
            of_x, of_kernel = backward(gradient)
            results.append((outputs, of_kernel, of_x if wants else None))
        return results

    arrays = jax.device_put([(x, kernel, g) for _, x, kernel, g, _ in made])
    return lambda: jax.block_until_ready(step(arrays))


def with_tensorflow(made: list[Product]) -> Callable[[], Any]:
    """TensorFlow's own kernels, without XLA."""
    import tensorflow as tf

    def dense(x: Any, kernel: Any, gradient: Any, wants: bool) -> list[Any]:
        return [
            tf.matmul(x, kernel),
            tf.matmul(x, gradient, transpose_a=True),
            *([tf.matmul(gradient, kernel, transpose_b=True)] if wants else []),
        ]

    def conv(layer: Layer, x: Any, kernel: Any, g: Any, wants: bool) -> list[Any]:
        options: Any = {"strides": [1, layer.stride, layer.stride, 1], "padding": "SAME"}
        raw = tf.raw_ops
        if layer.kind == "transposed":
            # Forward is the gradient of a convolution, backward the convolution.
            return [
                raw.Conv2DBackpropInput(
                    input_sizes=tf.shape(g), filter=kernel, out_backprop=x, **options
                ),
                raw.Conv2DBackpropFilter(
                    input=g, filter_sizes=tf.shape(kernel), out_backprop=x, **options
                ),
                *([raw.Conv2D(input=g, filter=kernel, **options)] if wants else []),
            ]
        outputs = [
            raw.Conv2D(input=x, filter=kernel, **options),
            raw.Conv2DBackpropFilter(
                input=x, filter_sizes=tf.shape(kernel), out_backprop=g, **options
            ),
        ]
        if wants:
            outputs.append(
                raw.Conv2DBackpropInput(
                    input_sizes=tf.shape(x), filter=kernel, out_backprop=g, **options
                )
            )
        return outputs

    tensors = [tuple(map(tf.Variable, (x, kernel, g))) for _, x, kernel, g, _ in made]

    @tf.function(autograph=False)
    def step() -> Any:
        results = []
        for (layer, *_, wants), (x, kernel, g) in zip(made, tensors, strict=True):
            arrays = (tf.convert_to_tensor(x), tf.convert_to_tensor(kernel), tf.identity(g))
            if layer.kind == "dense":
                results += dense(*arrays, wants)
            else:
                results += conv(layer, *arrays, wants)
        return results

    return lambda: step()[0].numpy()


LIBRARIES = {
    "numpy": with_numpy,
    "torch": with_torch,
    "jax": with_jax,
    "tensorflow": with_tensorflow,
}


class Limit(Competitor):
    """An epoch of products."""

    def __init__(self, inputs: Inputs, batch: int, variant: str) -> None:
        super().__init__(inputs, batch, variant)
        self.step = LIBRARIES[variant](products(inputs, batch))

    def check(self) -> Check:
        raise NotImplementedError

    def train(self, epochs: int) -> None:
        for _ in range(epochs * (len(self.inputs.images) // self.batch)):
            self.step()


COMPETITOR = Limit
