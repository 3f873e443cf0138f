"""Compares tfvae with other ways to train a VAE, on this machine.

    python tools/bench.py --install     # once: the competitors' own environment
    python tools/bench.py               # quick: a few minutes
    python tools/bench.py --full        # every case and batch size, three rounds
    python tools/bench.py --time-to 95 --mnist FILE
    python tools/bench.py --memory
    python tools/bench.py --imports

Every competitor trains the same network from the same weights on the same images with Adam, and
computes the same loss: that is checked first, with the same noise, over ten steps. Then each is
measured in a process of its own, on as many processors as `--threads` says. In each of `--rounds`
the processes are new. tfvae's and a competitor's (those of all libraries' bare products together)
take `--turns`, one measured while the other is stopped: what slows the machine for a while slows
both. The table has medians over the turns, and in brackets tfvae's value divided by the
competitor's: its median over the turns; smallest and largest. For images a second above 1 means
that tfvae is faster; for seconds and megabytes below 1 means that it needs less.

`ready` is what a first training costs beyond its epoch: building, tracing, compiling. A star marks
a competitor that was disturbed: others used more than a tenth of the machine, even at the second
try. Nothing here passes or fails by a time; the exit status is 1 if losses disagree.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from bench_competitors import report
from bench_competitors.cases import CASES, CHECK_BATCH
from bench_competitors.processes import TOOLS, Machine, Worker, run_worker
from bench_competitors.quiet import wait_for_quiet
from bench_competitors.registry import COMPETITORS, measures_of, takes_part

DISTURBED = 0.1
_BATCHES = (32, 128, 1024)
_QUICK_CASES = ("dense", "conv28")


def main() -> int:
    """Does what the command line says; returns the exit status."""
    options = _parse()
    # Ended by a signal, it ends its workers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    machine = Machine(options.env, options.threads, options.timeout)
    if options.install:
        return install(options.env, options.any_torch)
    with tempfile.TemporaryDirectory(prefix="tfvae-bench-") as folder:
        if options.memory:
            from bench_competitors.memory import compare_memory

            return compare_memory(machine)
        if options.imports:
            from bench_competitors.imports import compare_imports

            return compare_imports(machine, options.rounds, options.patience)
        if options.time_to is not None:
            from bench_competitors.time_to import compare_times

            return compare_times(machine, options)
        return compare(machine, options, Path(folder))


def install(environment: Path, any_torch: bool) -> int:
    """Makes the competitors' environment; PyTorch first, so that its build can be looked at."""
    if not (environment / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    file = TOOLS / "bench-requirements.txt"
    wanted = next(line for line in file.read_text().splitlines() if line.startswith("torch=="))
    subprocess.run([*pip, "--no-deps", wanted], check=True)
    version = subprocess.run(
        [pip[0], "-c", "from importlib.metadata import version; print(version('torch'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    if not version.endswith("+cpu") and not any_torch:
        print(
            f"pip found torch {version}, a build for CUDA whose dependencies are several gigabytes."
            " Give pip an index or folder with a CPU build, or say --any-torch.",
            file=sys.stderr,
        )
        return 1
    subprocess.run([*pip, "-r", str(file)], check=True)
    print(f"installed into {environment}")
    return 0


def compare(machine: Machine, options: argparse.Namespace, folder: Path) -> int:
    """Checks the losses, measures, prints the tables."""
    from bench_competitors.data import make_inputs

    images = make_inputs(folder, options.cases, options.mnist, 3 if options.full else 1)
    print(f"Images: {images}.\n")
    for name in options.competitors:
        print(f"- {name}: {COMPETITORS[name].does}")
    checks = [
        _check(machine, options, folder, name, case)
        for case in options.cases
        for name in options.competitors
        if takes_part(name, case) and not name.startswith(report.LIMIT)
    ]
    for case in options.cases:
        print(f"\n## {case}: loss in nats an image\n")
        print(report.check_table([run for run in checks if run.case == case]), flush=True)
    runs: list[report.Run] = []
    for case in options.cases:
        for batch in options.batches:
            cell = measure(machine, options, folder, case, batch)
            if not cell:
                continue
            runs += cell
            turns = f"{options.rounds} rounds of {options.turns} turns"
            print(f"\n## {case}, batch {batch}, {turns}\n")
            print(report.table(report.with_limit(cell), DISTURBED), flush=True)
    apart = report.disagreements([*checks, *runs])
    print("\n" + ("\n".join(apart) if apart else "All losses agree."))
    if options.json:
        options.json.write_text(json.dumps(report.as_json([*checks, *runs]), indent=1))
    return 1 if apart else 0


def measure(
    machine: Machine, options: argparse.Namespace, folder: Path, case: str, batch: int
) -> list[report.Run]:
    """All turns of one case and batch; what failed is not tried again."""
    wanted: dict[str, list[str]] = {}
    for name in options.competitors:
        measures = [m for m in measures_of(name, case) if m in options.measures]
        if batch != options.batches[0] and "evaluate" in measures:
            measures.remove("evaluate")  # its batches are its own
        if takes_part(name, case) and measures:
            wanted[name] = measures
    runs: list[report.Run] = []
    number = 0

    def note(name: str, values: dict[str, float], error: str, disturbed: float = 0.0) -> None:
        runs.append(report.Run(name, case, batch, number, values, error, disturbed))
        if error:
            wanted.pop(name, None)

    def started(names: Collection[str], stack: contextlib.ExitStack) -> list[Contestant]:
        ready = []
        for name in names:
            arguments = _arguments(options, folder, name, case, batch, wanted[name])
            wait_for_quiet(options.patience, DISTURBED)
            apart = COMPETITORS[name].apart
            worker = stack.enter_context(Worker(machine, "worker", arguments, apart))
            start = worker.answer()
            if worker.error:
                note(name, {}, worker.error)
            else:
                ready.append(Contestant(name, worker, start))
        return ready

    for attempt in range(options.rounds):
        with contextlib.ExitStack() as stack:
            shared = started(wanted.keys() & {report.REFERENCE}, stack)
            for group in groups_of(wanted):
                if sys.stderr.isatty():
                    print(f"\r{case} {batch} round {attempt + 1} {group}", end="", file=sys.stderr)
                with contextlib.ExitStack() as others:
                    rivals = started(group, others)
                    for turn in range(options.turns):
                        for taken in take_turn([*shared, *rivals], options.patience, turn):
                            note(*taken)
                        number += 1
    return runs


class Contestant(NamedTuple):
    """A process that waits for its turn, and what its start took."""

    name: str
    worker: Worker
    start: dict[str, float]


def groups_of(names: Collection[str]) -> list[tuple[str, ...]]:
    """Who takes turns with the reference at the same time: all limits, of which the best counts.

    Example:
        >>> groups_of(["tfvae", "limit-tf", "jax", "limit-jax"])
        [('limit-tf', 'limit-jax'), ('jax',)]
        >>> groups_of(["tfvae"])
        [()]
    """
    rivals = [name for name in names if name != report.REFERENCE]
    limits = tuple(name for name in rivals if name.startswith(report.LIMIT))
    groups = [limits if name in limits else (name,) for name in rivals]
    return list(dict.fromkeys(groups)) or [()]


def take_turn(
    contestants: list[Contestant], patience: float, turn: int
) -> list[tuple[str, dict[str, float], str, float]]:
    """Name, measurements, error and disturbance of each, one after the other.

    All of them once more if others disturbed one. Every second turn has the opposite order. What
    the start took goes with the first.
    """
    tries = []
    for _ in range(2):
        wait_for_quiet(patience, DISTURBED)
        taken = []
        for name, worker, start in contestants[:: -1 if turn % 2 else 1]:
            values = worker.ask()
            disturbed = values.pop("disturbed", 0.0)
            if values and turn == 0:
                values = {**start, **values}
            taken.append((name, values, worker.error, disturbed))
        tries.append(taken)
        if all(error or disturbed <= DISTURBED for *_, error, disturbed in taken):
            break

    def badness(taken: list[tuple[str, dict[str, float], str, float]]) -> tuple[bool, float]:
        # A failure is no measurement: it is taken only where there is nothing else.
        return any(error for *_, error, _ in taken), max((share for *_, share in taken), default=0)

    return min(tries, key=badness)


def _arguments(
    options: argparse.Namespace, folder: Path, name: str, case: str, batch: int, measures: list[str]
) -> list[str]:
    arguments = [name, case, "--inputs", str(folder / f"{case}.npz"), "--batch", str(batch)]
    arguments += ["--measures", ",".join(measures), "--seconds", str(options.seconds)]
    return [*arguments, "--images", str(options.images), "--draws", str(options.draws)]


def _check(
    machine: Machine, options: argparse.Namespace, folder: Path, name: str, case: str
) -> report.Run:
    arguments = _arguments(options, folder, name, case, CHECK_BATCH, ["check"])
    values, error = run_worker(machine, "worker", arguments, COMPETITORS[name].apart)
    return report.Run(name, case, CHECK_BATCH, 0, values, error)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = _list_of(COMPETITORS)
    parser.add_argument("--install", action="store_true", help="make the environment, and end")
    parser.add_argument("--any-torch", action="store_true", help="also a build for CUDA")
    parser.add_argument("--full", action="store_true", help="every case, batch and round")
    parser.add_argument("--cases", type=_list_of(CASES), help=",".join(CASES))
    parser.add_argument("--competitors", type=names, help=",".join(COMPETITORS))
    parser.add_argument("--batches", type=lambda text: [int(b) for b in text.split(",")])
    parser.add_argument("--measures", default="train,encode,sample,evaluate")
    parser.add_argument("--rounds", type=int, help="for each, all processes are new")
    parser.add_argument("--turns", type=int, help="of each process")
    parser.add_argument("--seconds", type=float, help="of each measurement")
    parser.add_argument("--images", type=int, help="whose likelihood is estimated")
    parser.add_argument("--draws", type=int, default=5000, help="for it: a multiple of 1,000")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--patience", type=float, default=60.0, help="to wait for a quiet machine")
    parser.add_argument("--timeout", type=float, default=900.0, help="of a process, in seconds")
    parser.add_argument("--mnist", type=Path, help="MNIST as Keras' mnist.npz")
    parser.add_argument("--time-to", type=float, metavar="NATS", help="wall clock to a test NLL")
    parser.add_argument("--memory", action="store_true", help="peaks of tfvae alone")
    parser.add_argument("--imports", action="store_true", help="seconds that an import takes")
    parser.add_argument("--json", type=Path, help="every measurement, for later")
    parser.add_argument(
        "--env",
        type=Path,
        default=Path(tempfile.gettempdir()) / "tfvae-bench-env",
        help="the competitors' environment",
    )
    options = parser.parse_args()
    full = options.full
    options.cases = options.cases or list(CASES if full else _QUICK_CASES)
    options.competitors = options.competitors or list(COMPETITORS)
    options.batches = options.batches or (list(_BATCHES) if full else [128])
    options.rounds = options.rounds or (3 if full else 1)
    options.turns = options.turns or 5
    options.seconds = options.seconds or 1.0
    options.images = options.images or (1000 if full else 100)
    options.measures = options.measures.split(",")
    if options.time_to is not None and options.mnist is None:
        parser.error("--time-to needs --mnist")
    return options


def _list_of(known: Collection[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        unknown = [name for name in chosen if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
        return chosen

    return parse


if __name__ == "__main__":
    sys.exit(main())
