"""The table of the methods in Markdown: each with its reference, its oracle and its figures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from reproductions.methods import BASELINE, GROUPS, METHODS
from reproductions.results import read_nll, read_results


def paired(nll: Any, other: Any) -> tuple[float, float]:
    """The mean difference of two models over the same images, and its standard error.

    Example:
        >>> import numpy as np
        >>> paired(np.array([1.0, 4.0]), np.array([1.0, 2.0]))
        (1.0, 1.0)
    """
    difference = nll - other
    return float(difference.mean()), float(difference.std(ddof=1) / math.sqrt(len(difference)))


def table(results: dict[str, dict[str, Any]], differences: dict[str, tuple[float, float]]) -> str:
    """Methods by group, in the order of their dictionaries.

    The distortion is the mean of -log p(x|z) over q(z|x), -ELBO less the KL; of an autoencoder,
    -log p(x|z) at the code. A dash stands for what a method does not have.

    Args:
        results: by the name of the method.
        differences: from the baseline's NLL, with their standard errors, of those that have one.
    """
    head = ("method", "NLL", "from the VAE's, paired", "ELBO", "distortion", "KL", "active units")
    head += ("epochs", "processor s", "formula", "oracle test")
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for title, group in GROUPS.items():
        lines.append(f"| **{title}** |" + " |" * (len(head) - 1))
        for name, method in group.items():
            cells = ["not run", *[""] * 7]
            if name in results:
                cells = _figures(results[name], differences.get(name))
            cells = [method.label, *cells, method.reference, f"`{method.test}`"]
            lines.append(f"| {' | '.join(cells)} |")
    parts = ["\n".join(lines), _conditions(results)]
    commands = [r["command"] for r in results.values()]
    if commands:
        parts.append("```\n" + "\n".join(commands) + "\n```")
    return "\n\n".join(parts)


def _figures(r: dict[str, Any], difference: tuple[float, float] | None) -> list[str]:
    paired_to = "" if difference is None else f"{difference[0]:+.2f} ± {difference[1]:.2f}"
    bound = ["-", "-", "-"]
    if r["nll"] is not None:
        bound = [f"{r['nll']:.2f} ± {r['nll_error']:.2f}", paired_to, f"{r['elbo']:.2f}"]
    return [
        *bound,
        f"{-r['reconstruction']:.2f}",
        "-" if r["kl"] is None else f"{r['kl']:.2f}",
        "-" if r["active_units"] is None else str(r["active_units"]),
        str(r["epochs"]),
        f"{r['training_cpu_seconds']:.0f}",
    ]


def _conditions(results: dict[str, dict[str, Any]]) -> str:
    """Under which conditions the figures were obtained, with a line for each that differs."""
    names = ("num_samples", "num_images", "minutes", "batch_size", "learning_rate", "seed")
    seen = {tuple(r.get(name) for name in names) for r in results.values()}
    # What takes no importance samples goes with whatever number of them.
    sampled = {key[1:] for key in seen if key[0] is not None}
    seen = {key for key in seen if key[0] is not None or key[1:] not in sampled}
    lines = [
        f"{f'{samples:,}' if samples else 'no'} importance samples on {images:,} test images; "
        f"{minutes} processor minutes of training, batches of {batch}, Adam at {rate:g}, "
        f"seed {seed}."
        for samples, images, minutes, batch, rate, seed in sorted(seen, key=str)
    ]
    if len(lines) > 1:
        lines.insert(0, "These figures cannot all be compared, for their conditions differ:")
    return "\n".join(lines)


def report(folder: Path) -> str:
    """The table of the methods that are in a folder."""
    results = read_results(folder, METHODS)
    differences = {}
    if BASELINE in results:
        baseline = read_nll(folder, BASELINE)
        for name, result in results.items():
            if name == BASELINE or result["nll"] is None:
                continue
            nll = read_nll(folder, name)
            if len(nll) == len(baseline):
                differences[name] = paired(nll, baseline)
    return table(results, differences)
