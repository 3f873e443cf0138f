"""The signals that ask a server to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def on_stop_signal(stop: Callable[[int], object]) -> Iterator[None]:
    """A block in which SIGTERM and SIGINT (Ctrl-C) call a function; as before afterwards.

    Args:
        stop: called with the number of the signal.
    """
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda got, _: stop(got)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
