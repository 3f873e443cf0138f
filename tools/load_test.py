"""Loads a server with many clients at once, and checks every answer.

    python tools/load_test.py [--requests 10000] [--clients 32]

Half of the requests go over gRPC, then half over REST; signatures and numbers of rows are mixed.
The same is done with batching and without, and the rates are printed side by side. Exits with 1 if
an answer is wrong or missing. Everything stays on 127.0.0.1 and ends by itself.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from served_model import SIGNATURES, TOLERANCE, Model, add_version, example, largest_error

from tfvae.serving import Client, LocalServer, ServingError

NUM_DIFFERENT = 210
"""Different requests; their answers are computed once, here, row by row."""

ROWS = (1, 1, 1, 1, 2, 4)


@dataclass
class Question:
    """A request and its answer."""

    name: str
    inputs: dict[str, np.ndarray]
    answer: dict[str, np.ndarray]


@dataclass
class Tally:
    """What one run came to."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    largest_error: float = 0.0
    rows_per_batch: float = 0.0
    rows: int = 0

    def __str__(self) -> str:
        middle, slow = np.percentile(np.array(self.latencies) * 1e3, [50, 99])
        return (
            f"{len(self.latencies) / self.seconds:5.0f} requests/s {self.rows / self.seconds:5.0f} "
            f"rows/s, {self.rows_per_batch:4.1f} rows a batch, {middle:4.0f} ms in the middle, "
            f"{slow:4.0f} ms at 99 %, {sum(self.errors.values())} errors, "
            f"largest difference {self.largest_error:.1e}"
        )


def questions(model: Model) -> list[Question]:
    """Requests of every signature, and what the model answers to each of their rows alone."""
    rng = np.random.default_rng(0)
    made = []
    for index in range(NUM_DIFFERENT):
        name = SIGNATURES[index % len(SIGNATURES)]
        inputs = example(name, int(rng.choice(ROWS)), rng)
        made.append(Question(name, inputs, model.answer(name, inputs)))
    return made


def load(
    server: LocalServer, address: str, asked: list[Question], count: int, num_clients: int
) -> Tally:
    """Sends the requests from as many clients as there are, each one after its last answer."""
    tally, lock = Tally(), threading.Lock()
    before = batches(server)

    def work(worker: int) -> None:
        with Client(address, server.model, timeout=60) as client:
            client.signatures()
            ready.wait()
            for index in range(worker, count, num_clients):
                question = asked[index % len(asked)]
                begun = time.perf_counter()
                try:
                    answer = client.predict(question.name, **question.inputs)
                except ServingError as error:
                    with lock:
                        tally.errors[error.code.name] += 1
                    continue
                seconds = time.perf_counter() - begun
                error = largest_error(answer, question.answer)
                with lock:
                    tally.latencies.append(seconds)
                    tally.largest_error = max(tally.largest_error, error)
                    tally.errors["wrong"] += not error <= TOLERANCE
                    tally.rows += len(next(iter(question.inputs.values())))

    ready = threading.Barrier(num_clients + 1)
    with ThreadPoolExecutor(num_clients) as pool:
        work_done = [pool.submit(work, worker) for worker in range(num_clients)]
        ready.wait()
        begun = time.perf_counter()
        for done in work_done:
            done.result()
        tally.seconds = time.perf_counter() - begun
    rows, number = batches(server) - before
    tally.rows_per_batch = rows / number if number else float("nan")
    return tally


def batches(server: LocalServer) -> np.ndarray:
    """The rows and the number of all batches so far, if the server counts them."""
    page = httpx.get(f"{server.rest_address}/monitoring/prometheus/metrics", trust_env=False).text
    found = (
        re.findall(rf"processed_batch_size_{what}\S* (\S+)", page) for what in ("sum", "count")
    )
    return np.array([sum(map(float, values)) for values in found])


def main() -> int:
    """Runs it with and without batching."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=32)
    options = parser.parse_args()
    half = options.requests // 2
    tallies: dict[tuple[str, str], Tally] = {}
    with tempfile.TemporaryDirectory() as folder:
        version = add_version(Path(folder) / "served", seed=0)
        asked = questions(Model(version))
        for batching in ("on", "off"):
            with LocalServer(version.parent, batching=batching == "on") as server:
                for address in (server.grpc_address, server.rest_address):
                    protocol = address.partition(":")[0]
                    tallies[protocol, batching] = load(
                        server, address, asked, half, options.clients
                    )
    print(f"{half} requests from {options.clients} clients over each protocol")
    for (protocol, batching), tally in sorted(tallies.items()):
        print(f"{protocol} batching {batching:3} {tally}")
    complete = all(len(tally.latencies) == half for tally in tallies.values())
    return int(not complete or any(sum(tally.errors.values()) for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
