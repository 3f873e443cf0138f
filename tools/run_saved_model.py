"""Runs signatures of a SavedModel through TensorFlow's C API: as TensorFlow Serving does.

    python tools/run_saved_model.py FOLDER SIGNATURE IN.npz OUT.npz [SIGNATURE IN.npz OUT.npz ...]

FOLDER is a version folder; IN.npz holds the inputs by name, OUT.npz gets the outputs. The file is
loaded by `LoadSavedModel`, the C++ function that the server calls, from the library in the
TensorFlow wheel. Neither TensorFlow's Python nor Keras nor tfvae is imported: what runs here needs
nothing but the files.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

# TensorFlow's numbers for the types that an export uses.
TYPES = {1: np.dtype(np.float32), 3: np.dtype(np.int32)}
NUMBERS = {dtype: number for number, dtype in TYPES.items()}


class Output(ctypes.Structure):
    """`TF_Output`: an operation and which of its results."""

    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


def load_library() -> ctypes.CDLL:
    """Loads the C API from the wheel and declares what is used of it."""
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("TensorFlow is not installed")
    folder = Path(spec.submodule_search_locations[0])
    for name in ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2"):
        library = ctypes.CDLL(str(folder / name), mode=ctypes.RTLD_GLOBAL)
    pointer, size, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
    array, outputs = ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(Output)
    for name, result, arguments in (
        ("TF_NewStatus", pointer, []),
        ("TF_GetCode", ctypes.c_int, [pointer]),
        ("TF_Message", text, [pointer]),
        ("TF_NewGraph", pointer, []),
        ("TF_NewSessionOptions", pointer, []),
        (
            "TF_LoadSessionFromSavedModel",
            pointer,
            [pointer, pointer, text, ctypes.POINTER(text), ctypes.c_int, *[pointer] * 3],
        ),
        ("TF_GraphOperationByName", pointer, [pointer, text]),
        (
            "TF_AllocateTensor",
            pointer,
            [ctypes.c_int, ctypes.POINTER(ctypes.c_int64), ctypes.c_int, size],
        ),
        ("TF_TensorData", pointer, [pointer]),
        ("TF_TensorByteSize", size, [pointer]),
        ("TF_TensorType", ctypes.c_int, [pointer]),
        ("TF_NumDims", ctypes.c_int, [pointer]),
        ("TF_Dim", ctypes.c_int64, [pointer, ctypes.c_int]),
        ("TF_DeleteTensor", None, [pointer]),
        (
            "TF_SessionRun",
            None,
            [
                *[pointer, pointer],
                *[outputs, array, ctypes.c_int] * 2,
                *[pointer, ctypes.c_int, pointer, pointer],
            ],
        ),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class SavedModel:
    """A version folder, loaded for serving.

    Args:
        folder: the folder that holds `saved_model.pb`.
    """

    def __init__(self, folder: Path) -> None:
        self._library = load_library()
        self._status = self._library.TF_NewStatus()
        self._graph = self._library.TF_NewGraph()
        tags = (ctypes.c_char_p * 1)(b"serve")
        self._session = self._library.TF_LoadSessionFromSavedModel(
            self._library.TF_NewSessionOptions(),
            None,
            str(folder).encode(),
            tags,
            1,
            self._graph,
            None,
            self._status,
        )
        self._check()
        self.signatures = read_signatures(folder)

    def run(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs one signature.

        Args:
            signature: its name.
            inputs: an array for each input, by name.

        Returns:
            An array for each output, by name.
        """
        input_names, output_names = self.signatures[signature]
        if {*inputs} != {*input_names}:
            raise SystemExit(f"{signature} takes {[*input_names]}. Received: {[*inputs]}")
        fed = [self._tensor(inputs[name]) for name in input_names]
        results = (ctypes.c_void_p * len(output_names))()
        self._library.TF_SessionRun(
            self._session,
            None,
            self._outputs(input_names.values()),
            (ctypes.c_void_p * len(fed))(*fed),
            len(fed),
            self._outputs(output_names.values()),
            results,
            len(output_names),
            None,
            0,
            None,
            self._status,
        )
        self._check()
        for tensor in fed:
            self._library.TF_DeleteTensor(tensor)
        return {
            name: self._array(result) for name, result in zip(output_names, results, strict=True)
        }

    def _check(self) -> None:
        if self._library.TF_GetCode(self._status):
            raise SystemExit(self._library.TF_Message(self._status).decode())

    def _outputs(self, names: Iterable[str]) -> ctypes.Array:
        places = [name.split(":") for name in names]
        return (Output * len(places))(
            *[
                Output(self._library.TF_GraphOperationByName(self._graph, op.encode()), int(index))
                for op, index in places
            ]
        )

    def _tensor(self, value: np.ndarray) -> int:
        value = np.ascontiguousarray(value)
        shape = (ctypes.c_int64 * value.ndim)(*value.shape)
        tensor = self._library.TF_AllocateTensor(
            NUMBERS[value.dtype], shape, value.ndim, value.nbytes
        )
        ctypes.memmove(self._library.TF_TensorData(tensor), value.ctypes.data, value.nbytes)
        return tensor

    def _array(self, tensor: int) -> np.ndarray:
        library = self._library
        shape = [library.TF_Dim(tensor, axis) for axis in range(library.TF_NumDims(tensor))]
        content = ctypes.string_at(library.TF_TensorData(tensor), library.TF_TensorByteSize(tensor))
        dtype = TYPES[library.TF_TensorType(tensor)]
        library.TF_DeleteTensor(tensor)
        return np.frombuffer(content, dtype).reshape(shape)


def read_signatures(folder: Path) -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """Reads the names of a SavedModel's inputs and outputs from its protobuf.

    Returns:
        For each signature the graph's names of its inputs and of its outputs, by their own names.
    """
    found = {}
    for number, meta_graph in fields((folder / "saved_model.pb").read_bytes()):
        if number != 2:  # SavedModel.meta_graphs
            continue
        for place, entry in fields(meta_graph):
            if place == 5:  # MetaGraphDef.signature_def, a map
                item = dict(fields(entry))
                parts: tuple[dict[str, str], dict[str, str]] = ({}, {})
                for side, tensor in fields(item[2]):
                    if side in (1, 2):  # SignatureDef.inputs and .outputs, maps
                        pair = dict(fields(tensor))
                        name = dict(fields(pair[2]))[1]  # TensorInfo.name
                        parts[side - 1][pair[1].decode()] = name.decode()
                found[item[1].decode()] = parts
    return found


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a protobuf message that have a length, by their numbers; others are skipped."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 2:
            length = varint()
            position += length
            yield number, message[position - length : position]
        elif kind == 0:
            varint()
        else:
            position += {1: 8, 5: 4}[kind]


def main(arguments: list[str]) -> None:
    if len(arguments) < 4 or len(arguments) % 3 != 1:
        raise SystemExit(__doc__)
    model = SavedModel(Path(arguments[0]))
    for signature, source, target in zip(*[iter(arguments[1:])] * 3, strict=True):
        with np.load(source) as archive:
            inputs = dict(archive)
        np.savez(target, **model.run(signature, inputs))
    foreign = {"keras", "tensorflow", "tensorflow_probability", "tfvae"} & {*sys.modules}
    if foreign:
        raise SystemExit(f"This must run without {', '.join(foreign)}")


if __name__ == "__main__":
    main(sys.argv[1:])
