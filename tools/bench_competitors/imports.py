"""What it takes to import tfvae, beside the libraries that it stands on, and to ask for help.

Every command is a process of its own, in turn, round after round, after one that fills the caches.
"""

from __future__ import annotations

import statistics
import subprocess
import time

from bench_competitors.processes import REPOSITORY, Machine
from bench_competitors.quiet import wait_for_quiet
from bench_competitors.report import aligned

BARE = "import tensorflow, keras, tensorflow_probability"
# Every module behind the public names that training needs, not the lazy package alone.
WITH_TFVAE = f"{BARE}, tfvae; tfvae.VAE, tfvae.layers, tfvae.regularizers, tfvae.callbacks"
COMMANDS = {
    "tensorflow, keras, tensorflow_probability": ["-c", BARE],
    "the same and tfvae": ["-c", WITH_TFVAE],
    "tfvae --help": ["-m", "tfvae", "--help"],
}


def compare_imports(machine: Machine, rounds: int, patience: float) -> int:
    """Prints the medians, and tfvae's ratio within each round."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(rounds + 1):
        wait_for_quiet(patience, 0.1)
        for name, arguments in COMMANDS.items():
            begun = time.perf_counter()
            subprocess.run(
                [machine.python(apart=False), *arguments],
                check=True,
                cwd=REPOSITORY,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            if number:
                seconds[name].append(time.perf_counter() - begun)
    rows = [[f"median of {rounds}", "seconds"]]
    rows += [[name, f"{statistics.median(times):.2f}"] for name, times in seconds.items()]
    print(aligned(rows))
    bare, ours, _ = seconds.values()
    ratios = [own / other for own, other in zip(ours, bare, strict=True)]
    print(
        f"\nWith tfvae the import takes {statistics.median(ratios):.2f} of the time without "
        f"({min(ratios):.2f}-{max(ratios):.2f})."
    )
    return 0
