"""Charts: training curves and the scatter of codes over the latent plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from tfvae.plots.output import (
    INK,
    LABEL_SIZE,
    MUTED,
    TICK_SIZE,
    TITLE_SIZE,
    PathLike,
    finish,
    new_figure,
)

_RING, _RULE = "#a6a6a6", "#d9d9d9"
_MAX_CATEGORIES = 20
_COLOURS = tuple(matplotlib.color_sequences["tab10"])
_MANY_COLOURS = tuple(matplotlib.color_sequences["tab20"])
_CONTINUOUS = "viridis"
_LEGEND: dict[str, Any] = {"frameon": False, "fontsize": TICK_SIZE, "labelcolor": INK}
_CURVES: dict[str, dict[str, Any]] = {
    "training": {"lw": 1.8, "ms": 5},
    "validation": {"lw": 1.8, "ms": 5, "ls": (0, (4, 1.5)), "mfc": "white"},
}
_KINDS = {"training": "", "validation": "val_"}
_METRIC_TITLES = {"nll": "negative log-likelihood", "kl": "KL divergence"}


def training_curves(
    history: Mapping[str, Sequence[float]],
    metrics: Sequence[str] = ("loss", "nll", "kl"),
    path: PathLike | None = None,
    title: str | None = None,
) -> Figure:
    """Draws losses in nats against epochs, a panel each, with validation dashed.

    Each panel has its own scale: a nat won on a KL of 20 would not show beside a loss of 500.
    Values far outside the bulk of a panel (beyond the quartiles by more than five times their
    distance), such as a first epoch from random weights, are left off it, and a note says so.
    A value that is not finite leaves a gap, and a value alone between gaps is drawn as a dot.

    Args:
        history: Values by name, one an epoch and in nats an example, such as the `history` of what
            `fit` returns. The validation twin of `name` is `val_name`. All lists are equally long:
            put NaN for an epoch that was not validated.
        metrics: Names to draw, in order. Those not in `history` are passed over.
        path: Where to write the figure as a PNG, if anywhere.
        title: A line above the panels.

    Returns:
        The figure.

    Raises:
        ValueError: If `history` has none of the metrics, their lists are empty or differ in
            length, or `path` does not name a `.png` in an existing folder.
        TypeError: If `history` is not a mapping or a list holds something other than numbers.

    Example:

    >>> from tfvae.plots import training_curves
    >>> figure = training_curves({"loss": [540.0, 130.0, 110.0], "val_loss": [140.0, 112.0, 108.0]})
    >>> len(figure.axes), len(figure.axes[0].get_lines())
    (1, 2)
    """
    series = _as_series(history, metrics)
    names = [name for name in metrics if {name, f"val_{name}"} & series.keys()]
    epochs = np.arange(1, len(next(iter(series.values()))) + 1)
    figure = _chart(1 + 3.4 * len(names), 3.6)
    panels: list[Axes] = list(figure.subplots(1, len(names), squeeze=False)[0])
    for axes, name, colour in zip(panels, names, cycle(_COLOURS), strict=False):
        for kind, prefix in _KINDS.items():
            if prefix + name in series:
                values = series[prefix + name]
                dots = {"marker": "o", "markevery": _alone(values).tolist()}
                axes.plot(epochs, values, color=colour, **dots, **_CURVES[kind])
        _dress(axes, "epoch", "nats an example" if axes is panels[0] else "")
        heading = _METRIC_TITLES.get(name, name)
        axes.set_title(heading, loc="left", fontsize=LABEL_SIZE, color=INK)
        axes.set_xlim(0.5, len(epochs) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
        _fit_y(axes)
    marker = "o" if any(_alone(values).any() for values in series.values()) else ""
    handles = [
        Line2D([], [], label=kind, color=MUTED, marker=marker, **_CURVES[kind])
        for kind, prefix in _KINDS.items()
        if any(prefix + name in series for name in names)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, **_LEGEND)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=TITLE_SIZE, color=INK, wrap=True)
    return finish(figure, path)


def latent_scatter(
    codes: ArrayLike,
    labels: ArrayLike | None = None,
    path: PathLike | None = None,
    title: str | None = None,
) -> Figure:
    """Scatters codes over the latent plane, on the prior's 1σ and 2σ circles.

    Args:
        codes: `[N, 2]`, such as posterior means.
        labels: `[N]`. Up to 20 different integers colour the points by class, with a legend;
            floats, or more integers than that, by value, with a colour bar.
        path: Where to write the figure as a PNG, if anywhere.
        title: A line above the plot.

    Returns:
        The figure.

    Raises:
        ValueError: If a shape is another, a value is not finite, or `path` does not name a
            `.png` in an existing folder.
        TypeError: If the codes or labels are not real numbers.

    Example:

    >>> import numpy as np
    >>> from tfvae.plots import latent_scatter
    >>> figure = latent_scatter([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]], labels=np.array([7, 3, 7]))
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['3', '7']
    """
    points = _as_numbers("codes", codes)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(
            "`codes` must be [N, 2] with N of at least 1; project codes of more dimensions first. "
            f"Received: shape {points.shape}"
        )
    figure = _chart(6.6, 5.8)
    axes = figure.subplots()
    _dress(axes, "$z_1$", "$z_2$")
    for radius in (1.0, 2.0):
        axes.add_patch(Circle((0, 0), radius, fill=False, edgecolor=_RING, zorder=2.5))
        halo = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8}
        name = axes.text(0, -radius, f"{radius:.0f}σ", ha="center", va="center", bbox=halo)
        name.set(fontsize=TICK_SIZE, color=MUTED, zorder=3)
    # Fewer points, bigger dots: a hundred should be as easy to see as ten thousand.
    size = float(np.clip(30_000 / len(points), 4, 24))
    dots: dict[str, Any] = {"s": size, "alpha": 0.8, "linewidths": 0, "zorder": 2}
    if labels is None:
        axes.scatter(points[:, 0], points[:, 1], color=_COLOURS[0], **dots)
    else:
        values = _as_numbers("labels", labels)
        if values.shape != (len(points),):
            raise ValueError(
                f"`labels` must be [N] with N = {len(points)}. Received: shape {values.shape}"
            )
        _scatter_by_label(axes, points, values, dots)
    axes.set_aspect("equal", adjustable="datalim")
    axes.autoscale_view()
    if title:
        axes.set_title(title, loc="left", fontsize=TITLE_SIZE, color=INK, wrap=True)
    return finish(figure, path)


def _as_numbers(name: str, values: ArrayLike, finite: bool = True) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"`{name}` must be real numbers. Received: dtype {array.dtype}")
    bad = int(np.sum(~np.isfinite(array)))
    if finite and bad:
        raise ValueError(
            f"`{name}` must be finite. Received: {bad} of {array.size} values that are not"
        )
    return array


def _as_series(
    history: Mapping[str, Sequence[float]], metrics: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Picks the metrics and their twins; what is not finite becomes NaN."""
    if not isinstance(history, Mapping):
        raise TypeError(
            "`history` must map names to lists of numbers; pass the `history` attribute of what "
            f"`fit` returned. Received: {type(history).__name__}"
        )
    wanted = [prefix + name for name in metrics for prefix in ("", "val_")]
    series = {}
    for name in wanted:
        if name in history:
            array = _as_numbers(f"history[{name!r}]", history[name], finite=False)
            series[name] = np.where(np.isfinite(array), array, np.nan)
    if not series:
        raise ValueError(
            f"`history` must have at least one of {wanted}; name others in `metrics`. "
            f"Received: {sorted(history)}"
        )
    shapes = {name: array.shape for name, array in series.items()}
    first = next(iter(series.values()))
    if set(shapes.values()) != {first.shape} or first.ndim != 1 or not first.size:
        raise ValueError(
            "`history` must hold lists of one length, at least one epoch, with NaN where an epoch "
            f"has no value. Received: shapes {shapes}"
        )
    return series


def _chart(width: float, height: float) -> Figure:
    """Returns an empty figure that finds its own margins, with some air at its edge."""
    return new_figure(width, height, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06))


def _dress(axes: Axes, x_label: str, y_label: str) -> None:
    """Gives a chart the house's quiet look."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_RULE)
    axes.set_facecolor("white")
    axes.grid(color=_RULE, linewidth=0.6, linestyle="-", alpha=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=TICK_SIZE, labelcolor=MUTED)
    axes.set_xlabel(x_label, fontsize=LABEL_SIZE, color=INK)
    axes.set_ylabel(y_label, fontsize=LABEL_SIZE, color=INK)


def _alone(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Marks the values between gaps, which no line can show."""
    missing = np.pad(np.isnan(values), 1, constant_values=True)
    alone: NDArray[np.bool_] = ~missing[1:-1] & missing[:-2] & missing[2:]
    return alone


def _fit_y(axes: Axes) -> None:
    """Fits the y-axis to the bulk of the curves and notes what lies off it."""
    note: dict[str, Any] = {
        "transform": axes.transAxes,
        "ha": "right",
        "fontsize": TICK_SIZE,
        "color": MUTED,
    }
    values = np.concatenate([np.asarray(line.get_ydata()) for line in axes.get_lines()])
    values = values[np.isfinite(values)]
    if not values.size:
        axes.set_yticks([])
        axes.text(0.98, 0.98, "no finite value", va="top", **note)
        return
    lowest, highest = values.min(), values.max()
    first, third = np.quantile(values, (0.25, 0.75))
    reach = 5 * (third - first) if third > first else np.inf
    # The nearest values inside the fence, so that no room is left empty.
    low = values[values >= first - reach].min()
    high = values[values <= third + reach].max()
    room = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    axes.set_ylim(low - room, high + room)
    if highest > high:
        axes.text(0.98, 0.98, f"↑ off the scale: {highest:.4g}", va="top", **note)
    if lowest < low:
        axes.text(0.98, 0.02, f"↓ off the scale: {lowest:.4g}", va="bottom", **note)


def _scatter_by_label(
    axes: Axes, points: NDArray[Any], labels: NDArray[Any], dots: dict[str, Any]
) -> None:
    x, y = points.T
    classes, index = np.unique(labels, return_inverse=True)
    if labels.dtype.kind == "f" or len(classes) > _MAX_CATEGORIES:
        scale = Normalize(labels.min(), labels.max())
        axes.scatter(x, y, c=labels, cmap=_CONTINUOUS, norm=scale, **dots)
        # A mappable of its own, for the dots' would hand its transparency on to the bar.
        solid = ScalarMappable(scale, _CONTINUOUS)
        bar = axes.figure.colorbar(solid, ax=axes, fraction=0.046, pad=0.02)
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0, labelsize=TICK_SIZE, labelcolor=MUTED)
        return
    palette = _COLOURS if len(classes) <= len(_COLOURS) else _MANY_COLOURS
    # One call in the order of the data: drawn class by class, the last would cover the others.
    axes.scatter(x, y, c=[palette[i] for i in index], **dots)
    axes.legend(
        handles=[
            Line2D([], [], color=colour, marker="o", linestyle="", markersize=6, label=f"{name}")
            for name, colour in zip(classes, palette, strict=False)
        ],
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        borderaxespad=0,
        handletextpad=0.2,
        **_LEGEND,
    )
