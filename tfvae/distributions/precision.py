"""The precision of densities."""

from __future__ import annotations

from typing import Any

import keras


def float_dtype(dtype: Any = None) -> Any:
    """Returns the dtype that a density is computed in: float32 at least, unless told otherwise.

    Under a half-precision policy the networks run in half and the densities do not: a sum of
    hundreds of log-probabilities has no digits left in bfloat16 and overflows in float16.
    """
    if dtype is not None:
        return dtype
    return "float64" if keras.config.floatx() == "float64" else "float32"
