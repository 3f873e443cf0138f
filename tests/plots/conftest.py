"""What a figure looks like on the screen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray


@pytest.fixture
def render() -> Callable[[Figure], NDArray[np.uint8]]:
    """Draws a figure as `[H, W, 3]`."""

    def draw(figure: Figure) -> NDArray[np.uint8]:
        figure.canvas.draw()
        return np.asarray(figure.canvas.buffer_rgba())[..., :3]

    return draw
