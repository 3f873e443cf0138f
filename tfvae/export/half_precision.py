"""Weights in half precision, all else as it was.

The converter's own float16 rounds every constant, 2 pi in the noise of a seed among them: `sample`
then draws codes that are 0.004 off, and a seed no longer means one picture everywhere. Here the
weights of the networks alone are stored in float16, each with the operator in front that makes it
float32 again. Runtimes fold that operator away when they load the file, or compute in float16.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfvae.export.flatbuffer import builtin_names, constant, schema

# Operators that have weights, with the places of these among their inputs.
_WEIGHTS = {
    "FULLY_CONNECTED": (1,),
    "CONV_2D": (1,),
    "DEPTHWISE_CONV_2D": (1,),
    "TRANSPOSE_CONV": (1,),
    "BATCH_MATMUL": (0, 1),
    "GATHER": (0,),
}
# The version of DEQUANTIZE that reads float16.
_DEQUANTIZE_VERSION = 3


def halve_weights(model: Any) -> None:
    """Stores the weights of a float32 file in float16.

    Args:
        model: the file's object tree, changed in place.
    """
    classes = schema()
    names = builtin_names(model)
    code = classes.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = classes.BuiltinOperator.DEQUANTIZE
    code.version = _DEQUANTIZE_VERSION
    model.operatorCodes.append(code)
    halves: dict[int, int] = {}
    for subgraph in model.subgraphs:
        weights = {
            operator.inputs[place]: None
            for operator in subgraph.operators
            for place in _WEIGHTS.get(names[operator.opcodeIndex], ())
        }
        for index in weights:
            tensor = subgraph.tensors[index]
            content = constant(model, tensor)
            if not content or tensor.type != classes.TensorType.FLOAT32:
                continue
            if tensor.buffer not in halves:
                half = classes.BufferT()
                floats = np.frombuffer(content, np.float32)
                half.data = np.frombuffer(floats.astype(np.float16).tobytes(), np.uint8)
                halves[tensor.buffer] = len(model.buffers)
                model.buffers.append(half)
            stored = classes.TensorT()
            stored.name, stored.shape = tensor.name, tensor.shape
            stored.type, stored.buffer = classes.TensorType.FLOAT16, halves[tensor.buffer]
            tensor.buffer = 0
            subgraph.tensors.append(stored)
            widen = classes.OperatorT()
            widen.opcodeIndex = len(model.operatorCodes) - 1
            widen.inputs = np.array([len(subgraph.tensors) - 1], np.int32)
            widen.outputs = np.array([index], np.int32)
            subgraph.operators.insert(0, widen)
