"""Wall clock from the start of the process to a test score, training as each one's user would.

MNIST, a new binarisation for every epoch, 784-200-200-50 with tanh, Adam at 1e-3, batches of 100.
After every epoch the importance-weighted negative log-likelihood (100 draws) of the first 1,000
test images is measured, binarised once and alike for both; the time that takes is not counted.
Starting Python, importing, building and compiling are.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench_competitors.processes import Machine, run_worker
from bench_competitors.quiet import wait_for_quiet
from bench_competitors.report import aligned

BATCH = 100
HIDDEN = (200, 200)
LATENT = 50
TEST_IMAGES = 1000
DRAWS = 100
MOST_EPOCHS = 200
COMPETITORS = {"tfvae": False, "pythae": True}
"""Who is timed, and whether it runs in the competitors' environment."""


class Clock:
    """Seconds since the parent started this process, less the evaluations.

    Args:
        target: the score to reach, in nats.
    """

    def __init__(self, target: float) -> None:
        self.target = target
        self.started = float(os.environ["BENCH_STARTED"])
        self.evaluating = 0.0
        self.first_epoch = 0.0
        self.reached = 0.0
        self.scores: list[float] = []

    def now(self) -> float:
        return time.time() - self.started - self.evaluating

    def epoch_ended(self, score: Callable[[], float]) -> bool:
        """Measures; whether the training is over."""
        reached = self.now()
        begun = time.time()
        self.scores.append(score())
        self.evaluating += time.time() - begun
        if len(self.scores) == 1:
            self.first_epoch = reached
        self.reached = reached
        return self.scores[-1] <= self.target or len(self.scores) == MOST_EPOCHS

    def result(self) -> dict[str, float]:
        """As the table wants it; the time is infinite if the score was not reached."""
        score = self.scores[-1]
        return {
            "seconds": self.reached if score <= self.target else float("inf"),
            "epochs": len(self.scores),
            "nll": score,
            "first_epoch_s": self.first_epoch,
            "evaluating_s": self.evaluating,
        }


def read_mnist(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Training images uint8 `[N, 28, 28, 1]`, and test images binarised once, float32."""
    with np.load(path, allow_pickle=False) as archive:
        train, test = archive["x_train"][..., None], archive["x_test"][:TEST_IMAGES, ..., None]
    drawn = np.random.default_rng(0).random(test.shape) < test / 255
    return train, drawn.astype(np.float32)


def log_weights(
    x: np.ndarray, logits: np.ndarray, z: np.ndarray, mean: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """log p(x|z) + log p(z) - log q(z|x), of one draw for each image."""
    x, logits = x.reshape(len(x), -1), logits.reshape(len(x), -1)
    log_likelihood = (x * logits - np.logaddexp(0, logits)).sum(-1)
    log_prior = -0.5 * (z**2).sum(-1)
    log_posterior = (-0.5 * ((z - mean) / scale) ** 2 - np.log(scale)).sum(-1)
    return log_likelihood + log_prior - log_posterior


def score(
    x: np.ndarray,
    mean: np.ndarray,
    scale: np.ndarray,
    decode: Callable[[np.ndarray], np.ndarray],
) -> float:
    """The estimate for both, in NumPy; `decode` is the library's, from codes to logits."""
    rng = np.random.default_rng(1)
    weights = []
    for _ in range(DRAWS):
        z = mean + scale * rng.standard_normal(mean.shape, np.float32)
        weights.append(log_weights(x, decode(z), z, mean, scale))
    total = np.logaddexp.reduce(np.stack(weights), axis=0)
    return float(np.log(DRAWS) - total.mean())


def compare_times(machine: Machine, options: argparse.Namespace) -> int:
    """Times both in turn and prints the table."""
    results: dict[str, list[dict[str, float]]] = {name: [] for name in COMPETITORS}
    arguments = ["--mnist", str(options.mnist.resolve()), "--target", str(options.time_to)]
    for _ in range(options.rounds):
        for name, apart in COMPETITORS.items():
            wait_for_quiet(options.patience, 0.1)
            values, error = run_worker(machine, f"time_to_{name}", arguments, apart)
            if error:
                print(f"{name} failed: {error}", file=sys.stderr)
                return 1
            results[name].append(values)
    columns = list(results["tfvae"][0])
    rows = [["median", *columns]]
    for name, runs in results.items():
        rows.append([name, *(f"{statistics.median(r[c] for r in runs):.4g}" for c in columns)])
    print(f"\n## Wall clock to {options.time_to:g} nats, {options.rounds} rounds\n")
    print(aligned(rows))
    pairs = zip(results["tfvae"], results["pythae"], strict=True)
    ratios = [own["seconds"] / other["seconds"] for own, other in pairs]
    print(
        f"\ntfvae takes {statistics.median(ratios):.2f} of Pythae's time "
        f"({min(ratios):.2f}-{max(ratios):.2f})."
    )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    return 0


def parse_worker() -> argparse.Namespace:
    """The command line of the timed processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--target", type=float, required=True)
    return parser.parse_args()


def print_result(clock: Clock, stdout: int) -> None:
    """The line of JSON that the parent reads."""
    os.write(stdout, json.dumps(clock.result()).encode() + b"\n")
