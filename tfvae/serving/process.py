"""A server as a child process, for tests, notebooks and measurements on one machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tfvae.serving.client import Client
from tfvae.serving.errors import ServingError
from tfvae.serving.limits import Limits

_HOST = "127.0.0.1"
# The pipe is closed when the parent ends, however it ends: the server does not outlive it.
_CODE = """
import json, os, signal, sys, threading
from tfvae.serving import Limits, serve

def follow_the_parent():
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=follow_the_parent, daemon=True).start()
options = json.loads(sys.argv[2])
sys.exit(serve(sys.argv[1], **{**options, "limits": Limits(**options["limits"])}))
"""


class LocalServer:
    """Runs `tfvae.serving.serve` in a process of its own, on free ports of the loopback interface.

    Args:
        path: the model's folder, which holds its versions.
        batching: whether concurrent requests are computed together.
        poll_seconds: how often it looks for new versions.
        limits: what a request may cost.
        embedded: whether to run the embedded server in any case.
        start_seconds: how long it may take to load the model.

    Attributes:
        model: the name of the model.
        grpc_address: for `Client`, with the scheme `grpc`.
        rest_address: for `Client`, with the scheme `http`.

    Example:
        with LocalServer("exports/faces") as server:
            pictures = Client(server.grpc_address, server.model).sample(16)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        batching: bool = True,
        poll_seconds: float = 1.0,
        limits: Limits | None = None,
        embedded: bool = False,
        start_seconds: float = 300.0,
    ) -> None:
        from tfvae.serving.config import read_model_config

        self.model: str = read_model_config(Path(path)).model_config_list.config[0].name
        ports = _free_ports(2)
        self.grpc_address = f"grpc://{_HOST}:{ports[0]}"
        self.rest_address = f"http://{_HOST}:{ports[1]}"
        self._options: dict[str, Any] = {
            "host": _HOST,
            "port": ports[0],
            "rest_port": ports[1],
            "batching": batching,
            "poll_seconds": poll_seconds,
            "limits": asdict(limits or Limits()),
            "embedded": embedded,
        }
        self._path, self._start_seconds = str(path), start_seconds
        # Open for as long as its output may be asked for, also when the process has ended.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115

    def __enter__(self) -> LocalServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts it, and waits until it answers.

        Raises:
            RuntimeError: if it ends, or does not answer in time.
        """
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", _CODE, self._path, json.dumps(self._options)],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env={"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ},
        )
        deadline = time.monotonic() + self._start_seconds
        with Client(self.rest_address, self.model, retries=0) as client:
            while self.process.poll() is None and time.monotonic() < deadline:
                try:
                    if any(version.state == "AVAILABLE" for version in client.status()):
                        return
                except ServingError:
                    pass
                time.sleep(0.1)
        self.stop()
        raise RuntimeError(f"The server does not answer. Received from it: {self.output()}")

    def stop(self, seconds: float = 60.0) -> int:
        """Asks it to answer what it has and end, and waits for that.

        Args:
            seconds: after which it is killed.

        Returns:
            Its exit status.
        """
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            if self.process.stdin is not None:
                self.process.stdin.close()

    def output(self) -> str:
        """What it has printed."""
        self._output.seek(0)
        return self._output.read().decode("utf-8", "replace")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server((_HOST, 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports
