"""From a SavedModel of static shapes to a `.tflite` file, through TensorFlow's own converter.

int8 takes two steps of the converter's, with an edit in between: it calibrates, the ranges are
confined to the networks (`tfvae.export.calibration` says why), and it quantises. The second step is
a function that TensorFlow's quantisation debugger uses and does not document. `litert-quantizer`
0.11 was tried in its place: on files with several signatures its calibration fails or its result
does not run, it stores the weights again for each signature, and it pins one release of LiteRT.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import convert as tensorflow_convert

from tfvae.export import flatbuffer, measure
from tfvae.export.calibration import confine
from tfvae.export.half_precision import halve_weights
from tfvae.export.tracing import Traced

QUANTIZATIONS = ("float16", "dynamic", "int8")
# Rows of each signature that the ranges of activations are found with.
_CALIBRATION_ROWS = 256


def convert(
    model: Any,
    folder: str,
    traced: Mapping[str, Traced],
    quantization: str | None,
    data: np.ndarray | None,
    integer_io: bool,
) -> Any:
    """Converts a SavedModel.

    Args:
        model: the Keras model, to name its layers and to make example inputs.
        folder: the SavedModel.
        traced: its signatures.
        quantization: `None` or one of `QUANTIZATIONS`.
        data: representative data.
        integer_io: whether inputs and outputs of int8 networks are int8.

    Returns:
        The object tree of the file.

    Raises:
        ValueError: if a layer needs an operator that TFLite has not built in.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(traced))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if quantization in ("dynamic", "int8"):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantization == "int8":
        converter.representative_dataset = lambda: _calibration_inputs(model, traced, data)
        converter._experimental_calibrate_only = True
    try:
        with _quiet():
            content = converter.convert()
            if quantization == "int8":
                content = _quantize(content, integer_io)
    except tensorflow_convert.ConverterError as error:
        raise ValueError(_explain(error, model, traced)) from None
    tree = flatbuffer.unpack(content)
    if quantization == "float16":
        halve_weights(tree)
    return tree


def _calibration_inputs(
    model: Any, traced: Mapping[str, Traced], data: np.ndarray | None
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    for name, made in traced.items():
        batch = made.batch or 1
        rows = max(_CALIBRATION_ROWS, batch)
        inputs = measure.example_inputs(model, made.signature, rows, data)
        for start in range(0, rows - batch + 1, batch):
            yield name, {key: v[start : start + batch] for key, v in inputs.items()}


def _quantize(calibrated: bytes, integer_io: bool) -> bytes:
    edited = flatbuffer.unpack(calibrated)
    float_names = confine(edited, quantize_ends=integer_io)
    edge = tf.int8 if integer_io else tf.float32
    quantized: bytes = tensorflow_convert.mlir_quantize(
        flatbuffer.pack(edited),
        denylisted_nodes=float_names,
        input_data_type=edge,
        output_data_type=edge,
        # A scale for each unit of a dense layer, for its bias too, weighs as much as the layer.
        disable_per_channel_for_dense_layers=True,
    )
    return quantized


def _explain(
    error: tensorflow_convert.ConverterError, model: Any, traced: Mapping[str, Traced]
) -> str:
    """One line for what the converter says in pages: the layer, the operator, the signature."""
    names = {made.signature.name for made in traced.values()}
    culprits: dict[str, None] = {}
    for found in error.errors:
        places = [call.name.partition("@")[0].rstrip(":") for call in found.location.call]
        scopes = next((place.split("/") for place in places if "/" in place), places)
        operator = found.operator.name.removeprefix("tf.")
        # The body of a loop does not know the signature that it is in.
        where = f" in `{scopes[0]}`" if scopes[0] in names else ""
        culprits[f"{_layer_name(scopes, model)} needs {operator}{where}"] = None
    if not culprits:
        return f"TFLite's converter refused the model. Received: {str(error).splitlines()[0]}"
    return (
        "A device file takes TFLite's built-in operators alone, no Flex and no custom ones. "
        "Replace the layer, or leave the signature out with `signatures=...`. "
        f"Received: {'; '.join(culprits)}"
    )


def _layer_name(scopes: list[str], model: Any) -> str:
    """The innermost layer among the scopes of an operation, or the operation itself."""
    names = sorted((layer.name for layer in model._flatten_layers()), key=len, reverse=True)
    for scope in reversed(scopes[:-1]):
        # Scopes get a counter; TFP's name the place where a distribution was made.
        for name in names:
            if re.fullmatch(rf"(.*_)?{re.escape(name)}(_\d+)*", scope):
                return f"layer {name!r}"
    return f"operation {'/'.join(scopes)!r}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the converter from writing to the terminal; what it has to say is in its error."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as noise, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(noise.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
