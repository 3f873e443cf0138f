"""The client, over both protocols and against servers that fail."""

from __future__ import annotations

import socket

import numpy as np
import pytest

import tfvae
from tfvae.serving import Client, ServingError
from tfvae.serving import client as module
from tfvae.serving.client import row_seeds
from tfvae.serving.errors import Code
from tfvae.serving.specs import Signature, TensorSpec


@pytest.fixture(params=["grpc", "http"])
def client(request, running):
    address = {"grpc": running.local.grpc_address, "http": running.local.rest_address}
    with Client(address[request.param], "shapes", rows_per_request=16) as made:
        yield made


# ---- the model ----------------------------------------------------------------------------


def test_encode_decode_reconstruct(client, reference, inputs):
    x, z = inputs["encode"]["x"], inputs["decode"]["z"]
    posterior, expected = client.encode(x), reference("encode", x=x)
    np.testing.assert_allclose(posterior.loc, expected["loc"], atol=1e-5)
    np.testing.assert_allclose(posterior.scale, expected["scale"], atol=1e-5)
    assert posterior.scale_tril is None
    np.testing.assert_allclose(client.decode(z), reference("decode", z=z)["mean"], atol=1e-5)
    expected = reference("reconstruct", x=x)["x"]
    np.testing.assert_allclose(client.reconstruct(x), expected, atol=1e-5)
    assert client.decode(z).dtype == posterior.loc.dtype == np.float32


def test_sample(client, reference):
    """In three requests of 16, 16 and 8 rows, and the same as in one."""
    seeds = tfvae.random.seeds(-3, 40)
    expected = np.concatenate(
        [reference("sample", seed=seeds[i : i + 8])["x"] for i in range(0, 40, 8)]
    )
    np.testing.assert_allclose(client.sample(40, seed=-3), expected, atol=1e-5)


def test_interpolate(client, reference, inputs):
    a, b = inputs["interpolate"]["a"][0], inputs["interpolate"]["b"][0]
    t = np.linspace(0, 1, 5, dtype=np.float32)
    ends = {"a": np.repeat(a[None], 5, axis=0), "b": np.repeat(b[None], 5, axis=0)}
    expected = reference("interpolate", **ends, t=t)["x"]
    np.testing.assert_allclose(client.interpolate(a, b, steps=5), expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"`steps` must be at least 2\. Received: 1"):
        client.interpolate(a, b, steps=1)


def test_log_prob_and_anomaly_score(client, reference, inputs):
    x = inputs["encode"]["x"]
    seed = np.array([[9, 0], [9, 1], [9, 2]], np.int32)
    expected = reference("log_prob", x=x, seed=seed)["log_prob"]
    np.testing.assert_allclose(client.log_prob(x, seed=9), expected, atol=1e-5)
    np.testing.assert_allclose(client.anomaly_score(x.tolist(), seed=9), -expected, atol=1e-5)


def test_any_signature(client, inputs, reference):
    answer = client.predict("sample", seed=inputs["sample"]["seed"].astype(np.int64))
    assert sorted(answer) == ["x", "z"]
    expected = reference("sample", **inputs["sample"])["z"]
    np.testing.assert_allclose(answer["z"], expected, atol=1e-5)


def test_what_it_says_of_the_model(client):
    signatures = client.signatures()
    assert str(signatures["log_prob"]) == (
        "signature `log_prob` takes seed: int32 [batch, 2], x: float32 [batch, 4, 4, 1]"
    )
    assert {(v.version, v.state, v.error) for v in client.status()} == {
        (1, "AVAILABLE", ""),
        (2, "AVAILABLE", ""),
    }


def test_a_version_and_a_label(running, reference, inputs):
    z = inputs["decode"]["z"]
    expected = reference("decode", version=1, z=z)["mean"]
    for address in (running.local.grpc_address, running.local.rest_address):
        for which in ({"version": 1}, {"label": "stable"}):
            with Client(address, "shapes", **which) as client:
                np.testing.assert_allclose(client.decode(z), expected, atol=1e-5)


# ---- errors -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda c: c.decode(np.zeros((4, 3))),
            r"In model 'shapes', signature `decode` takes z: float32 \[batch, 2\]\. "
            r"Received: z: float32 \[4, 3\]",
        ),
        (lambda c: c.decode(np.zeros(2)), r"Received: z: float32 \[2\]"),
        (lambda c: c.decode(np.zeros((0, 2))), r"with one number of rows, not zero\. Received"),
        (lambda c: c.decode([["a", "b"]]), r"Received: z: str\w+ \[1, 2\]"),
        (lambda c: c.decode([[True, False]]), r"Received: z: bool \[1, 2\]"),
        (lambda c: c.predict("sample", seed=[[0.5, 1]]), r"Received: seed: float64 \[1, 2\]"),
        (lambda c: c.predict("sample", seed=[[2**31, 1]]), r"Received: seed: int64 \[1, 2\]"),
        (lambda c: c.predict("decode", z=[[0, 0]], y=1), r"Received: y: int64 \[\], z"),
        (lambda c: c.predict("log_prob", x=np.zeros((2, 4, 4, 1)), seed=[[0, 0]]), "one number of"),
        (lambda c: c.predict("elbo", x=1), r"has the signatures anomaly_score, .*Received: 'elbo'"),
    ],
)
def test_what_does_not_fit_is_not_sent(client, call, message):
    with pytest.raises(ValueError, match=message):
        call(client)


def test_the_servers_errors(running):
    for address in (running.local.grpc_address, running.local.rest_address):
        with Client(address, "nobody") as client, pytest.raises(ServingError) as raised:
            client.sample(1)
        assert raised.value.code == Code.NOT_FOUND
        assert address in raised.value.message
        with Client(address, "shapes", rows_per_request=100) as client:
            with pytest.raises(
                ServingError, match=r"signature `sample` of 'shapes': .*17.*16"
            ) as raised:
                client.sample(17)
            assert raised.value.code == Code.INVALID_ARGUMENT


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_nobody_listens(scheme):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"{scheme}://127.0.0.1:{server.getsockname()[1]}"
    with Client(address, "m", retries=1) as client, pytest.raises(ServingError) as raised:
        client.status()
    assert raised.value.code == Code.UNAVAILABLE
    assert address in raised.value.message


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_nobody_answers(scheme):
    """It accepts the connection, and then says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"{scheme}://127.0.0.1:{server.getsockname()[1]}"
        with Client(address, "m", timeout=0.3) as client, pytest.raises(ServingError) as raised:
            client.status()
    assert raised.value.code == Code.DEADLINE_EXCEEDED


# ---- repeating ----------------------------------------------------------------------------


class Flaky:
    """A transport whose calls fail as planned, and then answer."""

    def __init__(self, *codes, shapes=((None, 2),)):
        self.codes, self.shapes, self.calls, self.closed = list(codes), list(shapes), 0, False

    def signatures(self, target, timeout):
        shape = self.shapes.pop(0) if len(self.shapes) > 1 else self.shapes[0]
        spec = TensorSpec(np.dtype(np.float32), shape)
        return {"decode": Signature("decode", {"z": spec}, {"mean": spec})}

    def predict(self, target, signature, inputs, timeout):
        self.calls += 1
        if self.codes:
            raise ServingError(self.codes.pop(0), "planned")
        return {"mean": inputs["z"]}

    def close(self):
        self.closed = True


@pytest.fixture
def flaky(monkeypatch):
    waits = []
    monkeypatch.setattr(module.time, "sleep", waits.append)

    def make(transport, **options):
        monkeypatch.setattr(module, "_transport", lambda address: transport)
        return Client("grpc://nowhere:1", "m", **options), waits

    return make


def test_what_fails_in_passing_is_repeated(flaky):
    transport = Flaky(Code.UNAVAILABLE, Code.UNAVAILABLE, Code.UNAVAILABLE)
    client, waits = flaky(transport)
    assert client.decode([[1, 2]]).tolist() == [[1, 2]]
    assert transport.calls == 4
    assert [0.5 <= wait / first <= 1.5 for wait, first in zip(waits, (0.05, 0.1, 0.2), strict=True)]


def test_repeating_has_an_end(flaky):
    transport = Flaky(*[Code.UNAVAILABLE] * 9)
    client, _ = flaky(transport, retries=2)
    with pytest.raises(ServingError, match="planned"):
        client.decode([[1, 2]])
    assert transport.calls == 3


def test_repeating_stops_at_the_deadline(flaky):
    transport = Flaky(*[Code.UNAVAILABLE] * 9)
    client, waits = flaky(transport, retries=8, timeout=0.01)
    with pytest.raises(ServingError, match="planned"):
        client.decode([[1, 2]])
    assert (transport.calls, waits) == (1, [])


@pytest.mark.parametrize("code", [code for code in Code if code not in (Code.OK, Code.UNAVAILABLE)])
def test_nothing_else_is_repeated(flaky, code):
    transport = Flaky(code)
    client, _ = flaky(transport)
    with pytest.raises(ServingError) as raised:
        client.decode([[1, 2]])
    assert (raised.value.code, transport.calls) == (code, 1)


def test_a_new_version_with_other_shapes_is_noticed(flaky):
    client, _ = flaky(Flaky(shapes=[(None, 2), (None, 3)]))
    assert client.decode([[1, 2]]).tolist() == [[1, 2]]
    assert client.decode([[1, 2, 3]]).tolist() == [[1, 2, 3]]
    with pytest.raises(ValueError, match=r"takes z: float32 \[batch, 3\]"):
        client.decode([[1, 2]])


def test_it_closes(flaky):
    transport = Flaky()
    client, _ = flaky(transport)
    with client as entered:
        assert entered is client
    assert transport.closed


# ---- arguments ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["127.0.0.1:8500", "ftp://a:1", "http://", "grpc://a:1/v1/models", "localhost"]
)
def test_addresses(address):
    with pytest.raises(ValueError, match=r"`address` must be grpc://HOST:PORT.*Received: '"):
        Client(address, "m")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": 1, "label": "a"}, "`version` or `label`, not both"),
        ({"timeout": 0}, "`timeout` must be positive"),
        ({"retries": -1}, "`retries` not negative"),
        ({"rows_per_request": 0}, "`rows_per_request` at least 1"),
    ],
)
def test_options(options, message):
    with pytest.raises(ValueError, match=message):
        Client("grpc://a:1", "m", **options)


@pytest.mark.parametrize("seed", [0, 7, -3, 2**40 + 5, -(2**31)])
def test_seeds_are_the_packages(seed):
    np.testing.assert_array_equal(row_seeds(seed, 5), tfvae.random.seeds(seed, 5))
    assert row_seeds(seed, 5).dtype == np.int32
