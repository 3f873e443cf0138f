"""What fits a signature, and what is said of what does not."""

from __future__ import annotations

import numpy as np
import pytest
from tensorflow.core.protobuf import meta_graph_pb2

from tfvae.serving.errors import HTTP_STATUS, Code, ServingError, code_of_http
from tfvae.serving.specs import Signature, TensorSpec

FLOAT = np.dtype(np.float32)


def definition():
    made = meta_graph_pb2.SignatureDef()
    for name, sizes in (("b", (-1, 2)), ("a", (-1,))):
        made.inputs[name].dtype = 1
        for size in sizes:
            made.inputs[name].tensor_shape.dim.add(size=size)
    made.outputs["y"].dtype = 9
    made.outputs["y"].tensor_shape.dim.add(size=-1)
    return made


def test_read():
    signature = Signature.from_proto("f", definition())
    assert str(signature) == "signature `f` takes a: float32 [batch], b: float32 [batch, 2]"
    assert (list(signature.inputs), signature.batchable) == (["a", "b"], True)
    assert signature.outputs["y"] == TensorSpec(np.dtype(np.int64), (None,))


def test_types_that_cannot_travel():
    made = definition()
    made.outputs["y"].dtype = 20
    with pytest.raises(ValueError, match=r"cannot be sent\. Received: type 20"):
        Signature.from_proto("f", made)


@pytest.mark.parametrize(
    ("shape", "given", "fits", "rows", "text"),
    [
        ((None, 2), (5, 2), True, True, "float32 [batch, 2]"),
        ((None, None, 3), (1, 9, 3), True, True, "float32 [batch, any, 3]"),
        ((None, 2), (5, 3), False, True, "float32 [batch, 2]"),
        ((None, 2), (2,), False, True, "float32 [batch, 2]"),
        ((4, 2), (4, 2), True, False, "float32 [4, 2]"),
        ((), (), True, False, "float32 []"),
        (None, (1, 2, 3), True, False, "float32 of any shape"),
    ],
)
def test_shapes(shape, given, fits, rows, text):
    spec = TensorSpec(FLOAT, shape)
    assert (spec.fits(given), spec.has_rows, str(spec)) == (fits, rows, text)


def test_what_has_no_rows_is_not_batchable():
    rows, fixed = TensorSpec(FLOAT, (None, 2)), TensorSpec(FLOAT, (4, 2))
    assert Signature("f", {"x": rows}, {"y": rows}).batchable
    assert not Signature("f", {"x": rows}, {"y": fixed}).batchable
    assert not Signature("f", {"x": rows, "n": fixed}, {"y": rows}).batchable
    assert not Signature("f", {}, {"y": rows}).batchable


@pytest.mark.parametrize(
    ("arrays", "received"),
    [
        ({"x": np.zeros((2, 2))}, "x: float64 [2, 2]"),
        ({"x": np.array([[b"a", b"b"]], object)}, "x: string [1, 2]"),
        ({}, "nothing"),
        ({"y": np.zeros((2, 2), "f4")}, "y: float32 [2, 2]"),
    ],
)
def test_misfits(arrays, received):
    rows = TensorSpec(FLOAT, (None, 2))
    misfit = Signature("f", {"x": rows}, {"y": rows}).misfit(arrays)
    assert misfit == f"signature `f` takes x: float32 [batch, 2]. Received: {received}"


def test_errors_over_http():
    for code, status in HTTP_STATUS.items():
        assert HTTP_STATUS[code_of_http(status)] == status, code
    assert code_of_http(413) == Code.RESOURCE_EXHAUSTED
    assert code_of_http(599) == Code.UNKNOWN


def test_long_messages_are_cut():
    """gRPC carries them in a header of 8 KiB."""
    assert ServingError(Code.INTERNAL, "x" * 5000).message == "x" * 1000 + " ..."
