"""Runs workers, one process at a time, each in the environment it needs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[1]
REPOSITORY = TOOLS.parent


@dataclass(frozen=True)
class Machine:
    """Where workers run.

    Attributes:
        environment: folder of the competitors' virtual environment.
        threads: that every library may use.
        timeout: seconds that a worker may take.
    """

    environment: Path
    threads: int
    timeout: float

    def python(self, apart: bool) -> str:
        """The interpreter: of the competitors' environment, or this one."""
        return str(self.environment / "bin" / "python") if apart else sys.executable


def thread_variables(threads: int) -> dict[str, str]:
    """What makes the libraries use so many threads, beside the processors they are bound to."""
    number = str(threads)
    return {
        **{f"{name}_NUM_THREADS": number for name in ("OMP", "MKL", "OPENBLAS")},
        "TF_NUM_INTRAOP_THREADS": number,
        "TF_NUM_INTEROP_THREADS": number,
    }


def run_worker(
    machine: Machine, module: str, arguments: list[str], apart: bool
) -> tuple[dict[str, float], str]:
    """Starts `python -m bench_competitors.MODULE`; returns the JSON it printed, or why it failed.

    The process is told the time at which it was started, by a clock that all processes share.
    """
    processors = sorted(os.sched_getaffinity(0))[: machine.threads]
    environment = {
        **os.environ,
        **thread_variables(machine.threads),
        "PYTHONPATH": os.pathsep.join([str(TOOLS), str(REPOSITORY)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        # A compiler that finds its work of last time would show no latency.
        "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",
        "BENCH_STARTED": repr(time.time()),
    }
    command = [machine.python(apart), "-W", "ignore", "-m", f"bench_competitors.{module}"]
    try:
        process = subprocess.Popen(
            [*command, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A group of its own: whom it starts counts as itself, and ends with it.
            process_group=0,
            preexec_fn=lambda: os.sched_setaffinity(0, processors),
        )
    except FileNotFoundError:
        return {}, f"no environment at {machine.environment}: run with --install"
    try:
        output, complaints = process.communicate(timeout=machine.timeout)
    except subprocess.TimeoutExpired:
        return {}, f"took more than {machine.timeout:.0f} s"
    finally:
        _end_group(process)
    if process.returncode:
        last = [line for line in complaints.strip().splitlines() if line.strip()][-1:]
        return {}, (last[0] if last else f"exit status {process.returncode}")[:200]
    return json.loads(output.splitlines()[-1]), ""


def _end_group(process: subprocess.Popen) -> None:
    """Ends a worker and all that it started, also where the bench itself is being ended."""
    # Nobody is left in the group where all went well.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
