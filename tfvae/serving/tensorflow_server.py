"""TensorFlow Serving itself, started with the files that an export lies beside."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from google.protobuf import text_format

from tfvae.serving.config import BATCHING_FILE, MODELS_FILE, read_model_config
from tfvae.serving.monitoring import METRICS_PATH
from tfvae.serving.signals import on_stop_signal

PROGRAM = "tensorflow_model_server"
_MONITORING = f'prometheus_config {{ enable: true, path: "{METRICS_PATH}" }}\n'


def server_command(
    program: str,
    path: str | os.PathLike[str],
    files: Path,
    *,
    port: int,
    rest_port: int,
    batching: bool,
    poll_seconds: float,
    timeout_seconds: float,
) -> list[str]:
    """The command that serves a model, and the files it needs.

    Args:
        program: the server's program.
        path: the model's folder, which holds its versions.
        files: an empty folder for the files.
        port: for gRPC.
        rest_port: for REST.
        batching: whether concurrent requests are computed together.
        poll_seconds: how often to look for new versions.
        timeout_seconds: in which a REST request must be answered.

    Returns:
        The program and its arguments.
    """
    folder = Path(path).resolve()
    models, monitoring = files / MODELS_FILE, files / "monitoring.config"
    models.write_text(text_format.MessageToString(read_model_config(folder)), encoding="utf-8")
    monitoring.write_text(_MONITORING, encoding="utf-8")
    command = [
        program,
        f"--port={port}",
        f"--rest_api_port={rest_port}",
        f"--model_config_file={models}",
        f"--monitoring_config_file={monitoring}",
        f"--file_system_poll_wait_seconds={max(1, round(poll_seconds))}",
        f"--rest_api_timeout_in_ms={round(1000 * timeout_seconds)}",
    ]
    if batching:
        command.append("--enable_batching")
        if (folder / BATCHING_FILE).is_file():
            command.append(f"--batching_parameters_file={folder / BATCHING_FILE}")
    return command


def run_tensorflow_server(make_command: Callable[[Path], list[str]]) -> int:
    """Runs the server until it ends; SIGTERM and SIGINT are passed on to it.

    Args:
        make_command: makes the command, given a folder for files that is removed afterwards.

    Returns:
        Its exit status.
    """
    with tempfile.TemporaryDirectory(prefix="tfvae-serving-") as folder:
        process = subprocess.Popen(make_command(Path(folder)))
        with on_stop_signal(process.send_signal):
            return process.wait()
