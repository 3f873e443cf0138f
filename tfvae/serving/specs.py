"""What a request is for, what a signature takes and gives, and whether given arrays fit it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfvae.serving.messages import DataType

NUMPY_TYPES: dict[int, np.dtype] = {
    DataType.DT_FLOAT: np.dtype(np.float32),
    DataType.DT_DOUBLE: np.dtype(np.float64),
    DataType.DT_INT32: np.dtype(np.int32),
    DataType.DT_UINT8: np.dtype(np.uint8),
    DataType.DT_INT16: np.dtype(np.int16),
    DataType.DT_INT8: np.dtype(np.int8),
    DataType.DT_STRING: np.dtype(object),
    DataType.DT_INT64: np.dtype(np.int64),
    DataType.DT_BOOL: np.dtype(np.bool_),
    DataType.DT_UINT32: np.dtype(np.uint32),
    DataType.DT_UINT64: np.dtype(np.uint64),
}
"""The types of tensors that can travel; text is an array of `bytes` objects."""


@dataclass(frozen=True)
class Target:
    """What a request is for.

    Attributes:
        model: the model's name.
        version: a version of it; the highest one that is served if `None`.
        label: a label that stands for a version, instead of its number.
    """

    model: str
    version: int | None = None
    label: str | None = None


def type_name(dtype: np.dtype) -> str:
    """The name of a type, for people."""
    return "string" if dtype.kind == "O" else dtype.name


@dataclass(frozen=True)
class TensorSpec:
    """The type of an input or an output.

    Attributes:
        dtype: its NumPy type.
        shape: its sizes, `None` for any size; `None` altogether if even the rank is open.
    """

    dtype: np.dtype
    shape: tuple[int | None, ...] | None

    @classmethod
    def from_proto(cls, info: Any) -> TensorSpec:
        """Reads a `TensorInfo`.

        Raises:
            ValueError: if tensors of its type cannot travel.
        """
        if info.dtype not in NUMPY_TYPES:
            raise ValueError(
                f"Tensors of this type cannot be sent. Received: type {info.dtype} of {info.name!r}"
            )
        dims = [None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim]
        shape = None if info.tensor_shape.unknown_rank else tuple(dims)
        return cls(NUMPY_TYPES[info.dtype], shape)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape may be given."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            wanted in (None, size) for wanted, size in zip(self.shape, shape, strict=True)
        )

    @property
    def has_rows(self) -> bool:
        """Whether the first dimension is open: that of the batch."""
        return bool(self.shape) and self.shape is not None and self.shape[0] is None

    def __str__(self) -> str:
        if self.shape is None:
            return f"{type_name(self.dtype)} of any shape"
        sizes = ["any" if size is None else str(size) for size in self.shape]
        if self.has_rows:
            sizes[0] = "batch"
        return f"{type_name(self.dtype)} [{', '.join(sizes)}]"


@dataclass(frozen=True)
class Signature:
    """A function that a served model offers.

    Attributes:
        name: its name.
        inputs: what it takes, by name.
        outputs: what it gives, by name.
    """

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]

    @classmethod
    def from_proto(cls, name: str, definition: Any) -> Signature:
        """Reads a `SignatureDef`.

        Raises:
            ValueError: if tensors of an input's or an output's type cannot travel.
        """

        def read(infos: Mapping[str, Any]) -> dict[str, TensorSpec]:
            return {key: TensorSpec.from_proto(infos[key]) for key in sorted(infos)}

        return cls(name, read(definition.inputs), read(definition.outputs))

    @property
    def batchable(self) -> bool:
        """Whether it works row by row: every input and output has rows."""
        specs = [*self.inputs.values(), *self.outputs.values()]
        return bool(self.inputs) and all(spec.has_rows for spec in specs)

    def __str__(self) -> str:
        takes = ", ".join(f"{name}: {spec}" for name, spec in self.inputs.items())
        return f"signature `{self.name}` takes {takes or 'nothing'}"

    def misfit(self, arrays: Mapping[str, np.ndarray]) -> str | None:
        """Says what is wrong with arrays that are to be its inputs.

        Args:
            arrays: by name.

        Returns:
            One sentence, or `None` if they fit.

        Example:
            >>> takes = {"z": TensorSpec(np.dtype(np.float32), (None, 2))}
            >>> signature = Signature("decode", takes, {})
            >>> signature.misfit({"z": np.zeros((4, 3), np.float32)})
            'signature `decode` takes z: float32 [batch, 2]. Received: z: float32 [4, 3]'
            >>> signature.misfit({"z": np.zeros((4, 2), np.float32)})
        """
        fits = arrays.keys() == self.inputs.keys() and all(
            array.dtype == self.inputs[name].dtype and self.inputs[name].fits(array.shape)
            for name, array in arrays.items()
        )
        rule = ""
        if fits and self.batchable:
            rows = {len(array) for array in arrays.values()}
            fits = len(rows) == 1 and rows != {0}
            rule = " with one number of rows, not zero"
        if fits:
            return None
        received = ", ".join(
            f"{name}: {type_name(array.dtype)} {list(array.shape)}"
            for name, array in sorted(arrays.items())
        )
        return f"{self}{rule}. Received: {received or 'nothing'}"
