"""How much of the machine others use while something is measured.

On two shared cores a neighbour does not slow all alike: threads that wait for each other in a loop,
as OpenMP's do, come to a halt where others lose a share. A disturbed measurement is told from a
slow one by the processor time that neither it nor the idle task had.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_PROCESSES = Path("/proc")
_STAT = _PROCESSES / "stat"
_USER, _NICE, _SYSTEM, _IDLE, _IOWAIT, _IRQ, _SOFTIRQ, _STEAL = range(8)


class Neighbours:
    """Since it was made: the share of the processors that went to others."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self._busy = _busy()
        self._own = _own()

    def share(self) -> float:
        """Between 0 and 1; 0 where the system does not tell."""
        elapsed = time.perf_counter() - self._begun
        others = _busy() - self._busy - (_own() - self._own)
        return min(1.0, max(0.0, others / (elapsed * (os.cpu_count() or 1))))


def _busy() -> float:
    """Seconds that the processors of the machine have worked, or were not to be had."""
    if not _STAT.exists():
        return 0.0
    fields = [int(field) for field in _STAT.read_text().split("\n", 1)[0].split()[1:]]
    worked = (_USER, _NICE, _SYSTEM, _IRQ, _SOFTIRQ, _STEAL)
    return sum(fields[index] for index in worked) / os.sysconf("SC_CLK_TCK")


def _own() -> float:
    """Seconds that the processes of this group have worked: compilers are children."""
    group, ticks = os.getpgrp(), 0
    for stat in _PROCESSES.glob("[0-9]*/stat"):
        try:
            # Behind the name, which may hold anything: state, parent, group, ...
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[2]) == group:
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def wait_for_quiet(patience: float, share: float) -> None:
    """Waits until others use less than `share` of the machine, or for `patience` seconds."""
    end = time.perf_counter() + patience
    while time.perf_counter() < end:
        neighbours = Neighbours()
        time.sleep(0.5)
        if neighbours.share() < share:
            return
