"""From the measurements of all rounds to medians, ratios and the agreement of the losses."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

REFERENCE = "tfvae"
TOLERANCE = 1e-3
"""How far losses may be apart, relative: rounding, over ten steps of Adam."""

ESTIMATE_TOLERANCE = 3e-3
"""As above, for estimates from 5,000 draws of each library's own noise."""

LIMIT = "limit"
_RATES = ("train", "encode", "sample", "evaluate")
_SECONDS = ("ready_s", "evaluate_ready_s", "import_s")
_MEGABYTES = ("memory_train_mb", "memory_mb")
COLUMNS = (*_RATES, *_SECONDS, *_MEGABYTES)
"""What the table shows: images a second, seconds and megabytes."""


@dataclass(frozen=True)
class Run:
    """What one process measured in a turn.

    Attributes:
        competitor: its name.
        case: the model's name.
        batch: images in a batch.
        round: the number of the turn; those who took it together have the same.
        values: by name; empty if it failed.
        error: why it failed.
        disturbed: share of the machine that others used.
    """

    competitor: str
    case: str
    batch: int
    round: int
    values: Mapping[str, float]
    error: str = ""
    disturbed: float = 0.0


@dataclass(frozen=True)
class Cell:
    """One number of the table.

    Attributes:
        median: over the rounds.
        ratio: median over the rounds of the reference's value to this one, in that round.
        low: the smallest of these ratios.
        high: the largest.
    """

    median: float
    ratio: float = math.nan
    low: float = math.nan
    high: float = math.nan


def by_round(runs: Iterable[Run], competitor: str, column: str) -> dict[int, float]:
    """The values of a competitor, by round."""
    return {
        run.round: run.values[column]
        for run in runs
        if run.competitor == competitor and column in run.values
    }


def cell(runs: list[Run], competitor: str, column: str) -> Cell | None:
    """Median and ratios of a competitor; `None` if it has no such value.

    Ratios are tfvae to the competitor, made within a round, so that what slows the machine for a
    while slows both.
    """
    values = by_round(runs, competitor, column)
    if not values:
        return None
    reference = by_round(runs, REFERENCE, column)
    ratios = [reference[r] / values[r] for r in values if r in reference and values[r] > 0]
    median = statistics.median(values.values())
    if not ratios:
        return Cell(median)
    return Cell(median, statistics.median(ratios), min(ratios), max(ratios))


def with_limit(runs: list[Run]) -> list[Run]:
    """Adds the fastest library's bare products of each round as the competitor `limit`."""
    best: dict[tuple[str, int, int], Run] = {}
    for run in runs:
        key = (run.case, run.batch, run.round)
        if run.competitor.startswith(f"{LIMIT}-") and "train" in run.values:
            fastest = best.get(key)
            if fastest is None or run.values["train"] > fastest.values["train"]:
                best[key] = run
    return [
        *runs,
        *(
            Run(LIMIT, run.case, run.batch, run.round, {"train": run.values["train"]})
            for run in best.values()
        ),
    ]


def disagreements(runs: Iterable[Run]) -> list[str]:
    """A line for each loss or estimate that is not the reference's, or that cannot be compared."""
    runs = list(runs)
    # A reference that failed must not pass for agreement.
    lines = [
        f"{run.case}: {REFERENCE} has no loss to agree with: {run.error}"
        for run in runs
        if run.competitor == REFERENCE and run.error
    ]
    names = (("first", TOLERANCE), ("mean", TOLERANCE), ("after", TOLERANCE))
    for name, tolerance in (*names, ("nll", ESTIMATE_TOLERANCE)):
        references = {run.case: run.values[name] for run in runs if _is_reference(run, name)}
        for run in runs:
            expected = references.get(run.case)
            value = run.values.get(name)
            if value is None or expected is None:
                continue
            if not abs(value - expected) <= tolerance * abs(expected):
                lines.append(
                    f"{run.case}: {name} of {run.competitor} is {value:.3f} nats, "
                    f"of {REFERENCE} {expected:.3f}"
                )
    return lines


def _is_reference(run: Run, name: str) -> bool:
    return run.competitor == REFERENCE and name in run.values


def check_table(runs: list[Run]) -> str:
    """The losses, a row a competitor."""
    rows = [["", "first batch", "mean of ten steps", "first batch, after them"]]
    for run in runs:
        if "first" in run.values:
            numbers = [f"{run.values[name]:.3f}" for name in ("first", "mean", "after")]
            rows.append([run.competitor, *numbers])
        elif run.error:
            rows.append([run.competitor, f"failed: {run.error}", "", ""])
    return aligned(rows)


def table(runs: list[Run], disturbance: float = 0.1) -> str:
    """The measurements of one case and batch, a row a competitor.

    In brackets: `tfvae / it`, the median over the rounds; the smallest and the largest.
    """
    columns = [c for c in COLUMNS if any(c in run.values for run in runs)]
    rows = [["", *(_heading(column) for column in columns)]]
    for name in dict.fromkeys(run.competitor for run in runs):
        own = [run for run in runs if run.competitor == name]
        if not any(run.values for run in own):
            rows.append([name, f"failed: {own[0].error}"])
            continue
        marked = f"{name} *" if any(run.disturbed > disturbance for run in own) else name
        rows.append([marked, *(_shown(name, column, runs) for column in columns)])
    return aligned(rows)


def _heading(column: str) -> str:
    unit = "images/s" if column in _RATES else ""
    named = column.removesuffix("_mb").removesuffix("_s").replace("_", " ")
    return f"{named}, {unit or ('s' if column in _SECONDS else 'MB')}"


def _shown(name: str, column: str, runs: list[Run]) -> str:
    value = cell(runs, name, column)
    if value is None or (name.startswith(LIMIT) and column not in _RATES):
        return "-"
    number = f"{value.median:,.0f}" if value.median >= 100 else f"{value.median:.3g}"
    if math.isnan(value.ratio) or name == REFERENCE:
        return number
    spread = f"; {value.low:.2f}-{value.high:.2f}" if value.high > value.low else ""
    return f"{number} ({value.ratio:.2f}{spread})"


def aligned(rows: list[list[str]]) -> str:
    """Rows as lines of Markdown; the first is the heading."""
    width = max(len(row) for row in rows)
    rows = [[*row, *[""] * (width - len(row))] for row in rows]
    # A failure's reason does not widen its column.
    sizes = [
        max(len(row[i]) for row in rows if not row[i].startswith("failed")) for i in range(width)
    ]
    lines = [
        "| " + " | ".join(text.ljust(n) for text, n in zip(row, sizes, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (size + 2) for size in sizes) + "|")
    return "\n".join(lines)


def as_json(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """The runs as plain values."""
    return [{**vars(run), "values": dict(run.values)} for run in runs]
