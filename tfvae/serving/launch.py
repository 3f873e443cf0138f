"""`serve`: TensorFlow Serving where it is installed, the embedded server where it is not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from tfvae.serving.limits import Limits

_PACKAGES = "pip install 'tfvae[serving]'"


def serve(
    path: str | os.PathLike[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8500,
    rest_port: int = 8501,
    batching: bool = True,
    poll_seconds: float = 1.0,
    limits: Limits | None = None,
    embedded: bool = False,
    announce: Callable[[str], object] = print,
) -> int:
    """Serves an export over gRPC and REST until SIGTERM or SIGINT.

    Runs `tensorflow_model_server` if it is on the PATH, and else the embedded server, which speaks
    the same protocol; the first line announced says which. Beside the versions,
    `batching_parameters.txt` says how requests are batched and `models.config` gives the name, the
    version policy and the labels.

    Args:
        path: the model's folder, as `tfvae.export.saved_model` makes it; not one of its versions.
        host: the interface of the embedded server; TensorFlow Serving listens on all of them.
        port: for gRPC; the embedded server takes any free one if 0.
        rest_port: for REST; likewise.
        batching: whether concurrent requests are computed together.
        poll_seconds: how often to look for new versions.
        limits: what a request may cost the embedded server.
        embedded: whether to run the embedded server in any case.
        announce: called with lines for people.

    Returns:
        An exit status.

    Raises:
        ValueError: if nothing there can be served.
        OSError: if a port is taken.
        ImportError: if a package is missing.
    """
    try:
        from tfvae.serving.embedded import EmbeddedServer, run_embedded
        from tfvae.serving.tensorflow_server import PROGRAM, run_tensorflow_server, server_command
    except ImportError as error:
        raise ImportError(
            f"Serving needs more packages: {_PACKAGES}. Received: {error}", name=error.name
        ) from error

    limits = limits or Limits()
    program = shutil.which(PROGRAM)
    if program is not None and not embedded:
        announce(f"{program}, on every interface: gRPC on port {port}, REST on port {rest_port}")
        return run_tensorflow_server(
            lambda files: server_command(
                program,
                path,
                files,
                port=port,
                rest_port=rest_port,
                batching=batching,
                poll_seconds=poll_seconds,
                timeout_seconds=limits.timeout_seconds,
            )
        )
    why = f"{PROGRAM} is not on the PATH" if program is None else "as asked for"
    announce(
        f"{why}: this is tfvae's embedded server, which speaks the same protocol, for development "
        "and tests"
    )
    server = EmbeddedServer(
        path,
        host=host,
        port=port,
        rest_port=rest_port,
        batching=batching,
        poll_seconds=poll_seconds,
        limits=limits,
    )
    run_embedded(server, announce)
    return 0
