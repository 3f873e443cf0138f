"""The embedded server's own: limits, metrics, what it loads, how it starts and stops."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import subprocess
import sys

import grpc
import httpx
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2

from tfvae.serving.embedded import EmbeddedServer

PREDICT = "/v1/models/shapes:predict"
BODY = json.dumps({"signature_name": "decode", "inputs": [[0.0, 0.0]]}).encode()


def error(response):
    return response.status_code, response.json()["error"]


# ---- limits -------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [b"[", b'{"inputs":', b'{"instances": [{"z":'])
def test_nested_brackets(embedded, head):
    status, message = error(embedded.http.post(PREDICT, content=head * 250_000))
    assert (status, "nested 64 levels deep" in message) == (400, True)


def test_a_large_body(embedded):
    response = embedded.http.post(PREDICT, content=b" " * (20 << 20))
    assert error(response) == (413, "the body is larger than 6291456 bytes")


def test_a_body_that_inflates(embedded):
    bomb = gzip.compress(bytes(100 << 20))
    response = embedded.http.post(PREDICT, content=bomb, headers={"Content-Encoding": "gzip"})
    assert len(bomb) < 110_000
    assert error(response) == (413, "the body is larger than 6291456 bytes")


def test_a_body_that_does_not_arrive(embedded):
    address = ("127.0.0.1", int(embedded.local.rest_address.rpartition(":")[2]))
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(
            f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{{".encode()
        )
        answer = connection.makefile("rb").readline()
    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip])
def test_a_large_message(embedded, compression):
    address = embedded.local.grpc_address.removeprefix("grpc://")
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(address, options) as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError) as raised:
            call(bytes(20 << 20), timeout=20, compression=compression)
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("shape", [[2**40, 2], [-1, 2], [0, 2**62, 2**62], [1] * 100])
def test_a_tensor_that_claims_a_shape(embedded, shape):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "shapes", "decode"
    request.inputs["z"].dtype = 1
    request.inputs["z"].float_val.append(0.0)
    for size in shape:
        request.inputs["z"].tensor_shape.dim.add(size=size)
    with pytest.raises(grpc.RpcError) as raised:
        embedded.prediction.Predict(request, timeout=20)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"\x0a\x7f", b""])
def test_a_damaged_message(embedded, body):
    """gRPC calls it an internal error by itself; it is the client's."""
    address = embedded.local.grpc_address.removeprefix("grpc://")
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError, match=r"cannot be parsed|Missing ModelSpec") as raised:
            call(body, timeout=20)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number(embedded, number):
    body = f'{{"signature_name": "decode", "inputs": [[0, {number}]]}}'
    status, _ = error(embedded.http.post(PREDICT, content=body))
    assert status == 400


def test_no_path_but_its_own(embedded):
    for path in ("/v1/models/..%2F..%2Fetc:predict", "/v1/models/shapes/versions/../1:predict"):
        assert embedded.http.post(path, content=BODY).status_code in (400, 404)
    assert embedded.http.get("/etc/passwd").status_code == 404
    address = embedded.local.grpc_address.removeprefix("grpc://")
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary("/tensorflow.serving.ModelService/HandleReloadConfigRequest")
        with pytest.raises(grpc.RpcError) as raised:
            call(b"", timeout=20)
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_other_methods_of_tensorflow_serving(embedded):
    status, message = error(embedded.http.post("/v1/models/shapes:classify", content=b"{}"))
    assert (status, "tensorflow/serving/classify" in message) == (400, True)
    response = embedded.http.put(PREDICT, content=BODY)
    assert error(response) == (400, f"Malformed request: PUT {PREDICT}")


# ---- what it says of itself ---------------------------------------------------------------


def test_metrics(embedded):
    def count():
        page = embedded.http.get("/monitoring/prometheus/metrics")
        assert page.headers["content-type"].startswith("text/plain")
        name = ':tensorflow:serving:request_count{model_name="shapes",status="OK"} '
        lines = [line for line in page.text.splitlines() if line.startswith(name)]
        return float(lines[0].rpartition(" ")[2]) if lines else 0.0

    before = count()
    for _ in range(3):
        assert embedded.http.post(PREDICT, content=BODY).status_code == 200
    assert count() == before + 3


def test_it_says_which_server_it_is(embedded):
    output = embedded.local.output()
    assert "this is tfvae's embedded server" in output
    assert f"gRPC on {embedded.local.grpc_address.removeprefix('grpc://')}" in output


def test_what_it_needs(export):
    """TensorFlow, and nothing that made the model: none of that can be imported here.

    `import tensorflow` imports Keras by itself where it is installed, so it is hidden.
    """
    code = f"""
import asyncio, sys

hidden = ("keras", "tf_keras", "tensorflow_probability", "tfvae.models", "tfvae.layers")
sys.modules.update(dict.fromkeys(hidden))
import tfvae.serving
client = "tensorflow" in sys.modules
from tfvae.serving.embedded import EmbeddedServer

async def run():
    server = EmbeddedServer({str(export)!r}, port=0, rest_port=0)
    await server.start()
    return await server.stop()

asyncio.run(run())
keras = [name for name in sys.modules if name.startswith("keras.")]
print(client, "tensorflow" in sys.modules, keras, [sys.modules[name] for name in hidden])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"False True [] {[None] * 5}"


# ---- starting and stopping ----------------------------------------------------------------


def test_requests_that_are_being_answered_are_answered(export):
    """Stopped while eight requests are at work: all get their answers, none is cut off."""

    async def run():
        server = EmbeddedServer(export, port=0, rest_port=0)
        await server.start()
        body = json.dumps(
            {"signature_name": "sample", "instances": [[i, 0] for i in range(16)]}
        ).encode()
        async with httpx.AsyncClient(base_url=server.rest_address, trust_env=False) as http:
            requests = [asyncio.ensure_future(http.post(PREDICT, content=body)) for _ in range(8)]
            while server._core.in_flight < 8:
                assert not any(request.done() for request in requests)
                await asyncio.sleep(0)
            drained = await server.stop()
            answers = [(await request).json()["predictions"] for request in requests]
        return drained, answers

    drained, answers = asyncio.run(run())
    assert (drained.answered, drained.cut_off) == (8, 0)
    assert len({json.dumps(answer) for answer in answers}) == 1
    assert np.shape([row["x"] for row in answers[0]]) == (16, 4, 4, 1)


def test_a_port_that_is_taken(export):
    async def run(**ports):
        server = EmbeddedServer(export, **{"port": 0, "rest_port": 0, **ports})
        await server.start()

    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        for ports in ({"port": number}, {"rest_port": number}):
            with pytest.raises(
                OSError, match=rf"The port is taken.*Received: 127\.0\.0\.1:{number}"
            ):
                asyncio.run(run(**ports))
