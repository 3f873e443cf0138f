"""Sends malformed requests to a server, and says what came back and what it cost in memory.

    python tools/malformed_test.py [--requests 2000]

Each must be refused as the client's fault, with a message, and the server must go on answering.
Exits with 1 if one was not. Everything stays on 127.0.0.1 and ends by itself.
"""

from __future__ import annotations

import argparse
import gzip
import json
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import tensorflow as tf
from served_model import TOLERANCE, Model, add_version, example, largest_error, resident_mib
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

from tfvae.serving import Client, LocalServer

MAX_GROWTH_MIB = 64
"""How much larger the server may be after the last request than after the first of each kind."""

REFUSALS = ("INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED")
"""The errors of gRPC whose HTTP statuses are 4xx; the first is the rule, the second and third are
TensorFlow Serving's for an unknown model and signature, the last is gRPC's for a large message."""

MIB = 1 << 20
BRACKETS = 250_000
BOMB = gzip.compress(bytes(100 * MIB), 9)
PREDICT, METADATA = "PredictionService/Predict", "PredictionService/GetModelMetadata"
Rng = np.random.Generator


# ---- gRPC: a kind of request gives the method and the bytes of a message ------------------


def predict(signature: str = "decode", **inputs: Any) -> Any:
    """A request with tensors of these arrays."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "served"
    request.model_spec.signature_name = signature
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    return request


def zeros(*shape: int) -> np.ndarray:
    """A float32 array."""
    return np.zeros(shape, np.float32)


def claimed_shape(*shape: int, **fields: Any) -> Any:
    """A request whose tensor says that it has a shape."""
    request = predict(z=zeros(1, 16))
    tensor = request.inputs["z"]
    tensor.Clear()
    tensor.dtype = fields.pop("dtype", 1)
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    for name, value in fields.items():
        getattr(tensor, name).extend(value)
    return request


def edited(request: Any, **fields: Any) -> Any:
    """A request with another model, version or label."""
    for name, value in fields.items():
        if name == "version":
            request.model_spec.version.value = value
        else:
            setattr(request.model_spec, name, value)
    return request


def unknown_rank() -> Any:
    """A request whose tensor has no shape."""
    request = claimed_shape(float_val=[0.0])
    request.inputs["z"].tensor_shape.unknown_rank = True
    return request


def filtered(*names: str) -> Any:
    """A request for some outputs."""
    request = predict(z=zeros(1, 16))
    request.output_filter.extend(names)
    return request


def truncated(rng: Rng) -> bytes:
    """A message without its end."""
    whole = predict(z=rng.normal(size=(4, 16)).astype(np.float32)).SerializeToString()
    return whole[: rng.integers(len(whole) - 200, len(whole) - 1)]


def without_spec() -> Any:
    """A request for no model."""
    request = predict(z=zeros(1, 16))
    request.ClearField("model_spec")
    return request


GRPC: dict[str, Callable[[Rng], Any]] = {
    "wrong name": lambda rng: predict(y=zeros(1, 16)),
    "no input": lambda rng: predict(),
    "one input too many": lambda rng: predict(z=zeros(1, 16), y=zeros(1, 16)),
    "wrong dtype": lambda rng: predict(
        z=zeros(1, 16).astype(rng.choice(["int32", "float64", "uint8", "bool", "int64"]))
    ),
    "text": lambda rng: predict(z=np.array([["a"] * 16])),
    "a type that cannot travel": lambda rng: claimed_shape(1, 16, dtype=int(rng.integers(14, 22))),
    "a type that there is not": lambda rng: claimed_shape(1, 16, dtype=99),
    "wrong size": lambda rng: predict(z=zeros(1, int(rng.integers(17, 40)))),
    "wrong rank": lambda rng: predict(z=zeros(*[1] * int(rng.integers(3, 9)))),
    "scalar": lambda rng: predict(z=np.float32(1)),
    "rank 100": lambda rng: claimed_shape(*[1] * 100, float_val=[0.0]),
    "no rows": lambda rng: predict(z=zeros(0, 16)),
    "too many rows": lambda rng: predict(z=zeros(int(rng.integers(65, 500)), 16)),
    "rows that differ": lambda rng: predict(
        "log_prob", x=zeros(2, 28, 28, 1), seed=np.zeros((3, 2), np.int32)
    ),
    "NaN": lambda rng: predict(z=np.full((1, 16), rng.choice([np.nan, np.inf, -np.inf]), "f4")),
    "a claim of a terabyte": lambda rng: claimed_shape(2**40, 16, float_val=[0.0]),
    "a claim that overflows": lambda rng: claimed_shape(0, 2**62, 2**62),
    "negative size": lambda rng: claimed_shape(-3, 16, float_val=[0.0]),
    "too many values": lambda rng: claimed_shape(1, 16, float_val=[0.0] * 99),
    "value out of range": lambda rng: claimed_shape(1, 16, dtype=4, int_val=[-70000]),
    "unknown rank": lambda rng: unknown_rank(),
    "unknown signature": lambda rng: predict(f"no-{rng.integers(99)}" * 50, z=zeros(1, 16)),
    "unknown model": lambda rng: edited(predict(z=zeros(1, 16)), name="../../etc/passwd"),
    "unknown version": lambda rng: edited(
        predict(z=zeros(1, 16)), version=int(rng.integers(-(2**62), 0))
    ),
    "unknown label": lambda rng: edited(predict(z=zeros(1, 16)), version_label="é" * 900),
    "unknown output": lambda rng: filtered("mean", "nothing"),
    "an output twice": lambda rng: filtered("mean", "mean"),
    "no model": lambda rng: without_spec(),
    "truncated message": truncated,
    "noise": lambda rng: b"\xff" + rng.bytes(int(rng.integers(1, 5000))),
    "large message": lambda rng: predict(z=zeros(10_000, 16 * 25)),
    "large message, compressed": lambda rng: bytes(100 * MIB),
    "unknown metadata": lambda rng: get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec={"name": "served"}, metadata_field=["assets"]
    ),
}


def send_grpc(channel: grpc.Channel, kind: str, rng: Rng) -> tuple[bool, str, str]:
    """Sends a request of a kind.

    Returns:
        Whether it was refused as it must be, the error's name, its message.
    """
    request = GRPC[kind](rng)
    method = METADATA if kind == "unknown metadata" else PREDICT
    body = request if isinstance(request, bytes) else request.SerializeToString()
    compression = grpc.Compression.Gzip if kind.endswith("compressed") else None
    try:
        channel.unary_unary(f"/tensorflow.serving.{method}")(
            body, timeout=60, compression=compression
        )
    except grpc.RpcError as error:
        name, message = error.code().name, error.details() or ""
        return name in REFUSALS and bool(message), name, message
    return False, "OK", ""


# ---- REST: a kind gives method, path, body and headers ------------------------------------


def columns(z: Any, **more: Any) -> bytes:
    """A body with a value for `z`."""
    return json.dumps({"signature_name": "decode", "inputs": {"z": z}, **more}).encode()


def rows(values: Any) -> bytes:
    """A body with rows of `z`."""
    return json.dumps({"signature_name": "decode", "instances": values}).encode()


def text(value: str) -> bytes:
    """A body whose `z` is given as it will be sent."""
    return b'{"signature_name": "decode", "inputs": {"z": ' + value.encode() + b"}}"


ROW = [0.0] * 16
WHOLE = columns([ROW])
GZIP = {"Content-Encoding": "gzip"}

REST: dict[str, Callable[[Rng], bytes]] = {
    "empty": lambda rng: b"",
    "no object": lambda rng: bytes(rng.choice([b"[1]", b"3", b'"x"', b"null", b"true"])),
    "truncated": lambda rng: WHOLE[: rng.integers(1, len(WHOLE) - 1)],
    "noise": lambda rng: rng.bytes(int(rng.integers(1, 5000))),
    "not UTF-8": lambda rng: b'{"inputs": "\xff\xfe\xfa"}',
    "something behind": lambda rng: WHOLE + b"}",
    "nested": lambda rng: bytes(rng.choice([b"[", b'{"a":', b'[{"a":'])) * BRACKETS,
    "nested and closed": lambda rng: b"[" * BRACKETS + b"]" * BRACKETS,
    "nested inputs": lambda rng: text("[" * BRACKETS + "1" + "]" * BRACKETS),
    "nested a little too deep": lambda rng: text("[" * 63 + "1" + "]" * 63),
    "wrong name": lambda rng: json.dumps(
        {"signature_name": "decode", "inputs": {"y": [ROW]}}
    ).encode(),
    "a name too many": lambda rng: json.dumps(
        {"signature_name": "decode", "inputs": {"z": [ROW], "y": [ROW]}}
    ).encode(),
    "ten thousand names": lambda rng: json.dumps(
        {"signature_name": "decode", "inputs": {f"n{i}": 1 for i in range(10_000)}}
    ).encode(),
    "text": lambda rng: columns([["0.5"] * 16]),
    "null": lambda rng: columns([[None] * 16]),
    "truth": lambda rng: columns([[True] * 16]),
    "truth among numbers": lambda rng: columns([[True] + [0.5] * 15]),
    "objects": lambda rng: columns([[{"a": 1}] * 16]),
    "b64 for numbers": lambda rng: columns({"b64": "AAAA"}),
    "wrong size": lambda rng: columns([[0.0] * int(rng.integers(17, 99))]),
    "wrong rank": lambda rng: columns([[ROW]]),
    "scalar": lambda rng: columns(1.5),
    "ragged": lambda rng: columns([ROW, ROW[1:]]),
    "lists among values": lambda rng: columns([[0.0, [1.0]] + [0.0] * 14]),
    "no rows": lambda rng: columns([]),
    "too many rows": lambda rng: rows([ROW] * int(rng.integers(65, 200))),
    "rows that differ in names": lambda rng: rows([{"z": ROW}, {"y": ROW}]),
    "rows with and without names": lambda rng: rows([{"z": ROW}, ROW]),
    "NaN": lambda rng: text(
        f"[[{', '.join([str(rng.choice(['NaN', '-Infinity'])), *['0'] * 15])}]]"
    ),
    "a number too large": lambda rng: text("[[1e39" + ",0" * 15 + "]]"),
    "a number far too large": lambda rng: text("[[" + "9" * 5000 + ",0" * 15 + "]]"),
    "a million digits": lambda rng: text("[[" + "9" * MIB + "]]"),
    "seeds out of range": lambda rng: (
        b'{"signature_name": "sample", "instances": [[4294967296, 0]]}'
    ),
    "seeds with fractions": lambda rng: b'{"signature_name": "sample", "instances": [[1.5, 0]]}',
    "both forms": lambda rng: columns([ROW], instances=[ROW]),
    "neither form": lambda rng: b'{"signature_name": "decode"}',
    "instances no list": lambda rng: b'{"signature_name": "decode", "instances": {"z": 1}}',
    "unknown signature": lambda rng: b'{"signature_name": "no", "inputs": 1}',
    "signature no text": lambda rng: b'{"signature_name": ["decode"], "inputs": 1}',
    "large body": lambda rng: b'{"inputs": "' + b"a" * (20 * MIB),
    "large list": lambda rng: text("[" + "0," * (3 * MIB) + "0]"),
    "gzip bomb": lambda rng: BOMB,
    "truncated gzip": lambda rng: gzip.compress(WHOLE)[:-9],
    "no gzip": lambda rng: WHOLE,
    "another encoding": lambda rng: WHOLE,
}
HEADERS = {
    "gzip bomb": GZIP,
    "truncated gzip": GZIP,
    "no gzip": GZIP,
    "another encoding": {"Content-Encoding": "br"},
}
TARGETS = {
    "unknown path": ("POST", "/v1/models/served:elect"),
    "path upwards": ("POST", "/v1/models/..%2f..%2fetc%2fpasswd:predict"),
    "outside": ("GET", "/etc/passwd"),
    "unknown model": ("POST", "/v1/models/nobody:predict"),
    "unknown version": ("POST", "/v1/models/served/versions/77:predict"),
    "endless version": ("POST", f"/v1/models/served/versions/{'9' * 3000}:predict"),
    "no version": ("POST", "/v1/models/served/versions/abc:predict"),
    "unknown label": ("POST", "/v1/models/served/labels/none:predict"),
    "classify": ("POST", "/v1/models/served:classify"),
    "wrong method": ("PUT", "/v1/models/served:predict"),
    "get for post": ("GET", "/v1/models/served:predict"),
    "post for get": ("POST", "/v1/models/served/metadata"),
    "status of nobody": ("GET", "/v1/models/nobody"),
    "metadata of nobody": ("GET", "/v1/models/nobody/metadata"),
}


def send_rest(http: httpx.Client, kind: str, rng: Rng) -> tuple[bool, str, str]:
    """As `send_grpc`, over HTTP."""
    method, path = TARGETS.get(kind, ("POST", "/v1/models/served:predict"))
    body = REST[kind](rng) if kind in REST else WHOLE
    response = http.request(method, path, content=body, headers=HEADERS.get(kind))
    try:
        message = response.json().get("error", "")
    except ValueError:
        message = ""
    fine = 400 <= response.status_code < 500 and bool(message)
    return fine, str(response.status_code), message


def send_raw(address: tuple[str, int], rng: Rng) -> tuple[bool, str, str]:
    """Bytes that are no HTTP at all."""
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(b"\x16\x03" + rng.bytes(200).replace(b"\n", b"") + b"\r\n\r\n")
        answer = connection.makefile("rb").read()
    status = answer.split(b" ")[1].decode() if answer.startswith(b"HTTP/1.1 ") else "nothing"
    return status.startswith("4"), status, answer.partition(b"\r\n\r\n")[2].decode()


def kinds() -> Iterator[tuple[str, str]]:
    """All kinds, each with its protocol, again and again."""
    everything = [
        *(("grpc", kind) for kind in GRPC),
        *(("rest", kind) for kind in (*REST, *TARGETS)),
        ("raw", "no HTTP"),
    ]
    while True:
        yield from everything


def main() -> int:
    """Sends the requests and prints what came back."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000)
    count = parser.parse_args().requests
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        version = add_version(Path(folder) / "served", seed=0)
        with LocalServer(version.parent, embedded=True) as server:
            return run(server, Model(version), count, rng)


def run(server: LocalServer, model: Model, count: int, rng: Rng) -> int:
    """The same, against a running server."""
    host, port = server.rest_address.removeprefix("http://").split(":")
    options = [("grpc.max_send_message_length", -1)]
    outcomes: Counter[tuple[str, str]] = Counter()
    failures: list[str] = []
    started = time.monotonic()
    num_kinds = len(GRPC) + len(REST) + len(TARGETS) + 1
    start = first = resident_mib(server.process.pid)
    with (
        grpc.insecure_channel(server.grpc_address.removeprefix("grpc://"), options) as channel,
        httpx.Client(base_url=server.rest_address, timeout=60, trust_env=False) as http,
    ):
        for index, (protocol, kind) in zip(range(count), kinds(), strict=False):
            if protocol == "grpc":
                fine, outcome, message = send_grpc(channel, kind, rng)
            elif protocol == "rest":
                fine, outcome, message = send_rest(http, kind, rng)
            else:
                fine, outcome, message = send_raw((host, int(port)), rng)
            outcomes[protocol, outcome] += 1
            if not fine:
                failures.append(f"{protocol} {kind}: {outcome} {message[:80]!r}")
            if index == num_kinds - 1:
                first = resident_mib(server.process.pid)
    seconds = time.monotonic() - started
    end, peak = resident_mib(server.process.pid), resident_mib(server.process.pid, peak=True)
    error = 0.0
    for address in (server.grpc_address, server.rest_address):
        with Client(address, server.model) as client:
            inputs = example("decode", 8, rng)
            answer = client.predict("decode", **inputs)
            error = max(error, largest_error(answer, model.answer("decode", inputs)))
    print(f"{count} malformed requests of {num_kinds} kinds in {seconds:.0f} s")
    for (protocol, outcome), number in sorted(outcomes.items()):
        print(f"  {protocol} {outcome:20} {number}")
    traces = server.output().count("Traceback")
    print(f"tracebacks in the server's output: {traces}")
    print(f"not refused as they must be: {len(failures)}")
    for failure in sorted(set(failures)):
        print(f"  {failure}")
    print(
        f"memory: {start:.0f} MiB before, {first:.0f} after one of each kind, {end:.0f} after all, "
        f"{peak:.0f} at most; growth {end - first:.0f} of {MAX_GROWTH_MIB} MiB allowed"
    )
    print(f"answers afterwards: largest error {error:.1e}")
    return int(bool(failures or traces) or end - first > MAX_GROWTH_MIB or not error <= TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
