"""Trains rows of published tables, or every method under one budget, and prints the tables.

    python tools/reproduce.py --mnist MNIST.npz --rows vae,iwae50
    python tools/reproduce.py --mnist MNIST.npz --methods all --minutes 5
    python tools/reproduce.py --report

MNIST with a new binarisation of the 60,000 training images in every epoch; the 10,000 test images
are drawn once, with a fixed seed. The networks are the paper's, 784-200-200-50 with tanh. All
figures are in nats an image.

Rows have their published figures beside them, of 3,280 epochs in batches of 20 at a rate that falls
in eight stages from 1e-3 to 1e-4. That does not fit into an hour of a CPU: here the epochs are
fewer, the batches of 100 images, and Adam's rate falls from `--learning-rate` to a hundredth of it
by half a cosine. It starts at 3e-3, for a short budget wants a higher rate than the paper's 1e-3:
after 12 epochs the VAE had 100.7 nats at 1e-3, 96.9 at 2e-3 and 95.1 at 4e-3 (50 samples, the first
1,000 test images). In batches of 20 it had 95.9 at 1e-3 and 94.9 at 2e-3; at 4e-3 it stayed above
105 until the rate had fallen. A rate that fell from 4e-3 geometrically, as the paper's stages do,
had 91.2 after 61 of 64 epochs, the cosine 90.7; and the paper's epsilon of Adam, 1e-4, made no
difference in the first four epochs of IWAE with K = 50 (99.1 and 99.2). The table says where a
budgeted figure lies from the published one; `curves.png` beside the rows shows the way there.

`--start ROW` begins with the weights that another row of the folder ended with: a step with K = 50
draws costs five times one with K = 5, and most of the way is the same. The costs of both count.

Methods each get the same processor minutes of training on the same network, compilation included:
the epoch in which they are spent is the last, and the rate falls by the part of them that is spent.
Their differences from the plain VAE are paired, image by image. A regularised autoencoder
has no likelihood of the data, and stands there with its distortion alone.

Each row or method is a process of its own. It can be killed at any moment: the same command goes on
where it was, and leaves out what is done.

Reference:
    Burda, Grosse and Salakhutdinov (2016), Importance Weighted Autoencoders, arXiv:1509.00519.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reproductions import methods_report, rows_report
from reproductions.methods import METHODS
from reproductions.results import RESULT, write_result
from reproductions.rows import ROWS

BEGUN = time.perf_counter()
KINDS: dict[str, dict[str, Any]] = {"rows": ROWS, "methods": METHODS}
REPORTS = {"rows": rows_report.report, "methods": methods_report.report}
# Minutes of training where nothing else is asked for, importance samples, and images to score.
BUDGETS = {"rows": (None, 5000, None), "methods": (5.0, 1000, 2000)}


def main(arguments: list[str] | None = None) -> int:
    """Does what the command line says; returns the exit status."""
    options = _parse(arguments)
    failed = 0
    for kind in KINDS:
        names = getattr(options, kind)
        wanted = [name for name in names if not (options.out / kind / name / RESULT).exists()]
        if len(names) == 1 and wanted:
            run(kind, wanted[0], options)
        else:
            failed += sum(run_apart(kind, name, options) for name in wanted)
        if names or options.report:
            print(f"\n{REPORTS[kind](options.out / kind)}", flush=True)
    return 1 if failed else 0


def run(kind: str, name: str, options: argparse.Namespace) -> None:
    """Trains and scores one row or method in this process."""
    import keras
    from reproductions.scores import measure
    from reproductions.setting import read_mnist
    from reproductions.training import Clock, Training, begin_with

    # From the start of the process, with the imports.
    clock = Clock(BEGUN, 0.0)
    setting = read_mnist(options.mnist, options.batch_size)
    entry = KINDS[kind][name]
    plan = {"learning_rate": options.learning_rate, "seed": options.seed}
    plan["batch_size"] = options.batch_size
    unit, amount = length(kind, name, options)
    plan[unit] = amount
    _, samples, images = BUDGETS[kind]
    samples, images = options.samples or samples, setting.test[: options.images or images]
    keras.utils.set_random_seed(options.seed)
    model = entry.make(setting)
    folder = options.out / kind / name
    before: dict[str, Any] = {}
    spent: dict[str, float] = {}
    if options.start:
        plan["start"] = options.start
        epochs, spent = begin_with(
            model, KINDS[kind][options.start].make(setting), setting, folder.parent / options.start
        )
        before = {"start_epochs": epochs}
    training = Training(name, model, setting, folder, plan, clock, curve=kind == "rows")
    epochs = training.run()
    print(f"{name}: {samples:,} samples of {len(images):,} images", file=sys.stderr, flush=True)
    figures, nll = measure(model, images, samples)
    result = {
        **figures,
        **plan,
        **before,
        "epochs": epochs,
        **{cost: value + spent.get(cost, 0.0) for cost, value in training.costs().items()},
        "parameters": model.count_params(),
        "command": command(kind, name, options),
    }
    write_result(folder, result, nll)


def length(kind: str, name: str, options: argparse.Namespace) -> tuple[str, float]:
    """How long to train: `"epochs"` or `"minutes"`, and how many."""
    if options.epochs:
        return "epochs", options.epochs
    minutes = options.minutes or BUDGETS[kind][0]
    return ("minutes", minutes) if minutes else ("epochs", KINDS[kind][name].epochs)


def command(kind: str, name: str, options: argparse.Namespace) -> str:
    """What runs this row or method again; paths are relative to where it was run."""
    words = ["python", "tools/reproduce.py", "--mnist", _relative(options.mnist), f"--{kind}", name]
    unit, amount = length(kind, name, options)
    words += [f"--{unit}", f"{amount:g}"]
    # The rate is always said: its default was another one once.
    words += ["--learning-rate", f"{options.learning_rate:g}", "--out", _relative(options.out)]
    if options.start:
        words += ["--start", options.start]
    parser = _parser()
    for option in ("batch_size", "seed", "samples", "images"):
        value = getattr(options, option)
        if value != parser.get_default(option):
            words += ["--" + option.replace("_", "-"), f"{value:g}"]
    return shlex.join(words)


def _relative(path: Path) -> str:
    return os.path.relpath(path) if path.is_absolute() else str(path)


def run_apart(kind: str, name: str, options: argparse.Namespace) -> bool:
    """Trains and scores one row or method in a process of its own; whether it failed."""
    own = shlex.split(command(kind, name, options))[1:]
    own[0] = str(Path(__file__))
    process = subprocess.Popen([sys.executable, *own], stdout=subprocess.DEVNULL)
    try:
        status = process.wait()
    finally:
        # Ended itself, it ends what it started.
        process.terminate()
        process.wait()
    if status:
        print(f"{name} failed with exit status {status}", file=sys.stderr, flush=True)
    return status != 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(arguments)
    asked = any(getattr(options, kind) for kind in KINDS)
    if not asked and not options.report:
        parser.error("say what to train, --rows or --methods, or --report what was trained")
    if asked and options.mnist is None:
        parser.error("--mnist is needed to train")
    if options.start and (
        options.methods or len(options.rows) != 1 or options.start in options.rows
    ):
        parser.error("--start is for one row, and names another")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mnist", type=Path, help="MNIST as Keras' mnist.npz")
    for kind, entries in KINDS.items():
        parser.add_argument(
            f"--{kind}", type=_list_of(entries), default=[], help=f"all, or {','.join(entries)}"
        )
    parser.add_argument(
        "--start",
        choices=list(ROWS),
        help="a finished row, with whose weights to begin; its costs count",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/reproduce"), help="folder of runs")
    parser.add_argument("--report", action="store_true", help="print the tables of what is there")
    defaults = ", ".join(f"{row.epochs} for {name}" for name, row in ROWS.items())
    parser.add_argument("--epochs", type=int, help=f"of training: by default {defaults}")
    parser.add_argument(
        "--minutes",
        type=float,
        help="of all processors together, in place of --epochs: the epoch in which they are spent "
        "is the last; 5 for a method",
    )
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and binarisation")
    parser.add_argument("--samples", type=int, help="importance samples: 5000, or 1000 for methods")
    parser.add_argument("--images", type=int, help="test images to score: all, or 2000 for methods")
    return parser


def _list_of(entries: Iterable[str]) -> Any:
    def parse(text: str) -> list[str]:
        names = list(entries) if text == "all" else text.split(",")
        unknown = [name for name in names if name not in entries]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"unknown: {','.join(unknown)}; known: all,{','.join(entries)}"
            )
        return names

    return parse


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
