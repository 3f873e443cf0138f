"""Puts a loaded server through its faults, and counts what was lost.

    python tools/fault_test.py [--clients 16] [--seconds 8]

A new version appears; broken versions appear; clients go away in the middle of a request; SIGTERM
arrives. All the while clients ask and check every answer. Exits with 1 if an answer is wrong, a
request is lost, or the server says the wrong thing about its versions. Everything stays on
127.0.0.1 and ends by itself.
"""

from __future__ import annotations

import argparse
import re
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import numpy as np
from served_model import SIGNATURES, TOLERANCE, Model, add_version, example, largest_error
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tfvae.serving import Client, LocalServer, ServingError

POLL_SECONDS = 0.25
PATIENCE_SECONDS = 60.0
NUM_GONE = 200
"""Clients that go away, over each protocol."""


class Load:
    """Clients that ask one request after the other until they are stopped, and check each answer.

    Args:
        server: whom they ask.
        models: the versions whose answers are right.
        num_clients: half of them speak gRPC, half REST.
        retries: how often a client repeats what fails in passing.
    """

    def __init__(
        self, server: LocalServer, models: list[Model], num_clients: int, retries: int = 3
    ) -> None:
        self.outcomes: Counter[str] = Counter()
        self._server, self._retries = server, retries
        rng = np.random.default_rng(0)
        inputs = [(name, example(name, 1 + i % 2, rng)) for i, name in enumerate(SIGNATURES * 3)]
        self._questions = [(n, x, [model.answer(n, x) for model in models]) for n, x in inputs]
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._threads = [
            threading.Thread(target=self._ask, args=(i,), daemon=True) for i in range(num_clients)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> Counter[str]:
        """Ends it; every request that was sent has its outcome."""
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
        return self.outcomes

    def _ask(self, worker: int) -> None:
        address = self._server.rest_address if worker % 2 else self._server.grpc_address
        with Client(address, self._server.model, timeout=30, retries=self._retries) as client:
            index = worker
            while not self._stop.is_set():
                name, inputs, expected = self._questions[index % len(self._questions)]
                index += 1
                try:
                    answer = client.predict(name, **inputs)
                except ServingError as error:
                    outcome = error.code.name
                else:
                    errors = [largest_error(answer, right) for right in expected]
                    right = int(np.argmin(errors))
                    outcome = f"version {right + 1}" if errors[right] <= TOLERANCE else "wrong"
                with self._lock:
                    self.outcomes[outcome] += 1
                if outcome == "UNAVAILABLE":
                    # A server that is gone is not asked ten thousand times a second.
                    time.sleep(0.05)


def wait_until(true: Callable[[], bool], what: str) -> None:
    """Waits for something, but not for ever."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE_SECONDS:g} s for {what}")
        time.sleep(0.05)


def versions(server: LocalServer) -> dict[int, tuple[str, str]]:
    """State and error of each version, as the server says."""
    with Client(server.grpc_address, server.model, timeout=30) as client:
        return {status.version: (status.state, status.error) for status in client.status()}


def damage(version: Path, folder: Path, how: str) -> None:
    """Adds a version that cannot be loaded, in one step."""
    copy = folder.with_name(f".{folder.name}")
    shutil.copytree(version, copy)
    if how == "no weights":
        next(copy.glob("variables/*.data*")).unlink()
    elif how == "half of the weights":
        data = next(copy.glob("variables/*.data*"))
        data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    elif how == "noise for a graph":
        (copy / "saved_model.pb").write_bytes(np.random.default_rng(0).bytes(5000))
    else:
        shutil.rmtree(copy)
        copy.mkdir()
    copy.rename(folder)


def new_versions(server: LocalServer, folder: Path, spare: Path, load: Load) -> list[str]:
    """A good version and then four broken ones appear under load."""
    problems = []
    shutil.move(spare, folder / "2")
    wait_until(lambda: versions(server).get(2, ("",))[0] == "AVAILABLE", "version 2")
    wait_until(lambda: versions(server)[1][0] == "END", "the end of version 1")
    wait_until(lambda: load.outcomes["version 2"] > 0, "an answer of version 2")
    print(f"  version 2 appeared: {versions(server)}")
    faults = ("no weights", "half of the weights", "noise for a graph", "nothing at all")
    for number, how in enumerate(faults, start=3):
        damage(folder / "2", folder / str(number), how)
        wait_until(lambda n=number: versions(server).get(n, ("",))[0] == "END", how)
        state, error = versions(server)[number]
        served = versions(server)[2][0]
        print(f"  version {number} with {how}: {state}, {error[:100]!r}; version 2 is {served}")
        if not error or served != "AVAILABLE":
            problems.append(f"a version with {how}")
    return problems


def clients_gone(server: LocalServer) -> None:
    """Clients hang up in the middle of a body, before an answer, and cancel calls."""
    host, port = server.rest_address.removeprefix("http://").split(":")
    path = f"/v1/models/{server.model}:predict"
    for index in range(NUM_GONE):
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(
                f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 66\r\n\r\n".encode()
            )
            whole = b'{"signature_name": "sample", "instances": [[1, 2]]                }'[:66]
            connection.sendall(whole if index % 2 else whole[:20])
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = server.model, "sample"
    seed = request.inputs["seed"]
    seed.dtype = 3
    seed.tensor_shape.dim.add(size=32)
    seed.tensor_shape.dim.add(size=2)
    with grpc.insecure_channel(server.grpc_address.removeprefix("grpc://")) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for index in range(NUM_GONE):
            call = stub.Predict.future(request, timeout=0.004 if index % 2 else 30)
            time.sleep(0.002)
            call.cancel()


def metric(server: LocalServer, name: str) -> float:
    """A number from the server's metrics."""
    page = httpx.get(f"{server.rest_address}/monitoring/prometheus/metrics", trust_env=False).text
    return sum(float(value) for value in re.findall(rf"^{name}\S* (\S+)$", page, re.MULTILINE))


def main() -> int:
    """Runs all of it on one server."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=8.0)
    options = parser.parse_args()
    problems = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "served"
        models = [Model(add_version(folder, seed)) for seed in (0, 1)]
        spare = Path(temporary) / "spare"
        shutil.move(folder / "2", spare)
        server = LocalServer(folder, poll_seconds=POLL_SECONDS, embedded=True)
        server.start()

        print("versions appear under load")
        load = Load(server, models, options.clients)
        time.sleep(options.seconds / 4)
        problems += new_versions(server, folder, spare, load)
        time.sleep(options.seconds / 4)
        outcomes = load.stop()
        print(f"  {sum(outcomes.values())} requests: {dict(outcomes)}")
        if set(outcomes) != {"version 1", "version 2"}:
            problems.append("requests failed while versions appeared")

        print("clients go away in the middle of a request")
        load = Load(server, models, options.clients)
        time.sleep(options.seconds / 4)
        clients_gone(server)
        time.sleep(options.seconds / 4)
        outcomes = load.stop()
        wait_until(lambda: metric(server, ":tensorflow:serving:in_flight") == 0, "nothing to do")
        print(f"  {2 * NUM_GONE} went away; of the others {dict(outcomes)}; none is left in flight")
        if set(outcomes) != {"version 2"}:
            problems.append("requests failed while clients went away")

        print("SIGTERM under load")
        counted = ":tensorflow:serving:request_count"
        given_up = metric(server, f'{counted}{{model_name="served",status="CANCELLED"')
        before = metric(server, counted) - given_up
        load = Load(server, models, options.clients, retries=0)
        time.sleep(options.seconds / 2)
        status = server.stop()
        time.sleep(options.seconds / 4)
        outcomes = load.stop()
        said = re.search(r"stopped: (\d+) requests answered, (\d+) cut off", server.output())
        answered, cut_off = (int(part) for part in said.groups()) if said else (-1, -1)
        # The clients also asked, once each, what the signatures are.
        expected = before + options.clients + outcomes["version 2"]
        print(
            f"  exit status {status}; clients have {outcomes['version 2']} answers and "
            f"{outcomes['UNAVAILABLE']} refusals; the server gave {answered - before:.0f} answers "
            f"({options.clients} on signatures) and cut off {cut_off}"
        )
        if (
            status
            or cut_off
            or answered != expected
            or set(outcomes) > {"version 2", "UNAVAILABLE"}
        ):
            problems.append(f"requests were lost: {dict(outcomes)}, {answered} of {expected}")
        if "Traceback" in server.output():
            problems.append(f"the server failed: {server.output()}")
    print("problems: " + ("; ".join(problems) or "none"))
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
