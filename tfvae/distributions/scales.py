"""One map from an unconstrained parameter to a scale that is positive and finite.

A bare `exp` overflows and a hard clamp has a gradient that is zero or explodes, so the scale is a
softplus with a floor and a smooth ceiling:

    s = softplus(raw),   scale = floor + s / (1 + s / ceiling)

With the default ceiling of 1e9 the result equals `softplus(raw) + floor` to float32 precision for
every scale below 100, which is what `tfp.layers` computes; the ceiling keeps the *square* of the
scale finite too, as a Kullback-Leibler divergence needs.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

SCALE_FLOOR = 1e-5
SCALE_CEILING = 1e9


def softplus(raw: Any) -> tf.Tensor:
    """Returns `log(1 + exp(raw))`, stable at both ends, from ops that TFLite has built in.

    Args:
        raw: a float tensor of any shape.

    Returns:
        A tensor of the same shape and dtype.
    """
    raw = tf.convert_to_tensor(raw)
    return tf.nn.relu(raw) + tf.math.log1p(tf.exp(-tf.abs(raw)))


def positive_scale(
    raw: Any, floor: float = SCALE_FLOOR, ceiling: float = SCALE_CEILING
) -> tf.Tensor:
    """Maps any finite parameter to a scale in `[floor, floor + ceiling]`, smoothly and increasing.

    Args:
        raw: unconstrained parameters, a float tensor of any shape.
        floor: the smallest scale.
        ceiling: how far above the floor the scale can rise.

    Returns:
        The scale, with the shape and dtype of `raw`.

    Example:
        >>> import numpy as np
        >>> scale = positive_scale(np.float32([-1e30, 0.0, 1e30]))
        >>> [f"{s:.4g}" for s in scale.numpy()]
        ['1e-05', '0.6932', '1e+09']
    """
    rise = tf.nn.softplus(raw)
    return floor + rise / (1.0 + rise / ceiling)
