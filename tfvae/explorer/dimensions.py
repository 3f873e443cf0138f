"""The numbers of a code that get a slider, and how far each goes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfvae.latent import most_active_dimensions
from tfvae.latent.codes import Codes, draw_codes

NUM_DIMENSIONS = 8
"""How many dimensions get a slider."""

_ENDS = (0.005, 0.995)
_SHORTEST_RANGE = 1e-3


def describe(model: Any, images: np.ndarray, codes: Codes) -> list[dict[str, Any]]:
    """Finds the most active dimensions of a model.

    A slider goes through the middle 99 % of the aggregate posterior, draws of q(z|x) over all x.

    Args:
        model: a built model.
        images: `[N, *data_shape]`.
        codes: of these images.

    Returns:
        For each, the most active first: its `index` in the flattened code, `range` and `activity`,
        the variance of its posterior mean.
    """
    order = most_active_dimensions(model, images)[:NUM_DIMENSIONS]
    activity = codes.mean.var(axis=0)
    draws = draw_codes(model, images)
    entries = []
    for index in order.tolist():
        low, high = np.quantile(draws[:, index], _ENDS).tolist()
        if high - low < _SHORTEST_RANGE:
            low, high = low - 1.0, high + 1.0
        entries.append({"index": index, "range": [low, high], "activity": float(activity[index])})
    return entries
