"""A `.tflite` file as the FlatBuffer that it is: read, made smaller, put in order, labelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np

IDENTIFIER = b"TFL3"
METADATA_NAME = b"tfvae_model_card"
"""The entry of the file's metadata that holds the model card, JSON in UTF-8."""


def schema() -> Any:
    """The schema's classes, which come with LiteRT.

    Raises:
        ValueError: if LiteRT is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError:
        raise ValueError(
            "A .tflite file needs LiteRT: pip install 'tfvae[export]'. "
            "Received: no module `ai_edge_litert`"
        ) from None
    return schema_py_generated


def unpack(content: bytes) -> Any:
    """The file as an object tree, `schema.ModelT`."""
    return schema().ModelT.InitFromPackedBuf(content, 0)


def pack(model: Any) -> bytes:
    """The inverse of `unpack`; equal vectors are stored once."""
    builder = _Builder(1024)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


class _Builder(flatbuffers.Builder):
    """Shares equal vectors, and aligns constants as the schema asks, which Python's does not.

    A layer quantised by channel has a scale and a zero for each of its units; repeated for its
    bias and for every signature they would be larger than its weights.
    """

    _ALIGNMENT = 16

    def __init__(self, initial_size: int) -> None:
        super().__init__(initial_size)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802
        key = x.dtype.str, x.tobytes()
        if key not in self._written:
            alignment = self._ALIGNMENT if x.dtype == np.uint8 else x.dtype.alignment
            self.StartVector(x.itemsize, x.size, alignment)
            self.head -= len(key[1])
            self.Bytes[self.head : self.head + len(key[1])] = key[1]
            self._written[key] = self.EndVector()
        return self._written[key]


def tidy(model: Any, signature_names: Sequence[str]) -> None:
    """Puts the signatures in order, stores equal constants once and drops the converter's notes.

    The signatures of a model use the same weights. The converter shares them in a float file; a
    quantised file holds a copy for every signature until they are shared again here.

    Args:
        model: the object tree, changed in place.
        signature_names: every signature, in the order wanted.
    """
    by_name = {entry.signatureKey.decode(): entry for entry in model.signatureDefs}
    model.signatureDefs = [by_name[name] for name in signature_names]
    _share_buffers(model)
    for subgraph in model.subgraphs:
        visible = {*subgraph.inputs, *subgraph.outputs}
        for index, tensor in enumerate(subgraph.tensors):
            if index not in visible:
                tensor.name = None
            if tensor.quantization is not None and tensor.quantization.scale is None:
                tensor.quantization = None
        for operator in subgraph.operators:
            operator.debugMetadataIndex = -1


def _share_buffers(model: Any) -> None:
    """Keeps the buffers that something refers to, equal ones once."""
    kept: list[Any] = [model.buffers[0]]  # By the format's own rule the first one is empty.
    places: dict[bytes, int] = {b"": 0}
    tensors = [tensor for subgraph in model.subgraphs for tensor in subgraph.tensors]
    for owner in [*tensors, *(model.metadata or [])]:
        content = constant(model, owner)
        if content not in places:
            places[content] = len(kept)
            kept.append(model.buffers[owner.buffer])
        owner.buffer = places[content]
    model.buffers = kept


def constant(model: Any, owner: Any) -> bytes:
    """The bytes of a tensor's or a metadata entry's buffer; none of a tensor that is computed."""
    data = model.buffers[owner.buffer].data
    return b"" if data is None else np.asarray(data, np.uint8).tobytes()


def set_metadata(model: Any, text: str, description: str) -> None:
    """Stores a text and a one-line description; the converter's own metadata stays.

    Args:
        model: the object tree, changed in place.
        text: what `read_metadata` gives back.
        description: what tools show as the model's description.
    """
    classes = schema()
    buffer = classes.BufferT()
    buffer.data = np.frombuffer(text.encode("utf-8"), np.uint8)
    model.buffers.append(buffer)
    entry = classes.MetadataT()
    entry.name, entry.buffer = METADATA_NAME, len(model.buffers) - 1
    others = [old for old in model.metadata or [] if old.name != METADATA_NAME]
    model.metadata = [*others, entry]
    model.description = description


def read_metadata(content: bytes) -> str | None:
    """The text that `set_metadata` stored, or `None` for another file."""
    if content[4:8] != IDENTIFIER:
        return None
    model = schema().Model.GetRootAs(content, 0)
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == METADATA_NAME:
            return model.Buffers(entry.Buffer()).DataAsNumpy().tobytes().decode("utf-8")
    return None


def builtin_names(model: Any) -> list[str]:
    """The name of each entry of the operator table, a custom operator's own."""
    builtin = {value: name for name, value in vars(schema().BuiltinOperator).items()}
    return [
        # Old files store the code in the deprecated field alone, new ones in both.
        builtin[max(code.builtinCode, code.deprecatedBuiltinCode)]
        if code.customCode is None
        else code.customCode.decode()
        for code in model.operatorCodes
    ]


def operators(content: bytes) -> dict[str, list[str]]:
    """The operators of each signature by their names in the schema, custom ones by their own.

    Args:
        content: the file.

    Returns:
        For each signature its operators, in order.
    """
    model = unpack(content)
    names = builtin_names(model)
    return {
        entry.signatureKey.decode(): [
            names[operator.opcodeIndex]
            for operator in model.subgraphs[entry.subgraphIndex].operators
        ]
        for entry in model.signatureDefs
    }
