"""The table of the methods in Markdown: each with its reference, its oracle and its figures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from reproductions.methods import BASELINE, METHODS
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
    """Methods in the order of their dictionary.

    Args:
        results: by the name of the method.
        differences: from the baseline's NLL, with their standard errors, of those that have one.
    """
    head = ("method", "NLL", "from the VAE's, paired", "ELBO", "KL", "active units", "epochs")
    head += ("processor s", "formula", "oracle test")
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for name, method in METHODS.items():
        cells = ["not run", "", "", "", "", "", ""]
        if name in results:
            r = results[name]
            difference, error = differences.get(name, (math.nan, math.nan))
            cells = [
                f"{r['nll']:.2f} ± {r['nll_error']:.2f}",
                "" if math.isnan(difference) else f"{difference:+.2f} ± {error:.2f}",
                f"{r['elbo']:.2f}",
                f"{r['kl']:.2f}",
                str(r["active_units"]),
                str(r["epochs"]),
                f"{r['training_cpu_seconds']:.0f}",
            ]
        cells = [method.label, *cells, method.reference, f"`{method.test}`"]
        lines.append(f"| {' | '.join(cells)} |")
    parts = ["\n".join(lines), _conditions(results)]
    commands = [r["command"] for r in results.values()]
    if commands:
        parts.append("```\n" + "\n".join(commands) + "\n```")
    return "\n\n".join(parts)


def _conditions(results: dict[str, dict[str, Any]]) -> str:
    """Under which conditions the figures were obtained, with a line for each that differs."""
    names = ("num_samples", "num_images", "minutes", "batch_size", "learning_rate", "seed")
    seen = {tuple(r.get(name) for name in names) for r in results.values()}
    lines = [
        f"{samples:,} importance samples on {images:,} test images; {minutes} processor minutes of "
        f"training, batches of {batch}, Adam at {rate:g}, seed {seed}."
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
        for name in results:
            nll = read_nll(folder, name)
            if name != BASELINE and len(nll) == len(baseline):
                differences[name] = paired(nll, baseline)
    return table(results, differences)
