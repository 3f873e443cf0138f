"""Pictures: grids of images, reconstructions, interpolations and the decoded latent plane.

Images are `[..., H, W, C]` with one or three channels, `uint8` or floats in [0, 1]. They are
composed pixel by pixel at a whole-number zoom and drawn one to one, so no resampling ever blurs
what a decoder produced: the PNG of a grid holds the very bytes of its images. Values out of range
are refused, not clipped, because a silent clip hides a missing `/ 255` or a decoder gone astray.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from tfvae.plots.output import (
    DPI,
    INK,
    LABEL_SIZE,
    TICK_SIZE,
    TITLE_SIZE,
    PathLike,
    finish,
    new_figure,
)

Ticks = tuple[NDArray[np.float64], list[str]]

_MARGIN = 12  # pixels around a picture that carries text, and between its parts
# Pixels: a tile is zoomed to at least the one, while the picture stays within the other.
_TILE, _WIDTH = 64, 1280


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
    return finish(_picture(_mosaic(grid, scale)[0], title=title), path)


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
    return finish(_picture(pixels, title=title, y_ticks=(centres, labels)), path)


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
    return finish(_picture(_mosaic(grid, scale)[0], title=title), path)


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
    return finish(figure, path)


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
    figure = Figure(dpi=DPI)
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
        across, up = _text_size(title, TITLE_SIZE)
        top += up + _MARGIN
        right += max(0, across - width)
    if y_ticks:
        left += max(_text_size(text, TICK_SIZE)[0] for text in y_ticks[1]) + _MARGIN // 2
    if x_ticks:
        bottom += max(_text_size(text, TICK_SIZE)[1] for text in x_ticks[1]) + _MARGIN // 2
    if x_label:
        across, up = _text_size(x_label, LABEL_SIZE)
        bottom += up + _MARGIN
        left, right = (max(side, _MARGIN + (across - width) // 2) for side in (left, right))
    if y_label:
        up, across = _text_size(y_label, LABEL_SIZE)
        left += across + _MARGIN
        bottom, top = (max(side, _MARGIN + (up - height) // 2) for side in (bottom, top))
    across, down = left + width + right, bottom + height + top
    figure = new_figure(across / DPI, down / DPI, layout="none")
    axes = figure.add_axes((left / across, bottom / down, width / across, height / down))
    axes.imshow(pixels, interpolation="nearest", aspect="auto", origin="upper")
    axes.spines[:].set_visible(False)
    axes.grid(False)
    axes.set_xticks(*(x_ticks or ([], [])))
    axes.set_yticks(*(y_ticks or ([], [])))
    margin = _MARGIN * 72 / DPI  # in points
    axes.tick_params(length=0, pad=margin / 2, labelsize=TICK_SIZE, labelcolor=INK)
    axes.set_xlabel(x_label, labelpad=margin, fontsize=LABEL_SIZE, color=INK)
    axes.set_ylabel(y_label, labelpad=margin, fontsize=LABEL_SIZE, color=INK)
    axes.set_title(title or "", loc="left", pad=margin, fontsize=TITLE_SIZE, color=INK)
    return figure
