"""Measures one competitor in a process of its own; what it prints are lines of JSON.

python -m bench_competitors.worker NAME CASE --inputs FILE --batch 128 --measures train,encode

The first line says what the start took. Then every line that it reads is a turn: it measures, and
answers with a line. Between two turns it may be stopped.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench_competitors.cases import CASES, Inputs, load_inputs
from bench_competitors.quiet import Neighbours
from bench_competitors.registry import COMPETITORS

_MOST_SAMPLES = 4096


def peak_memory() -> float:
    """The largest resident memory of this process until now, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Task:
    """Something whose speed is measured.

    Args:
        work: does it some times.
        images: of once.
        seconds: what a turn should last; it does the work at least once.
    """

    def __init__(self, work: Callable[[int], Any], images: int, seconds: float) -> None:
        self._work = work
        self._images = images
        self._seconds = seconds
        # Of the first call, and of one after it: what is compiled is compiled.
        self.first = self._time(1)
        self.once = self._time(1)

    def rate(self) -> float:
        """Images a second."""
        times = max(1, int(self._seconds / self.once))
        return self._images * times / self._time(times)

    def _time(self, times: int) -> float:
        begun = time.perf_counter()
        self._work(times)
        return time.perf_counter() - begun


def repeat(function: Callable[..., Any], *arguments: Any) -> Callable[[int], None]:
    """A function that calls `function` some times."""

    def run(times: int) -> None:
        for _ in range(times):
            function(*arguments)

    return run


class Meter:
    """A competitor that is ready, and what its start took.

    Attributes:
        start: seconds and megabytes, by name.
    """

    def __init__(self, options: argparse.Namespace, inputs: Inputs) -> None:
        entry = COMPETITORS[options.name]
        begun = time.perf_counter()
        module = importlib.import_module(f"bench_competitors.{entry.module}")
        self.start = {"import_s": time.perf_counter() - begun, "memory_start_mb": peak_memory()}
        begun = time.perf_counter()
        competitor = module.COMPETITOR(inputs, options.batch, entry.variant)
        built = time.perf_counter() - begun
        self._competitor = competitor
        self._tasks: dict[str, Task] = {}
        self._estimate = float("nan")
        number = len(inputs.images)
        samples = min(_MOST_SAMPLES, number)
        works = {
            "train": (competitor.train, number),
            "encode": (repeat(competitor.encode), number),
            "sample": (repeat(competitor.sample, samples), samples),
            "evaluate": (self._evaluate(options.images, options.draws), options.images),
        }
        for name in options.measures.split(","):
            task = self._tasks[name] = Task(*works[name], options.seconds)
            if name == "train":
                self.start["ready_s"] = max(0.0, built + task.first - task.once)
                self.start["memory_train_mb"] = peak_memory()
            elif name == "evaluate":
                self.start["evaluate_ready_s"] = max(0.0, task.first - task.once)

    def turn(self) -> dict[str, float]:
        """Measures everything once; rates are in images a second."""
        neighbours = Neighbours()
        result = {name: task.rate() for name, task in self._tasks.items()}
        if "evaluate" in result:
            result["nll"] = self._estimate
        return {**result, "memory_mb": peak_memory(), "disturbed": neighbours.share()}

    def _evaluate(self, images: int, draws: int) -> Callable[[int], None]:
        def run(times: int) -> None:
            for _ in range(times):
                estimate = self._competitor.log_likelihood(images, draws)
            self._estimate = -float(estimate.mean())

        return run


def check(options: argparse.Namespace, inputs: Inputs) -> dict[str, float]:
    """The losses of a competitor."""
    entry = COMPETITORS[options.name]
    module = importlib.import_module(f"bench_competitors.{entry.module}")
    return module.COMPETITOR(inputs, options.batch, entry.variant).check()._asdict()


def main() -> None:
    """Reads the command line, measures, prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=COMPETITORS)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--inputs", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--measures", default="train")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--draws", type=int, default=5000)
    options = parser.parse_args()
    # Libraries write to stdout as they like.
    stdout = os.dup(1)
    os.dup2(2, 1)
    inputs = load_inputs(options.inputs, CASES[options.case])

    def answer(values: dict[str, float]) -> None:
        sys.stdout.flush()
        os.write(stdout, json.dumps(values).encode() + b"\n")

    if options.measures == "check":
        answer(check(options, inputs))
        return
    meter = Meter(options, inputs)
    answer(meter.start)
    for _ in sys.stdin:
        answer(meter.turn())


if __name__ == "__main__":
    main()
