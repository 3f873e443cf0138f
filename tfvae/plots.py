"""Pictures: samples, reconstructions, interpolations, training curves and the latent plane.

Every function takes plain NumPy arrays, so it serves anybody's model, and follows one convention:
it returns a `matplotlib.figure.Figure` and, given `path`, also writes it there as a PNG.
The figures belong to no window and no pyplot state: nothing has to be closed, any thread may draw,
and a notebook shows the returned figure. For other formats call `figure.savefig` on it.

Images are `[..., H, W, C]` with one or three channels, `uint8` or floats in [0, 1]. They are
composed pixel by pixel at a whole-number zoom and drawn one to one, so no resampling ever blurs
what a decoder produced: the PNG of a grid holds the very bytes of its images. Values out of range
are refused, not clipped, because a silent clip hides a missing `/ 255` or a decoder gone astray.
"""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from statistics import NormalDist
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray
from PIL import Image

__all__ = [
    "image_grid",
    "interpolations",
    "latent_manifold",
    "latent_scatter",
    "reconstructions",
    "training_curves",
]

PathLike = str | os.PathLike[str]
Ticks = tuple[NDArray[np.float64], list[str]]

# A power of two, so that pixels / _DPI inches is exact and a figure has just the pixels asked for.
_DPI = 128
_INK, _MUTED, _RING, _RULE = "#262626", "#6b6b6b", "#a6a6a6", "#d9d9d9"
_TITLE_SIZE, _LABEL_SIZE, _TICK_SIZE = 11, 10, 9
_MARGIN = 12  # pixels around a picture that carries text, and between its parts
# Pixels: a tile is zoomed to at least the one, while the picture stays within the other.
_TILE, _WIDTH = 64, 1280
_MAX_CATEGORIES = 20
_COLOURS = tuple(matplotlib.color_sequences["tab10"])
_MANY_COLOURS = tuple(matplotlib.color_sequences["tab20"])
_CONTINUOUS = "viridis"
_LEGEND: dict[str, Any] = {"frameon": False, "fontsize": _TICK_SIZE, "labelcolor": _INK}
_CURVES: dict[str, dict[str, Any]] = {
    "training": {"lw": 1.8, "ms": 5},
    "validation": {"lw": 1.8, "ms": 5, "ls": (0, (4, 1.5)), "mfc": "white"},
}
_KINDS = {"training": "", "validation": "val_"}
_METRIC_TITLES = {"nll": "negative log-likelihood", "kl": "KL divergence"}


def image_grid(
    images: ArrayLike,
    columns: int | None = None,
    path: PathLike | None = None,
    title: str | None = None,
    scale: int | None = None,
) -> Figure:
    """Lays images out in a grid, row by row, at a whole-number zoom.

    Without a title the figure is the bare grid, with no margin and no text.

    Args:
        images: `[N, H, W, C]`, `uint8` or floats in [0, 1], with C = 1 or 3.
        columns: Images a row. By default the grid is as near a square as can be.
        path: Where to write the figure as a PNG, if anywhere.
        title: A line above the grid.
        scale: Screen pixels for each image pixel. By default small images are enlarged to at
            least 64 pixels while the picture stays within 1280 across.

    Returns:
        The figure.

    Raises:
        ValueError: If the images have another shape or range, a number is not positive, or `path`
            does not name a `.png` in an existing folder.
        TypeError: If the images have another dtype or a count is not an integer.

    Example:

    >>> import numpy as np
    >>> from tfvae.plots import image_grid
    >>> figure = image_grid(np.zeros((6, 8, 8, 1)), columns=3, scale=4)
    >>> [int(pixels) for pixels in figure.bbox.size]
    [100, 66]
    """
    tiles = _as_tiles("images", images, ndim=4)
    columns = _positive("columns", columns, default=math.ceil(math.sqrt(len(tiles))))
    columns = min(columns, len(tiles))
    grid = _wrap(tiles, columns)
    return _finish(_picture(_mosaic(grid, scale)[0], title=title), path)


def reconstructions(
    originals: ArrayLike,
    reconstructions: ArrayLike,
    columns: int | None = None,
    path: PathLike | None = None,
    title: str | None = None,
    scale: int | None = None,
) -> Figure:
    """Shows originals above their reconstructions, in pairs of rows.

    Args:
        originals: `[N, H, W, C]`, `uint8` or floats in [0, 1], with C = 1 or 3.
        reconstructions: `[N, H, W, C]`, of the same shape; the dtype may differ.
        columns: Pairs side by side; further pairs go on below. 10 by default.
        path: Where to write the figure as a PNG, if anywhere.
        title: A line above the rows.
        scale: Screen pixels for each image pixel; chosen as in `image_grid` by default.

    Returns:
        The figure.

    Raises:
        ValueError: If the shapes differ, or an argument is out of range as in `image_grid`.
        TypeError: If the images have another dtype or a count is not an integer.

    Example:

    >>> import numpy as np
    >>> from tfvae.plots import reconstructions
    >>> x = np.zeros((5, 8, 8, 1))
    >>> figure = reconstructions(x, x)
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['original', 'reconstruction']
    """
    above = _as_tiles("originals", originals, ndim=4)
    below = _as_tiles("reconstructions", reconstructions, ndim=4)
    if np.shape(originals) != np.shape(reconstructions):
        raise ValueError(
            "`originals` and `reconstructions` must have the same shape [N, H, W, C]. "
            f"Received: {np.shape(originals)} and {np.shape(reconstructions)}"
        )
    columns = min(_positive("columns", columns, default=10), len(above))
    pairs = np.stack([_wrap(above, columns), _wrap(below, columns)], axis=1)
    grid = pairs.reshape(-1, *pairs.shape[2:])
    pixels, centres, _ = _mosaic(grid, scale, group=2)
    labels = ["original", "reconstruction"] * len(pairs)
    return _finish(_picture(pixels, title=title, y_ticks=(centres, labels)), path)


def interpolations(
    frames: ArrayLike,
    path: PathLike | None = None,
    title: str | None = None,
    scale: int | None = None,
) -> Figure:
    """Shows a row of images for each pair of end points, from the first to the second.

    Args:
        frames: `[R, T, H, W, C]`: R pairs, T steps with both ends; `uint8` or floats in [0, 1],
            with C = 1 or 3.
        path: Where to write the figure as a PNG, if anywhere.
        title: A line above the rows.
        scale: Screen pixels for each image pixel; chosen as in `image_grid` by default.

    Returns:
        The figure.

    Raises:
        ValueError: If an argument has another shape or range, as in `image_grid`.
        TypeError: If the frames have another dtype or `scale` is not an integer.

    Example:

    >>> import numpy as np
    >>> from tfvae.plots import interpolations
    >>> frames = np.linspace(0.0, 1.0, 7).reshape(1, 7, 1, 1, 1) * np.ones((2, 7, 8, 8, 3))
    >>> figure = interpolations(frames, scale=4)
    >>> [int(pixels) for pixels in figure.bbox.size]
    [236, 66]
    """
    grid = _as_tiles("frames", frames, ndim=5)
    return _finish(_picture(_mosaic(grid, scale)[0], title=title), path)


def latent_manifold(
    images: ArrayLike,
    quantiles: ArrayLike | None = None,
    path: PathLike | None = None,
    title: str | None = None,
    scale: int | None = None,
) -> Figure:
    """Shows what a decoder makes of a grid over its two-dimensional latent plane.

    Equal steps in the prior's probability, not in z, give each region the room it has in samples.
    As on a map, z₁ grows to the right and z₂ upwards, so the picture lies over `latent_scatter`.

    Args:
        images: `[R, R, H, W, C]` or `[R * R, H, W, C]`, `uint8` or floats in [0, 1], with C = 1
            or 3. `images[i, j]`, or `images[i * R + j]`, is decoded from
            z = (quantiles[j], quantiles[i]).
        quantiles: `[R]`, the values of z₁ and of z₂, rising. By default the standard normal's
            quantiles at (k + 1/2) / R for k = 0, ..., R - 1.
        path: Where to write the figure as a PNG, if anywhere.
        title: A line above the picture.
        scale: Screen pixels for each image pixel; chosen as in `image_grid` by default.

    Returns:
        The figure.

    Raises:
        ValueError: If the images do not fill a square, `quantiles` is not `[R]` and rising, or an
            argument is out of range as in `image_grid`.
        TypeError: If the images have another dtype or `scale` is not an integer.

    Example:

    >>> from statistics import NormalDist
    >>> import numpy as np
    >>> from tfvae.plots import latent_manifold
    >>> side = [NormalDist().inv_cdf((k + 0.5) / 5) for k in range(5)]
    >>> codes = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)  # [25, 2], to decode
    >>> decoded = np.broadcast_to(codes[:, :1, None, None] > 0.0, (25, 8, 8, 1)).astype("float32")
    >>> figure = latent_manifold(decoded, quantiles=side)
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['−1.28', '−0.52', '0.00', '0.52', '1.28']

    Reference:
        Kingma, D. P. and Welling, M. (2013), Auto-Encoding Variational Bayes, arXiv:1312.6114,
        Figure 4.
    """
    if np.ndim(images) == 5:
        grid = _as_tiles("images", images, ndim=5)
    else:
        tiles = _as_tiles("images", images, ndim=4)
        side = math.isqrt(len(tiles))
        grid = tiles.reshape(-1, side, *tiles.shape[1:]) if side**2 == len(tiles) else tiles[None]
    side = len(grid)
    if grid.shape[1] != side:
        raise ValueError(
            "`images` must fill a square: [R, R, H, W, C] or [R * R, H, W, C]. "
            f"Received: shape {np.shape(images)}"
        )
    if quantiles is None:
        quantiles = [NormalDist().inv_cdf((k + 0.5) / side) for k in range(side)]
    z = np.asarray(quantiles, dtype=np.float64)
    if z.shape != (side,) or not np.all(np.isfinite(z)) or np.any(np.diff(z) <= 0):
        raise ValueError(
            f"`quantiles` must be {side} finite values, rising, one for each row and column. "
            f"Received: {quantiles!r}"
        )
    pixels, rows, columns = _mosaic(grid[::-1], scale, gap=0)
    # An even or odd count like the side's own keeps the ticks symmetric about z = 0.
    shown = np.unique(np.linspace(0, side - 1, min(side, 6 + side % 2)).round().astype(int))
    labels = [f"{value:.2f}".replace("-", "−") for value in z[shown]]
    figure = _picture(
        pixels,
        title=title,
        x_ticks=(columns[shown], labels),
        y_ticks=(rows[::-1][shown], labels),
        x_label="$z_1$ (quantiles of the prior)",
        y_label="$z_2$ (quantiles of the prior)",
    )
    return _finish(figure, path)


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
    figure = _chart(1 + 3.4 * len(names), 3.6)
    panels: list[Axes] = list(figure.subplots(1, len(names), squeeze=False)[0])
    for axes, name, colour in zip(panels, names, cycle(_COLOURS), strict=False):
        for kind, prefix in _KINDS.items():
            if prefix + name in series:
                _draw_curve(axes, series[prefix + name], color=colour, **_CURVES[kind])
        _dress(axes, "epoch", "nats an example" if axes is panels[0] else "")
        heading = _METRIC_TITLES.get(name, name)
        axes.set_title(heading, loc="left", fontsize=_LABEL_SIZE, color=_INK)
        axes.set_xlim(0.5, len(next(iter(series.values()))) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
        _fit_y(axes)
    marker = "o" if any(_alone(values).any() for values in series.values()) else ""
    handles = [
        Line2D([], [], label=kind, color=_MUTED, marker=marker, **_CURVES[kind])
        for kind, prefix in _KINDS.items()
        if any(prefix + name in series for name in names)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, **_LEGEND)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=_TITLE_SIZE, color=_INK, wrap=True)
    return _finish(figure, path)


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
        name.set(fontsize=_TICK_SIZE, color=_MUTED, zorder=3)
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
        axes.set_title(title, loc="left", fontsize=_TITLE_SIZE, color=_INK, wrap=True)
    return _finish(figure, path)


# --- what comes in -------------------------------------------------------------------------------


def _positive(name: str, value: int | None, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"`{name}` must be an integer. Received: {value!r}")
    if value < 1:
        raise ValueError(f"`{name}` must be at least 1. Received: {value}")
    return int(value)


def _as_tiles(name: str, images: ArrayLike, ndim: int) -> NDArray[np.uint8]:
    """Returns images `[..., H, W, C]` as bytes `[..., H, W, 3]`."""
    array = np.asarray(images)
    shape = "[N, H, W, C]" if ndim == 4 else "[R, T, H, W, C]"
    if array.ndim != ndim or 0 in array.shape or array.shape[-1] not in (1, 3):
        raise ValueError(
            f"`{name}` must be {shape} with no empty axis and 1 or 3 channels last "
            f"(grey images without a channel axis need `[..., None]`). "
            f"Received: shape {array.shape}"
        )
    if np.issubdtype(array.dtype, np.floating):
        # NaN fails the comparison too. The slack is for rounding in half precision.
        if not (array.min() >= -1e-3 and array.max() <= 1 + 1e-3):
            raise ValueError(
                f"`{name}` as floats must lie in [0, 1]: divide bytes by 255, and pass the means "
                "of a Gaussian decoder through `numpy.clip`. "
                f"Received: values from {array.min():g} to {array.max():g}"
            )
        array = np.clip(np.rint(array.astype(np.float32) * 255), 0, 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise TypeError(
            f"`{name}` must be uint8 in [0, 255] or float in [0, 1]. Received: {array.dtype}"
        )
    return np.broadcast_to(array, (*array.shape[:-1], 3))


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


# --- pictures, pixel by pixel --------------------------------------------------------------------


def _wrap(tiles: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Folds tiles `[N, H, W, 3]` into rows `[rows, columns, H, W, 3]`, the last filled in white."""
    rows = math.ceil(len(tiles) / columns)
    cells = np.full((rows * columns, *tiles.shape[1:]), 255, np.uint8)
    cells[: len(tiles)] = tiles
    return cells.reshape(rows, columns, *tiles.shape[1:])


def _mosaic(
    grid: NDArray[np.uint8], scale: int | None, gap: int | None = None, group: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]:
    """Composes tiles `[rows, columns, H, W, 3]` on white, a wider gap after each group of rows.

    Returns:
        The pixels `[height, width, 3]`, the centre of each row and that of each column.
    """
    rows, columns, height, width, _ = grid.shape
    fitting = max(1, _WIDTH // (columns * width))
    scale = _positive("scale", scale, default=min(math.ceil(_TILE / max(height, width)), fitting))
    height, width = height * scale, width * scale
    gap = max(2, max(height, width) // 32) if gap is None else gap
    tops = np.arange(rows) * (height + gap)
    if group:
        tops += np.arange(rows) // group * 3 * gap
    lefts = np.arange(columns) * (width + gap)
    pixels = np.full((tops[-1] + height, lefts[-1] + width, 3), 255, np.uint8)
    for row, top in zip(grid, tops, strict=True):
        for tile, left in zip(row, lefts, strict=True):
            zoomed = tile.repeat(scale, axis=0).repeat(scale, axis=1)
            pixels[top : top + height, left : left + width] = zoomed
    return pixels, tops + (height - 1) / 2, lefts + (width - 1) / 2


def _text_size(text: str, size: float) -> tuple[int, int]:
    """Returns the width and height of a text in pixels."""
    figure = Figure(dpi=_DPI)
    box = figure.text(0, 0, text, fontsize=size).get_window_extent(
        FigureCanvasAgg(figure).get_renderer()
    )
    return math.ceil(box.width), math.ceil(box.height)


def _picture(
    pixels: NDArray[np.uint8],
    title: str | None = None,
    x_ticks: Ticks | None = None,
    y_ticks: Ticks | None = None,
    x_label: str = "",
    y_label: str = "",
) -> Figure:
    """Sets pixels one to one into a figure, with just the margins that its text needs."""
    height, width, _ = pixels.shape
    left = right = top = bottom = _MARGIN if title or x_ticks or y_ticks else 0
    if title:
        across, up = _text_size(title, _TITLE_SIZE)
        top += up + _MARGIN
        right += max(0, across - width)
    if y_ticks:
        left += max(_text_size(text, _TICK_SIZE)[0] for text in y_ticks[1]) + _MARGIN // 2
    if x_ticks:
        bottom += max(_text_size(text, _TICK_SIZE)[1] for text in x_ticks[1]) + _MARGIN // 2
    if x_label:
        across, up = _text_size(x_label, _LABEL_SIZE)
        bottom += up + _MARGIN
        left, right = (max(side, _MARGIN + (across - width) // 2) for side in (left, right))
    if y_label:
        up, across = _text_size(y_label, _LABEL_SIZE)
        left += across + _MARGIN
        bottom, top = (max(side, _MARGIN + (up - height) // 2) for side in (bottom, top))
    across, down = left + width + right, bottom + height + top
    figure = _figure(across / _DPI, down / _DPI, layout="none")
    axes = figure.add_axes((left / across, bottom / down, width / across, height / down))
    axes.imshow(pixels, interpolation="nearest", aspect="auto", origin="upper")
    axes.spines[:].set_visible(False)
    axes.grid(False)
    axes.set_xticks(*(x_ticks or ([], [])))
    axes.set_yticks(*(y_ticks or ([], [])))
    margin = _MARGIN * 72 / _DPI  # in points
    axes.tick_params(length=0, pad=margin / 2, labelsize=_TICK_SIZE, labelcolor=_INK)
    axes.set_xlabel(x_label, labelpad=margin, fontsize=_LABEL_SIZE, color=_INK)
    axes.set_ylabel(y_label, labelpad=margin, fontsize=_LABEL_SIZE, color=_INK)
    axes.set_title(title or "", loc="left", pad=margin, fontsize=_TITLE_SIZE, color=_INK)
    return figure


# --- charts --------------------------------------------------------------------------------------


def _chart(width: float, height: float) -> Figure:
    """Returns an empty figure that finds its own margins, with some air at its edge."""
    return _figure(width, height, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06))


def _dress(axes: Axes, x_label: str, y_label: str) -> None:
    """Gives a chart the house's quiet look."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_RULE)
    axes.set_facecolor("white")
    axes.grid(color=_RULE, linewidth=0.6, linestyle="-", alpha=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=_TICK_SIZE, labelcolor=_MUTED)
    axes.set_xlabel(x_label, fontsize=_LABEL_SIZE, color=_INK)
    axes.set_ylabel(y_label, fontsize=_LABEL_SIZE, color=_INK)


def _alone(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Marks the values between gaps, which no line can show."""
    missing = np.pad(np.isnan(values), 1, constant_values=True)
    alone: NDArray[np.bool_] = ~missing[1:-1] & missing[:-2] & missing[2:]
    return alone


def _draw_curve(axes: Axes, values: NDArray[np.float64], **style: Any) -> None:
    epochs = np.arange(1, len(values) + 1)
    axes.plot(epochs, values, marker="o", markevery=_alone(values).tolist(), **style)


def _fit_y(axes: Axes) -> None:
    """Fits the y-axis to the bulk of the curves and notes what lies off it."""
    note: dict[str, Any] = {
        "transform": axes.transAxes,
        "ha": "right",
        "fontsize": _TICK_SIZE,
        "color": _MUTED,
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
        bar.ax.tick_params(length=0, labelsize=_TICK_SIZE, labelcolor=_MUTED)
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


# --- what goes out -------------------------------------------------------------------------------


def _figure(width: float, height: float, layout: Any) -> Figure:
    """Returns an empty figure of so many inches, white whatever the user's matplotlib style."""
    return Figure(figsize=(width, height), dpi=_DPI, facecolor="white", layout=layout)


def _finish(figure: Figure, path: PathLike | None) -> Figure:
    """Gives the figure its canvas and writes it, whole or not at all."""
    canvas = FigureCanvasAgg(figure)
    if path is None:
        return figure
    target = Path(path)
    if target.suffix.lower() != ".png" or not target.parent.is_dir():
        raise ValueError(
            "`path` must name a .png in an existing folder; for other formats call `savefig` on "
            f"the returned figure. Received: {os.fspath(path)!r}"
        )
    canvas.draw()
    # Pillow and RGB, where savefig would add an opaque alpha channel and its own version number.
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    # Not tempfile, whose files only their owner may read: a picture follows the umask.
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        picture.save(temporary, format="PNG", optimize=True)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return figure
