"""The table of the rows in Markdown, published beside obtained, and the picture of their curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reproductions.results import read_results
from reproductions.rows import ROWS

PICTURE = "curves.png"


def table(results: dict[str, dict[str, Any]]) -> str:
    """Published beside obtained, and under it where each comes from.

    Args:
        results: by the name of the row.
    """
    head = ("row", "published", "obtained", "ELBO", "KL", "active units", "epochs (paper)")
    head += ("training s (processor s)", "all s (processor s)")
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for name, row in ROWS.items():
        published = f"{row.published:.2f}"
        theirs = f"{row.published_epochs:,}" if row.published_epochs else "early stopping"
        if name not in results:
            lines.append(f"| {row.label} | {published} | not run | | | | ({theirs}) | | |")
            continue
        r = results[name]
        cells = [
            row.label,
            published,
            f"{r['nll']:.2f} ± {r['nll_error']:.2f}",
            f"{r['elbo']:.2f}",
            f"{r['kl']:.2f}",
            str(r["active_units"]),
            f"{_epochs(r)} ({theirs})",
            f"{r['training_seconds']:,.0f} ({r['training_cpu_seconds']:,.0f})",
            f"{r['elapsed_seconds']:,.0f} ({r['elapsed_cpu_seconds']:,.0f})",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    parts = ["\n".join(lines), "\n".join(_about(name, results.get(name)) for name in ROWS)]
    commands = [r["command"] for r in results.values()]
    if commands:
        parts.append("```\n" + "\n".join(commands) + "\n```")
    return "\n\n".join(parts)


def _epochs(result: dict[str, Any]) -> str:
    """Those of the row, after those of the row that it began with."""
    before = result.get("start_epochs")
    return f"{before:,} + {result['epochs']:,}" if before else f"{result['epochs']:,}"


def _all_epochs(result: dict[str, Any]) -> int:
    return result.get("start_epochs", 0) + result["epochs"]


def _about(name: str, result: dict[str, Any] | None) -> str:
    row = ROWS[name]
    text = f"- {row.label}: published {row.published:.2f} by {row.source}."
    if result is not None:
        gap = result["nll"] - row.published
        text += (
            f" Obtained: {result['num_samples']:,} importance samples on {result['num_images']:,} "
            f"test images, {abs(gap):.2f} nats {'above' if gap > 0 else 'below'} it"
        )
        if row.published_epochs:
            text += f" after {_all_epochs(result) / row.published_epochs:.1%} of its epochs"
        if "start" in result:
            text += (
                f", the first {result['start_epochs']:,} of them as {ROWS[result['start']].label}"
            )
        text += "."
    return f"{text} {row.note}".rstrip()


def picture(folder: Path, results: dict[str, dict[str, Any]], path: Path) -> None:
    """Draws the test's figure against epochs, with the published figures as dashed lines.

    Args:
        folder: where the rows lie.
        results: by the name of the row; those that are still in training are drawn as well.
        path: a `.png`.
    """
    from tfvae.callbacks import read_history
    from tfvae.plots.output import INK, LABEL_SIZE, MUTED, TICK_SIZE, finish, new_figure

    figure = new_figure(8, 4.8, "constrained")
    axes = figure.subplots()
    seen: list[float] = []
    furthest = 1.0
    for number, (name, row) in enumerate(ROWS.items()):
        points = [
            (line["epoch"], line["test_nll"])
            for line in read_history(folder / name / "history.csv")
            if "test_nll" in line
        ]
        if not points:
            continue
        colour = f"C{number}"
        epochs, values = zip(*points, strict=True)
        result = results.get(name)
        before = result.get("start_epochs", 0) if result else 0
        epochs = [before + epoch for epoch in epochs]
        axes.plot(epochs, values, color=colour, lw=1.8, label=row.label)
        axes.axhline(row.published, color=colour, lw=1, ls="--")
        if row.published_epochs:
            axes.plot(row.published_epochs, row.published, "*", color=colour, ms=10)
            furthest = max(furthest, row.published_epochs)
        if result is not None:
            axes.plot(_all_epochs(result), result["nll"], "o", color=colour, ms=6)
            seen.append(result["nll"])
        seen += [row.published, values[-1]]
        furthest = max(furthest, epochs[-1])
    if not seen:
        return
    axes.set_xscale("log")
    axes.set_xlim(1, 1.3 * furthest)
    axes.set_ylim(min(seen) - 1, max(seen) + 12)
    axes.set_xlabel("epoch", fontsize=LABEL_SIZE, color=INK)
    axes.set_ylabel("test NLL, nats", fontsize=LABEL_SIZE, color=INK)
    axes.set_title(
        "line: K = 50 on the first 1,000 test images; dot: the result, on all of them\n"
        "dashed: the published figure; star: at its number of epochs",
        loc="left",
        fontsize=TICK_SIZE,
        color=MUTED,
    )
    axes.tick_params(labelsize=TICK_SIZE, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=TICK_SIZE, labelcolor=INK)
    finish(figure, path)


def report(folder: Path) -> str:
    """The table of the rows that are in a folder; draws the picture beside them."""
    results = read_results(folder, ROWS)
    if folder.is_dir():
        picture(folder, results, folder / PICTURE)
    return table(results)
