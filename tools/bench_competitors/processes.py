"""Runs workers, of which one goes on at a time, each in the environment it needs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


class Worker:
    """`python -m bench_competitors.MODULE`, which answers in lines of JSON.

    Stopped, it takes nothing of the machine but its memory. The process is told the time at which
    it was started, by a clock that all processes share.

    Args:
        machine: where it runs.
        module: of this package.
        arguments: of its command line.
        apart: whether in the competitors' environment.

    Attributes:
        error: why it has no answer, or nothing.
    """

    def __init__(self, machine: Machine, module: str, arguments: list[str], apart: bool) -> None:
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
        self.error = ""
        self._timeout = machine.timeout
        self._open = contextlib.ExitStack()
        folder = self._open.enter_context(tempfile.TemporaryDirectory(prefix="tfvae-bench-"))
        self._complaints = Path(folder) / "stderr"
        self._process: subprocess.Popen[str] | None = None
        try:
            with self._complaints.open("w") as complaints:
                self._process = subprocess.Popen(
                    [*command, *arguments],
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=complaints,
                    text=True,
                    # A group of its own: whom it starts counts as itself, and ends with it.
                    process_group=0,
                    preexec_fn=lambda: os.sched_setaffinity(0, processors),
                )
        except FileNotFoundError:
            self.error = f"no environment at {machine.environment}: run with --install"
            return
        self._open.enter_context(self._process.stdin)
        self._open.enter_context(self._process.stdout)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: Any) -> None:
        self.end()

    def ask(self) -> dict[str, float]:
        """Lets it go on for a turn; the answer."""
        if self._process is None or self.error:
            return {}
        self._signal(signal.SIGCONT)
        with contextlib.suppress(BrokenPipeError):  # it ended: the answer says so
            os.write(self._process.stdin.fileno(), b"turn\n")
        return self.answer()

    def answer(self) -> dict[str, float]:
        """Waits for a line of it, and stops it; nothing, and an `error`, if there is none."""
        if self._process is None or self.error:
            return {}
        alarm = threading.Timer(self._timeout, self._end_late)
        alarm.start()
        line = self._process.stdout.readline()
        alarm.cancel()
        if line:
            self._signal(signal.SIGSTOP)
            return json.loads(line)
        self._process.wait()
        self.error = self.error or self._last_complaint()
        return {}

    def end(self) -> None:
        """Ends it and all that it started, also where the bench itself is being ended."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
        self._open.close()

    def _end_late(self) -> None:
        self.error = f"took more than {self._timeout:.0f} s"
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        # Nobody may be left in the group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _last_complaint(self) -> str:
        complaints = self._complaints.read_text(errors="replace")
        lines = [line for line in complaints.splitlines() if line.strip()]
        return (lines[-1] if lines else f"exit status {self._process.returncode}")[:200]


def run_worker(
    machine: Machine, module: str, arguments: list[str], apart: bool
) -> tuple[dict[str, float], str]:
    """Runs a worker for its one answer; that, or why there is none."""
    with Worker(machine, module, arguments, apart) as worker:
        return worker.answer(), worker.error
