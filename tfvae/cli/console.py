"""What the command line prints: results to stdout, everything else to stderr."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


@contextmanager
def quiet_start() -> Iterator[None]:
    """Keeps what TensorFlow's C++ code prints while it is imported off stderr.

    It writes to the file descriptor before any setting of its own can stop it. If the import
    fails, all that it wrote is shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as noise:
        os.dup2(noise.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            noise.seek(0)
            os.write(2, noise.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def load_tensorflow() -> None:
    """Imports what every command that computes needs, without its start-up noise."""
    with quiet_start():
        import keras
        import tensorflow as tf

        import tfvae.models  # noqa: F401

        # Looks for accelerators now: a machine without one is no news.
        tf.config.list_logical_devices()
        tf.get_logger().setLevel("ERROR")
        keras.config.disable_traceback_filtering()


def in_nats(logs: Mapping[str, Any]) -> str:
    """`loss 98.21  nll 72.10  kl 26.11`, validation twins behind."""
    order = ("loss", "nll", "kl")

    def place(name: str) -> tuple[bool, int]:
        base = name.removeprefix("val_")
        return name != base, order.index(base) if base in order else len(order)

    return "  ".join(f"{name} {float(logs[name]):.2f}" for name in sorted(logs, key=place))


def seconds_text(seconds: float) -> str:
    """`4.2 s`, or `3 min 20 s` from two minutes on."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self._start
