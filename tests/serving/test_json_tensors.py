"""JSON to arrays and back, strictly."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tfvae.serving.errors import ServingError
from tfvae.serving.json_tensors import read_inputs, write_outputs
from tfvae.serving.specs import Signature, TensorSpec


def signature(**dtypes):
    return Signature("f", {k: TensorSpec(np.dtype(v), None) for k, v in dtypes.items()}, {})


FLOAT, INT, TEXT = signature(x="f4"), signature(n="i4"), signature(s=object)


@pytest.mark.parametrize(
    ("request_", "spec", "expected"),
    [
        ({"inputs": 1.5}, FLOAT, np.float32(1.5)),
        ({"inputs": [[1, 2.5]]}, FLOAT, np.array([[1, 2.5]], "f4")),
        ({"inputs": {"x": [1]}}, FLOAT, np.array([1], "f4")),
        ({"instances": [1, 2]}, FLOAT, np.array([1, 2], "f4")),
        ({"instances": [{"x": [1]}, {"x": [2]}]}, FLOAT, np.array([[1], [2]], "f4")),
        ({"inputs": []}, FLOAT, np.zeros(0, "f4")),
        ({"inputs": [[], []]}, FLOAT, np.zeros((2, 0), "f4")),
        ({"inputs": [-(2**31), 2**31 - 1]}, INT, np.array([-(2**31), 2**31 - 1], "i4")),
        ({"inputs": [True, False]}, signature(b="?"), np.array([True, False])),
        ({"inputs": ["é", {"b64": "AP8="}]}, TEXT, np.array(["é".encode(), b"\0\xff"], object)),
        ({"instances": [{"b64": "AP8="}]}, TEXT, np.array([b"\0\xff"], object)),
        ({"inputs": {"b64": ""}}, TEXT, np.array(b"", object)),
    ],
)
def test_read(request_, spec, expected):
    arrays, rows = read_inputs(request_, spec)
    (array,) = arrays.values()
    np.testing.assert_array_equal(array, expected)
    assert (array.dtype, array.shape, rows) == (
        expected.dtype,
        expected.shape,
        "instances" in request_,
    )


@pytest.mark.parametrize(
    ("request_", "spec", "message"),
    [
        ({}, FLOAT, "one of 'instances' and 'inputs'"),
        ({"inputs": 1, "instances": [1]}, FLOAT, "one of 'instances' and 'inputs'"),
        ({"instances": 1}, FLOAT, "a list of at least one value"),
        ({"instances": []}, FLOAT, "a list of at least one value"),
        ({"instances": [{"x": 1}, {"y": 1}]}, FLOAT, "element 1 of 'instances'"),
        ({"instances": [{"x": 1}, 1]}, FLOAT, "element 1 of 'instances'"),
        ({"instances": [1, {"x": 1}]}, FLOAT, "an object"),
        ({"inputs": {"y": 1}}, FLOAT, r"signature `f` takes x: float32 of any shape. Received: y"),
        ({"inputs": {}}, FLOAT, "Received: nothing"),
        ({"inputs": 1}, signature(a="f4", b="f4"), "name each of them"),
        ({"inputs": [1, "2"]}, FLOAT, "float32. Received: text"),
        ({"inputs": [True, 1.5]}, FLOAT, "float32. Received: true or false"),
        ({"inputs": [None]}, FLOAT, "float32. Received: null"),
        ({"inputs": [1e39]}, FLOAT, "a value that float32 cannot hold"),
        ({"inputs": [10**400]}, FLOAT, "a value that float32 cannot hold"),
        ({"inputs": [1.0]}, INT, "int32. Received: float"),
        ({"inputs": [2**31]}, INT, "a value that int32 cannot hold"),
        ({"inputs": [[1], [1, 2]]}, FLOAT, "not of one size at level 1"),
        ({"inputs": [1, [1]]}, FLOAT, "not of one size at level 1"),
        ({"inputs": [1]}, TEXT, "string. Received: int"),
        ({"inputs": [{"b64": "AP8"}]}, TEXT, "Unable to base64 decode"),
        ({"inputs": [{"b64": 1}]}, TEXT, "not of the form"),
        ({"inputs": [{"b64": "", "c": 1}]}, TEXT, "not of the form"),
    ],
)
def test_refuse(request_, spec, message):
    with pytest.raises(ServingError, match=message) as raised:
        read_inputs(request_, spec)
    assert raised.value.http_status == 400


X, N = np.array([[0.1, 2], [3, 4]], np.float32), np.array([5, 6], np.int32)


@pytest.mark.parametrize(
    ("outputs", "rows", "expected"),
    [
        ({"x": X}, True, '{"predictions":[[0.1,2.0],[3.0,4.0]]}'),
        ({"x": X}, False, '{"outputs":[[0.1,2.0],[3.0,4.0]]}'),
        ({"n": N, "x": X}, True, '{"predictions":[{"n":5,"x":[0.1,2.0]},{"n":6,"x":[3.0,4.0]}]}'),
        ({"n": N, "x": X}, False, '{"outputs":{"n":[5,6],"x":[[0.1,2.0],[3.0,4.0]]}}'),
        ({"x": np.array(2, "f4")}, False, '{"outputs":2.0}'),
        ({"s": np.array([b"a", "é".encode()], object)}, True, '{"predictions":["a","é"]}'),
        ({"s_bytes": np.array([b"\0\xff"], object)}, True, '{"predictions":[{"b64":"AP8="}]}'),
    ],
)
def test_write(outputs, rows, expected):
    assert write_outputs(outputs, rows).decode() == expected


def test_what_is_no_number_is_written_as_tensorflow_serving_does():
    outputs = {"x": np.array([np.nan, np.inf, 1], np.float32)}
    assert write_outputs(outputs, rows=True) == b'{"predictions": [NaN, Infinity, 1.0]}'


@pytest.mark.parametrize("outputs", [{"x": np.ones(())}, {"x": X, "n": np.ones(3)}])
def test_outputs_without_rows(outputs):
    with pytest.raises(ServingError, match="the outputs have no rows"):
        write_outputs(outputs, rows=True)


def test_float32_survives():
    x = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    back = json.loads(write_outputs({"x": x}, rows=False))["outputs"]
    np.testing.assert_array_equal(np.array(back, np.float32), x)
