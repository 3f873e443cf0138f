"""Tensors as gRPC carries them, to arrays and back.

A message of a few bytes can claim any shape, and a single value fills it: so a claim is measured
before memory is spent on it.

Reference:
    tensorflow, `core/framework/tensor.proto` and `core/framework/tensor.cc` (`FromProto`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tfvae.serving.errors import invalid
from tfvae.serving.messages import DataType
from tfvae.serving.specs import NUMPY_TYPES, type_name

_NUMBERS = {dtype: number for number, dtype in NUMPY_TYPES.items()}
_VALUES = {
    DataType.DT_FLOAT: "float_val",
    DataType.DT_DOUBLE: "double_val",
    DataType.DT_STRING: "string_val",
    DataType.DT_INT64: "int64_val",
    DataType.DT_BOOL: "bool_val",
    DataType.DT_UINT32: "uint32_val",
    DataType.DT_UINT64: "uint64_val",
}
"""The field for single values; the small integers share one."""


def read_tensor(name: str, tensor: Any, max_bytes: int) -> np.ndarray:
    """Makes an array of a `TensorProto`.

    Args:
        name: what the tensor is called, for errors.
        tensor: the message.
        max_bytes: how large the array may be.

    Returns:
        The array; an array of `bytes` objects for text.

    Raises:
        ServingError: if the message is damaged, too large, or of a type that cannot travel.

    Example:
        >>> from tfvae.serving.messages import message
        >>> ones = message("TensorProto", dtype=1, float_val=[1.0])
        >>> ones.tensor_shape.dim.extend([message("Dim", size=3)])
        >>> read_tensor("x", ones, 1000)
        array([1., 1., 1.], dtype=float32)
    """
    if tensor.dtype not in NUMPY_TYPES:
        raise invalid(f"tensor `{name}` has a type that cannot be sent. Received: {tensor.dtype}")
    dtype = NUMPY_TYPES[tensor.dtype]
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise invalid(f"tensor `{name}` must have a known shape. Received: {list(shape)}")
    size = math.prod(shape)
    if size * dtype.itemsize > max_bytes:
        raise invalid(
            f"tensor `{name}` is larger than {max_bytes} bytes. "
            f"Received: {type_name(dtype)} {list(shape)}"
        )
    try:
        return _values(name, tensor, dtype, size).reshape(shape)
    except ValueError as error:
        raise invalid(f"tensor `{name}` has an impossible shape. Received: {error}") from None


def _values(name: str, tensor: Any, dtype: np.dtype, size: int) -> np.ndarray:
    if tensor.tensor_content and dtype.kind != "O":
        if len(tensor.tensor_content) != size * dtype.itemsize:
            raise invalid(
                f"the content of tensor `{name}` must have {size * dtype.itemsize} bytes. "
                f"Received: {len(tensor.tensor_content)}"
            )
        if dtype == np.bool_:
            return np.frombuffer(tensor.tensor_content, np.uint8) != 0
        little_endian = np.frombuffer(tensor.tensor_content, dtype.newbyteorder("<"))
        return little_endian.astype(dtype, copy=False)
    given = list(getattr(tensor, _VALUES.get(tensor.dtype, "int_val")))
    if len(given) > size:
        raise invalid(f"tensor `{name}` holds {size} values. Received: {len(given)}")
    # Values that are left out repeat the last one; a tensor without any is one of zeros.
    given = given or [b"" if dtype.kind == "O" else 0]
    values = np.empty(size, dtype)
    try:
        values[:] = given[-1]
        values[: len(given)] = np.array(given, dtype)[:size]
    except OverflowError as error:
        raise invalid(f"a value of tensor `{name}` is out of range. Received: {error}") from None
    return values


def write_tensor(array: np.ndarray, tensor: Any) -> None:
    """Writes an array to a `TensorProto`.

    Args:
        array: of one of `NUMPY_TYPES`.
        tensor: an empty message.
    """
    tensor.dtype = _NUMBERS[array.dtype]
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if array.dtype == object:
        tensor.string_val.extend(array.ravel().tolist())
    else:
        tensor.tensor_content = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
