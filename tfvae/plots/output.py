"""What every figure shares: its ink and sizes, an empty sheet, and the way to the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

PathLike = str | os.PathLike[str]

# A power of two, so that pixels / DPI inches is exact and a figure has just the pixels asked for.
DPI = 128
INK, MUTED = "#262626", "#6b6b6b"
TITLE_SIZE, LABEL_SIZE, TICK_SIZE = 11, 10, 9


def new_figure(width: float, height: float, layout: Any) -> Figure:
    """Makes an empty figure, white whatever the user's matplotlib style.

    Args:
        width: Inches across.
        height: Inches from top to bottom.
        layout: matplotlib's layout engine or its name.

    Returns:
        The figure, which belongs to no window.
    """
    return Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout=layout)


def finish(figure: Figure, path: PathLike | None) -> Figure:
    """Gives a figure its canvas and, given `path`, writes it there, whole or not at all.

    Args:
        figure: The finished drawing.
        path: A `.png` in an existing folder, or None.

    Returns:
        The same figure.

    Raises:
        ValueError: If `path` does not name a `.png` in an existing folder.
    """
    canvas = FigureCanvasAgg(figure)
    if path is None:
        return figure
    if Path(path).suffix.lower() != ".png":
        raise ValueError(
            "`path` must name a .png; for other formats call `savefig` on the returned figure. "
            f"Received: {os.fspath(path)!r}"
        )
    # Here, because the package loads TensorFlow, which a plot on the screen need not wait for.
    from tfvae.saving import write_atomically

    with write_atomically(path) as temporary:
        canvas.draw()
        # Pillow and RGB: savefig would add an opaque alpha channel and its own version number.
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
        picture.save(temporary, format="PNG", optimize=True)
    return figure
