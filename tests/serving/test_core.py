"""Admission, deadlines and the errors that come out of a request."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from tfvae.serving.core import Core
from tfvae.serving.errors import Code, ServingError
from tfvae.serving.limits import Limits
from tfvae.serving.monitoring import Metrics
from tfvae.serving.specs import Signature, TensorSpec
from tfvae.serving.versions import Version


class Batcher:
    def __init__(self):
        self.batchable = None

    async def submit(self, kind, run, inputs, batchable):
        self.batchable = batchable
        return run(inputs)


class Servable:
    definitions = None

    def run(self, name, inputs):
        return {"y": inputs["x"] + 1, "name": np.array(name.encode(), object)}


FLOAT = TensorSpec(np.dtype(np.float32), (None, 2))
SIGNATURE = Signature("f", {"x": FLOAT}, {"y": FLOAT, "name": TensorSpec(np.dtype(object), ())})


def core(**limits):
    return Core(None, Batcher(), Limits(**limits), Metrics("m"))


def outcomes(made):
    lines = made.metrics.page(made.in_flight).decode().splitlines()
    counts = [line for line in lines if line.startswith(":tensorflow:serving:request_count{")]
    return {line.split('status="')[1].split('"')[0]: float(line.split()[-1]) for line in counts}


def admit(made, inside):
    async def play():
        async with made.admitted("Predict", "REST"):
            await inside()

    asyncio.run(play())


async def nothing():
    pass


def test_a_request_is_counted():
    made = core()
    admit(made, nothing)
    assert (made.in_flight, made.num_answered, outcomes(made)) == (0, 1, {"OK": 1})


def test_too_many_at_a_time():
    made = core(max_concurrent_requests=2)

    async def inside():
        async with made.admitted("Predict", "GRPC"):
            with pytest.raises(ServingError, match="2 requests are being answered") as raised:
                await made.admitted("Predict", "GRPC").__aenter__()
            assert (raised.value.code, raised.value.http_status) == (Code.UNAVAILABLE, 503)

    admit(made, inside)
    assert (made.in_flight, outcomes(made)) == (0, {"OK": 2, "UNAVAILABLE": 1})


def test_too_long():
    made = core(timeout_seconds=0.01)
    with pytest.raises(ServingError, match=r"not answered in 0\.01 s") as raised:
        admit(made, lambda: asyncio.sleep(60))
    assert (raised.value.code, raised.value.http_status) == (Code.DEADLINE_EXCEEDED, 504)
    assert (made.in_flight, outcomes(made)) == (0, {"DEADLINE_EXCEEDED": 1})


def test_too_long_in_coming():
    made = core(read_seconds=0.01)

    async def inside():
        async with made.reading():
            await asyncio.sleep(60)

    with pytest.raises(ServingError, match=r"did not arrive in 0\.01 s") as raised:
        admit(made, inside)
    assert raised.value.http_status == 408


def test_a_failure_is_not_told_to_the_network(caplog):
    made = core()

    async def inside():
        raise KeyError("secret")

    with pytest.raises(ServingError) as raised:
        admit(made, inside)
    assert (raised.value.code, raised.value.message) == (
        Code.INTERNAL,
        "the server failed at this request",
    )
    assert "KeyError: 'secret'" in caplog.text


def test_a_request_that_is_given_up_is_counted():
    made = core()

    async def play():
        task = asyncio.ensure_future(given_up())
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def given_up():
        async with made.admitted("Predict", "GRPC"):
            await asyncio.sleep(60)

    asyncio.run(play())
    assert (made.in_flight, outcomes(made)) == (0, {"CANCELLED": 1})
    assert (made.num_answered, made.num_given_up) == (0, 1)


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_decode(size):
    assert asyncio.run(core().decode(size, divmod, 7, 3)) == (2, 1)


def predict(array, **options):
    made = core()
    version = Version(1, servable=Servable())
    inputs = {"x": np.asarray(array, np.float32)}
    return asyncio.run(made.predict(version, SIGNATURE, inputs, **options))


def test_predict():
    outputs = predict([[1, 2]])
    assert outputs["y"].tolist() == [[2, 3]]
    assert list(outputs) == ["y", "name"]
    assert list(predict([[1, 2]], output_filter=["name"])) == ["name"]


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        ([[1, 2, 3]], {}, r"takes x: float32 \[batch, 2\]\. Received: x: float32 \[1, 3\]"),
        ([[1, np.nan]], {}, "must be finite"),
        ([[1, np.inf]], {}, "must be finite"),
        ([[1, 2]], {"output_filter": ["z"]}, r"expected to be in the set \{y,name\}"),
        ([[1, 2]], {"output_filter": ["y", "y"]}, "repeated"),
    ],
)
def test_predict_refuses(array, options, message):
    with pytest.raises(ServingError, match=message) as raised:
        predict(array, **options)
    assert raised.value.code == Code.INVALID_ARGUMENT


def test_a_version_that_is_not_loaded():
    with pytest.raises(ServingError, match="version 3 is not loaded"):
        asyncio.run(core().predict(Version(3), SIGNATURE, {"x": np.zeros((1, 2), "f4")}))
