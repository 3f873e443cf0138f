"""Tensors as REST carries them: JSON to arrays and back, in the row and the columnar form.

Both forms hold the same tensors. `instances` lists rows, and `predictions` answers with rows;
`inputs` holds whole tensors by name, and `outputs` answers with those. Where a signature has one
input or one output, its name is left out. Bytes travel as `{"b64": "..."}`.

Unlike TensorFlow Serving, which reads `NaN` and `Infinity` as numbers, these are refused here, as
they are over gRPC: no model answers them with anything but more of the same.

Reference:
    tensorflow/serving, `g3doc/api_rest.md` and `util/json_tensor.cc`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
import orjson

from tfvae.serving.errors import invalid
from tfvae.serving.specs import Signature, TensorSpec, type_name


def read_inputs(request: Any, signature: Signature) -> tuple[dict[str, np.ndarray], bool]:
    """Reads the tensors of a request.

    Args:
        request: the parsed body.
        signature: what it is for.

    Returns:
        The arrays by name, and whether they came as rows.

    Raises:
        ServingError: if they are not there, or not of the signature's types.

    Example:
        >>> takes = {"z": TensorSpec(np.dtype(np.float32), (None, 2))}
        >>> signature = Signature("decode", takes, {})
        >>> read_inputs({"instances": [[1, 2], [3, 4]]}, signature)[0]["z"].shape
        (2, 2)
        >>> read_inputs({"inputs": {"z": [[1, 2]]}}, signature)[1]
        False
    """
    forms = [form for form in ("instances", "inputs") if form in request]
    if len(forms) != 1:
        raise invalid(
            "Not formatted correctly: expecting one of 'instances' and 'inputs'. "
            f"Received: {sorted(request)}"
        )
    given = request[forms[0]]
    if forms == ["inputs"]:
        return _columns(given, signature), False
    if not isinstance(given, list) or not given:
        raise invalid("Expecting 'instances' to be a list of at least one value")
    columns = _transposed(given) if _names_inputs(given[0]) else given
    return _columns(columns, signature), True


def _names_inputs(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() != {"b64"}


def _transposed(rows: list[Any]) -> dict[str, list[Any]]:
    names = rows[0].keys()
    for index, row in enumerate(rows):
        if not _names_inputs(row) or row.keys() != names:
            raise invalid(f"element {index} of 'instances' does not name the inputs of the first")
    return {name: [row[name] for row in rows] for name in names}


def _columns(given: Any, signature: Signature) -> dict[str, np.ndarray]:
    if not _names_inputs(given):
        if len(signature.inputs) != 1:
            raise invalid(f"{signature}: name each of them. Received: a value without a name")
        given = {next(iter(signature.inputs)): given}
    if given.keys() != signature.inputs.keys():
        raise invalid(f"{signature}. Received: {', '.join(sorted(given)) or 'nothing'}")
    return {name: _array(name, given[name], spec) for name, spec in signature.inputs.items()}


def _array(name: str, value: Any, spec: TensorSpec) -> np.ndarray:
    """Makes an array of nested lists; unlike NumPy, it takes no text or truth for a number."""
    shape, values = _flattened(name, value)
    kind = spec.dtype.kind
    wrong = set(map(type, values)) - _JSON_TYPES.get(kind, {int})
    if wrong:
        words = ", ".join(sorted(_JSON_NAMES.get(found, found.__name__) for found in wrong))
        raise invalid(f"input `{name}` is of type {type_name(spec.dtype)}. Received: {words}")
    if kind == "O":
        values = [_bytes(name, text) for text in values]
    try:
        # Through float64, which shows what float32 cannot hold.
        array = np.array(values, np.float64 if kind == "f" else spec.dtype)
        if kind == "f" and np.any(np.abs(array) > np.finfo(spec.dtype).max):
            raise OverflowError
    except OverflowError:
        raise invalid(
            f"input `{name}` has a value that {type_name(spec.dtype)} cannot hold"
        ) from None
    return array.astype(spec.dtype, copy=False).reshape(shape)


_JSON_TYPES: dict[str, set[type]] = {"f": {int, float}, "b": {bool}, "O": {str, dict}}
_JSON_NAMES = {str: "text", bool: "true or false", type(None): "null", dict: "an object"}


def _flattened(name: str, value: Any) -> tuple[tuple[int, ...], list[Any]]:
    shape: list[int] = []
    values = [value]
    while list in (kinds := set(map(type, values))):
        sizes = set(map(len, values)) if kinds == {list} else set()
        if len(sizes) != 1:
            raise invalid(f"the lists of input `{name}` are not of one size at level {len(shape)}")
        shape += sizes
        values = list(chain.from_iterable(values))
    return tuple(shape), values


def _bytes(name: str, text: str | dict[str, Any]) -> bytes:
    if isinstance(text, str):
        return text.encode("utf-8", "surrogatepass")
    encoded = text.get("b64")
    if text.keys() != {"b64"} or not isinstance(encoded, str):
        raise invalid(f"input `{name}` has an object that is not of the form {{'b64': '...'}}")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(f"Unable to base64 decode a value of input `{name}`") from None


def write_outputs(outputs: Mapping[str, np.ndarray], rows: bool) -> bytes:
    """Writes the answer to a request.

    Args:
        outputs: the tensors by name.
        rows: whether as rows; all tensors have the same number of them then.

    Returns:
        JSON.

    Raises:
        ServingError: if rows are asked of tensors that have none.

    Example:
        >>> write_outputs({"x": np.array([[0.1, 2.0]], np.float32)}, rows=True)
        b'{"predictions":[[0.1,2.0]]}'
    """
    values = {name: _plain(name, array) for name, array in outputs.items()}
    only = next(iter(values.values())) if len(values) == 1 else None
    if not rows:
        return _dump("outputs", values if only is None else only)
    if (
        any(array.ndim == 0 for array in outputs.values())
        or len(set(map(len, values.values()))) > 1
    ):
        raise invalid("the outputs have no rows: ask with 'inputs' instead of 'instances'")
    if only is None:
        names = list(values)
        only = [dict(zip(names, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return _dump("predictions", only)


def _plain(name: str, array: np.ndarray) -> Any:
    if array.dtype != object:
        # orjson wants arrays in C order, and numbers for arrays without dimensions.
        return np.asarray(array, order="C")[()]
    # By TensorFlow Serving's rule the name says whether text or bytes are meant.
    encode = _b64 if name.endswith("_bytes") else _text
    return np.frompyfunc(encode, 1, 1)(array).tolist()


def _b64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _dump(key: str, value: Any) -> bytes:
    """orjson writes float32 as short as it can be, and a picture forty times as fast as `json`."""
    text = orjson.dumps({key: value}, option=orjson.OPT_SERIALIZE_NUMPY)
    if b"null" not in text:
        return text
    # It writes null for what is no number, where TensorFlow Serving writes NaN and Infinity.
    return json.dumps({key: value}, default=lambda array: array.tolist()).encode()
