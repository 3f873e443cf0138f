"""The embedded server: TensorFlow Serving's protocol from Python, for development and tests.

gRPC and REST share one event loop and one core. It keeps to the loopback interface unless it is
told otherwise, and reads no path but the one it was started with.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import uvicorn

from tfvae.serving.batching import Batcher
from tfvae.serving.config import read_batching, read_model_config
from tfvae.serving.core import Core
from tfvae.serving.grpc_service import service_handlers
from tfvae.serving.limits import Limits
from tfvae.serving.monitoring import METRICS_PATH, Metrics
from tfvae.serving.rest_service import RestApp
from tfvae.serving.servable import Servable
from tfvae.serving.signals import on_stop_signal
from tfvae.serving.versions import Versions

# Idle REST connections are closed after this; clients keep theirs for less.
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 512


class _Uvicorn(uvicorn.Server):
    """Leaves the signals alone: they end gRPC as well."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(frozen=True)
class Drained:
    """What became of the requests when a server stopped.

    Attributes:
        answered: requests that were answered.
        cut_off: requests that were given up while it stopped, by it or by their clients.
    """

    answered: int
    cut_off: int


class EmbeddedServer:
    """A server of one model, on the running event loop.

    Args:
        path: the model's folder, which holds its versions.
        host: the interface to listen on.
        port: for gRPC; any free one if 0.
        rest_port: for REST; any free one if 0.
        batching: whether concurrent requests are computed together.
        poll_seconds: how often to look for new versions.
        limits: what a request may cost.

    Raises:
        ValueError: if there is no such folder, or a file in it that says how to serve is damaged.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        host: str = "127.0.0.1",
        port: int = 8500,
        rest_port: int = 8501,
        batching: bool = True,
        poll_seconds: float = 1.0,
        limits: Limits | None = None,
    ) -> None:
        config = read_model_config(Path(path))
        model = config.model_config_list.config[0]
        self.model: str = model.name
        self._limits = limits or Limits()
        self._host, self._port, self._rest_port = host, port, rest_port
        metrics = Metrics(self.model)
        self._core = Core(
            versions=Versions(model, poll_seconds, Servable),
            batcher=Batcher(read_batching(Path(path), batching), metrics.computed),
            limits=self._limits,
            metrics=metrics,
        )

    async def start(self) -> None:
        """Loads the model, then listens.

        Raises:
            ValueError: if no version can be served.
            OSError: if a port is taken.
        """
        core, limits = self._core, self._limits
        self._grpc = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", limits.max_body_bytes),
                ("grpc.max_send_message_length", -1),
                # Else a second server would share the port, and its requests, without a word.
                ("grpc.so_reuseport", 0),
            ]
        )
        self._grpc.add_generic_rpc_handlers(service_handlers(core))
        try:
            await core.versions.start()
            listener = self._bind()
        except BaseException:
            await core.versions.close()
            raise
        core.batcher.start()
        self._rest = _Uvicorn(
            uvicorn.Config(
                RestApp(core),
                lifespan="off",
                http="h11",
                ws="none",
                server_header=False,
                access_log=False,
                log_config=None,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=int(limits.timeout_seconds) + 1,
            )
        )
        await self._grpc.start()
        self._rest_task = asyncio.create_task(self._rest.serve([listener]))

    def _bind(self) -> socket.socket:
        """Takes the ports; returns REST's."""
        listener = _listen(self._host, self._rest_port)
        host = f"[{self._host}]" if ":" in self._host else self._host
        try:
            port = self._grpc.add_insecure_port(f"{host}:{self._port}")
        except RuntimeError as error:
            listener.close()
            raise OSError(f"The port is taken. Received: {host}:{self._port}") from error
        self.grpc_address = f"{host}:{port}"
        self.rest_address = f"http://{host}:{listener.getsockname()[1]}"
        return listener

    async def stop(self) -> Drained:
        """Takes no new requests, answers those it has, and ends.

        Returns:
            How many were answered.
        """
        before = self._core.num_given_up
        self._rest.should_exit = True
        await asyncio.gather(self._grpc.stop(self._limits.timeout_seconds), self._rest_task)
        drained = Drained(self._core.num_answered, self._core.num_given_up - before)
        await self._core.batcher.close()
        await self._core.versions.close()
        return drained


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise OSError(f"The port is taken ({error}). Received: {host}:{port}") from error
    # Accepted connections inherit it. asyncio sets it only where a socket names its protocol, and
    # without it every answer waits 40 ms for the client to acknowledge its headers.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def run_embedded(server: EmbeddedServer, announce: Callable[[str], object]) -> None:
    """Serves until SIGTERM or SIGINT, then drains.

    Args:
        server: what to serve.
        announce: called with a line for people when it listens, and one when it has ended.
    """

    async def serve() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        # All that has been imported stays. Unloading a version collects garbage, and need not look
        # through it for half a second in which nothing is answered.
        gc.freeze()
        with on_stop_signal(lambda _: loop.call_soon_threadsafe(stop.set)):
            await server.start()
            announce(
                f"model {server.model}: gRPC on {server.grpc_address}, REST on "
                f"{server.rest_address}, metrics on {server.rest_address}{METRICS_PATH}"
            )
            await stop.wait()
            drained = await server.stop()
        announce(f"stopped: {drained.answered} requests answered, {drained.cut_off} cut off")

    asyncio.run(serve())
