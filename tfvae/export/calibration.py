"""Which tensors of a `.tflite` file become int8, and over which range.

The converter's own full quantisation takes whatever it can. Of a VAE that is too much: Box and
Muller's transform in eight bits draws other codes than the seed means, and a posterior's mean is
cut off at zero, because the converter gives the split into mean and scale one range for both
halves. So the ranges of a calibrated file are edited before it is quantised:

* Tensors keep their range where the networks are: at the inputs and outputs of the operators that
  have weights, and between two such operators. Everything else stays float: the generator, and the
  arithmetic that turns parameters into a distribution.
* Operators with the same weights get one range, over all signatures. So `decode`, `decode_16` and
  `sample` compute the same function, and their weights and biases are stored once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfvae.export.flatbuffer import builtin_names, constant, schema

# Operators with weights, and where their data and their weights are among the inputs.
_WEIGHTED = {
    "FULLY_CONNECTED": (0, 1),
    "CONV_2D": (0, 1),
    "DEPTHWISE_CONV_2D": (0, 1),
    "TRANSPOSE_CONV": (2, 1),
}
# What may follow the last of them in eight bits: it moves values, or has a fixed range.
_HARMLESS = ("RESHAPE", "LOGISTIC", "TRANSPOSE", "STRIDED_SLICE", "SLICE", "SPLIT", "SQUEEZE")


def confine(model: Any, quantize_ends: bool) -> set[str]:
    """Edits the ranges of a calibrated file.

    Args:
        model: the object tree of a file whose float tensors have a `min` and a `max`, changed in
            place.
        quantize_ends: whether what is before the first weights and after the last is quantised as
            far as it does no harm, for int8 inputs and outputs.

    Returns:
        The names of the tensors whose operators must stay float.
    """
    parts = [_Part(model, subgraph, quantize_ends) for subgraph in model.subgraphs]
    ranges: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for part in parts:
        for key, tensor in part.weighted_ends():
            if (found := _range(tensor)) is not None:
                ranges.setdefault(key, []).append(found)
    for part in parts:
        for key, tensor in part.weighted_ends():
            if key in ranges:
                lows, highs = zip(*ranges[key], strict=True)
                _set_range(tensor, min(lows), max(highs))
        part.clear_other_ranges()
    return {name for part in parts for name in part.float_names()}


def _range(tensor: Any) -> tuple[float, float] | None:
    quantization = tensor.quantization
    if quantization is None or quantization.min is None or not len(quantization.min):
        return None
    return float(quantization.min[0]), float(quantization.max[0])


def _set_range(tensor: Any, low: float, high: float) -> None:
    tensor.quantization = schema().QuantizationParametersT()
    tensor.quantization.min = np.array([low], np.float32)
    tensor.quantization.max = np.array([high], np.float32)


class _Part:
    """A signature's subgraph: which of its operators are network, which are not."""

    def __init__(self, model: Any, subgraph: Any, quantize_ends: bool) -> None:
        self._tensors = subgraph.tensors
        names = builtin_names(model)
        self._operators = [(names[op.opcodeIndex], op) for op in subgraph.operators]
        self._constants = {
            index for index, tensor in enumerate(self._tensors) if constant(model, tensor)
        }
        self._weighted = [
            (op, op.inputs[_WEIGHTED[kind][0]], op.inputs[_WEIGHTED[kind][1]])
            for kind, op in self._operators
            if kind in _WEIGHTED and op.inputs[_WEIGHTED[kind][1]] in self._constants
        ]
        after = {index for op, _, _ in self._weighted for index in op.outputs}
        if quantize_ends:
            float32 = schema().TensorType.FLOAT32
            after |= {index for index in subgraph.inputs if self._tensors[index].type == float32}
        self._network_tensors = self._between(after) | {
            index for op, data, _ in self._weighted for index in (data, *op.outputs)
        }
        if quantize_ends:
            self._follow_ends()

    def _between(self, after: set[int]) -> set[int]:
        """The tensors that depend on these and that weighted operators depend on."""
        for _, op in self._operators:
            if after & {*op.inputs}:
                after |= {*op.outputs}
        before = {data for _, data, _ in self._weighted}
        for _, op in reversed(self._operators):
            if before & {*op.outputs}:
                before |= {*op.inputs}
        return after & before

    def _follow_ends(self) -> None:
        for kind, op in self._operators:
            if kind in _HARMLESS and self._network_tensors & {*op.inputs}:
                self._network_tensors |= {*op.outputs}

    def weighted_ends(self) -> list[tuple[tuple[int, str], Any]]:
        """The data that goes in and out of each weighted operator, by the buffer of its weights."""
        tensors = self._tensors
        return [
            ((tensors[weights].buffer, end), tensors[index])
            for op, data, weights in self._weighted
            for end, index in (("in", data), ("out", op.outputs[0]))
        ]

    def clear_other_ranges(self) -> None:
        for index, tensor in enumerate(self._tensors):
            if index not in self._network_tensors | self._constants:
                tensor.quantization = None

    def float_names(self) -> set[str]:
        """Names of the results of the operators that are no network."""
        return {
            self._tensors[index].name.decode()
            for _, op in self._operators
            for index in op.outputs
            if index not in self._network_tensors or not self._network_tensors & {*op.inputs}
        }
