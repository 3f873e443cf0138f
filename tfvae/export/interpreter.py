"""Running a `.tflite` file with LiteRT, signature by signature."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tfvae.export.flatbuffer import schema

Runner = Callable[..., dict[str, np.ndarray]]


def runners(content: bytes, reference_kernels: bool = False) -> dict[str, Runner]:
    """Loads a file.

    Args:
        content: the file.
        reference_kernels: whether to run TFLite's plain reference kernels in place of the
            optimised ones and XNNPACK.

    Returns:
        A function for each signature, from its inputs by name to its outputs by name. Inputs and
        outputs are real numbers also where the file takes and gives int8.

    Raises:
        ValueError: if LiteRT is not installed.
    """
    schema()
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_REF if reference_kernels else OpResolverType.AUTO
    interpreter = Interpreter(
        model_content=content, num_threads=1, experimental_op_resolver_type=resolver
    )
    return {
        name: partial(_run, interpreter.get_signature_runner(name))
        for name in interpreter.get_signature_list()
    }


def _run(runner: Any, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    details = runner.get_input_details()
    stored = {name: _quantize(value, details[name]) for name, value in inputs.items()}
    outputs = runner(**stored)
    details = runner.get_output_details()
    return {name: _dequantize(value, details[name]) for name, value in outputs.items()}


def _quantize(value: np.ndarray, details: Any) -> np.ndarray:
    scale, zero = details["quantization"]
    if not scale:
        return value
    limits = np.iinfo(details["dtype"])
    steps = np.round(np.asarray(value) / scale) + zero
    return np.clip(steps, limits.min, limits.max).astype(details["dtype"])


def _dequantize(value: np.ndarray, details: Any) -> np.ndarray:
    scale, zero = details["quantization"]
    return (value.astype(np.float32) - zero) * np.float32(scale) if scale else value
