"""Measures one competitor in a process of its own; the last line that it prints is JSON.

python -m bench_competitors.worker NAME CASE --inputs FILE --batch 128 --measures train,encode
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


def timed(function: Callable[[int], Any], seconds: float) -> tuple[float, float]:
    """Seconds of one call after a first, and of that first call.

    Args:
        function: takes how often to do its work.
        seconds: what the measurement should last, at least one call.
    """
    begun = time.perf_counter()
    function(1)
    first = time.perf_counter() - begun
    begun = time.perf_counter()
    function(1)
    once = time.perf_counter() - begun
    times = int(seconds / once)
    if times < 2:
        return once, first
    begun = time.perf_counter()
    function(times)
    return (time.perf_counter() - begun) / times, first


def repeat(function: Callable[..., Any], *arguments: Any) -> Callable[[int], None]:
    """A function that calls `function` some times."""

    def run(times: int) -> None:
        for _ in range(times):
            function(*arguments)

    return run


def measure(options: argparse.Namespace, inputs: Inputs) -> dict[str, float]:
    """Does what is asked; rates are in images a second."""
    entry = COMPETITORS[options.name]
    begun = time.perf_counter()
    module = importlib.import_module(f"bench_competitors.{entry.module}")
    result = {"import_s": time.perf_counter() - begun, "memory_start_mb": peak_memory()}
    begun = time.perf_counter()
    competitor = module.COMPETITOR(inputs, options.batch, entry.variant)
    built = time.perf_counter() - begun
    number = len(inputs.images)
    neighbours = Neighbours()
    for name in options.measures.split(","):
        if name == "check":
            result |= competitor.check()._asdict()
        elif name == "train":
            seconds, first = timed(competitor.train, options.seconds)
            result["train"] = number / seconds
            result["ready_s"] = max(0.0, built + first - seconds)
            result["memory_train_mb"] = peak_memory()
        elif name == "encode":
            seconds, _ = timed(repeat(competitor.encode), options.seconds)
            result[name] = number / seconds
        elif name == "sample":
            number_of_samples = min(_MOST_SAMPLES, number)
            seconds, _ = timed(repeat(competitor.sample, number_of_samples), options.seconds)
            result[name] = number_of_samples / seconds
        elif name == "evaluate":
            result |= evaluate(competitor, options.images, options.draws)
    return {**result, "memory_mb": peak_memory(), "disturbed": neighbours.share()}


def evaluate(competitor: Any, number: int, draws: int) -> dict[str, float]:
    """The estimate of the likelihood, after one of as much work: what is compiled depends on it."""
    begun = time.perf_counter()
    competitor.log_likelihood(number, draws)
    first = time.perf_counter() - begun
    begun = time.perf_counter()
    estimate = competitor.log_likelihood(number, draws)
    seconds = time.perf_counter() - begun
    return {
        "evaluate": number / seconds,
        "evaluate_ready_s": max(0.0, first - seconds),
        "nll": -float(estimate.mean()),
    }


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
    result = measure(options, load_inputs(options.inputs, CASES[options.case]))
    sys.stdout.flush()
    os.write(stdout, json.dumps(result).encode() + b"\n")


if __name__ == "__main__":
    main()
