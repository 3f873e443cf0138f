"""What tfvae needs of memory: more data cost no more than the data, more draws next to nothing.

The trainings have as many steps with few images as with many: what is held while one trains, such
as the batches ahead, is there in both.

python -m bench_competitors.memory KIND NUMBER    # a process of its own for each
"""

from __future__ import annotations

import argparse
import json
import os

import numpy as np

from bench_competitors.processes import Machine, run_worker
from bench_competitors.report import aligned
from bench_competitors.worker import peak_memory

FEW_IMAGES = 6_000
MANY_IMAGES = 10 * FEW_IMAGES
EPOCHS = 3
FEW_DRAWS = 50
MANY_DRAWS = 5_000
EVALUATED = 200
_MEGA = 1024 * 1024


def main() -> None:
    """Trains on some images, or estimates with some draws; prints the peak."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("train", "evaluate"))
    parser.add_argument("number", type=int)
    options = parser.parse_args()
    stdout = os.dup(1)
    os.dup2(2, 1)
    import tfvae

    number = options.number if options.kind == "train" else EVALUATED
    # Written row by row: nothing but the data itself is ever held.
    x = np.zeros((number, 28, 28, 1), np.float32)
    rng = np.random.default_rng(0)
    for row in x:
        row[...] = rng.random(row.shape, np.float32) < 0.2
    vae = tfvae.VAE.for_images((28, 28, 1), latent_dim=50, hidden=(200, 200), activation="tanh")
    before = peak_memory()
    if options.kind == "train":
        vae.compile()
        vae.fit(x, batch_size=128, epochs=EPOCHS * MANY_IMAGES // number, verbose=0)
    else:
        vae.log_likelihood(x, num_samples=options.number)
    result = {"before_mb": before, "peak_mb": peak_memory(), "data_mb": x.nbytes / _MEGA}
    os.write(stdout, json.dumps(result).encode() + b"\n")


def compare_memory(machine: Machine) -> int:
    """Prints the table of the four processes, and what grew by how much."""
    plan = [
        ("train", FEW_IMAGES, "images"),
        ("train", MANY_IMAGES, "images"),
        ("evaluate", FEW_DRAWS, "draws"),
        ("evaluate", MANY_DRAWS, "draws"),
    ]
    rows = [["tfvae", "peak, MB", "before, MB", "data, MB"]]
    found = []
    for kind, number, what in plan:
        values, error = run_worker(machine, "memory", [kind, str(number)], apart=False)
        if error:
            rows.append([f"{kind}, {number:,} {what}", f"failed: {error}"])
            continue
        numbers = [f"{values[name]:,.0f}" for name in ("peak_mb", "before_mb", "data_mb")]
        rows.append([f"{kind}, {number:,} {what}", *numbers])
        found.append(values)
    print(aligned(rows))
    if len(found) < len(plan):
        return 1
    few, many, few_draws, many_draws = found
    print(
        f"\nTen times the data: the peak grows by {many['peak_mb'] - few['peak_mb']:,.0f} MB, the "
        f"data by {many['data_mb'] - few['data_mb']:,.0f} MB.\n"
        f"A hundred times the draws: the peak grows by "
        f"{many_draws['peak_mb'] - few_draws['peak_mb']:,.0f} MB."
    )
    return 0


if __name__ == "__main__":
    main()
