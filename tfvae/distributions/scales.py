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

CONCENTRATION_FLOOR = 1e-3
CONCENTRATION_CEILING = 1e4

# exp(-20) is nothing beside 1 in float32.
_FADED = 20.0


def softplus(raw: Any) -> tf.Tensor:
    """Returns `log(1 + exp(raw))`, stable at both ends on every runtime.

    TFLite lowers `tf.nn.softplus` to the formula itself, which is infinite from 89 on.

    Args:
        raw: a float tensor of any shape.

    Returns:
        A tensor of the same shape and dtype.

    Example:
        >>> [f"{value:.4g}" for value in softplus([-50.0, 0.0, 100.0]).numpy()]
        ['1.929e-22', '0.6931', '100']
    """
    raw = tf.convert_to_tensor(raw)
    # At a tie `tf.maximum` sends the gradient to its first argument. So both magnitude and positive
    # part have the slope 1 at zero, where a shared scale starts, and the sum has the true 1/2;
    # with `tf.abs` and `tf.nn.relu` it would be 0, and the scale would never move.
    magnitude = tf.maximum(raw, -raw)
    return tf.maximum(raw, 0.0) + tf.math.log1p(tf.exp(-magnitude))


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
    rise = softplus(raw)
    return floor + rise / (1.0 + rise / ceiling)


def positive_concentration(raw: Any) -> tf.Tensor:
    """Maps any finite parameter to a concentration or a count in `[0.001, 10000]`, smoothly.

    The log-density of a family with a concentration `a` is a difference of numbers of size
    `a log(a)`: above the ceiling float32 has no digits left of it.

    Args:
        raw: unconstrained parameters, a float tensor of any shape.

    Returns:
        The concentration, with the shape and dtype of `raw`.

    Example:
        >>> [f"{a:.4g}" for a in positive_concentration([-1e30, 0.0, 1e30]).numpy()]
        ['0.001', '0.6941', '1e+04']
    """
    return positive_scale(raw, CONCENTRATION_FLOOR, CONCENTRATION_CEILING)


def smooth_clip(raw: Any, low: float, high: float) -> tf.Tensor:
    """Bounds a logarithm: `raw` between the bounds, and a gradient that fades beyond them.

        clipped = log(exp(raw) + exp(low)) - log(1 + exp(raw - high))

    Both bounds are limits, whatever is between them, and the slope is
    `sigmoid(raw - low) - sigmoid(raw - high)`, in [0, 1].

    Sixteen away from both bounds the result is `raw` to float32 precision.

    Args:
        raw: unconstrained logarithms, a float tensor of any shape.
        low: the lower bound.
        high: the upper bound.

    Returns:
        A tensor with the shape and dtype of `raw`.

    Example:
        >>> [f"{y:.3f}" for y in smooth_clip([-1e30, -2.0, 2.0, 1e30], -7.0, 7.0).numpy()]
        ['-7.000', '-1.993', '1.993', '7.000']
    """

    # Beyond this the slope is zero in float32, and the difference below would lose its digits.
    raw = tf.minimum(tf.convert_to_tensor(raw), high + _FADED)
    rise = raw - low
    above_low = tf.maximum(raw, low) + tf.math.log1p(tf.exp(-tf.maximum(rise, -rise)))
    # Only rounding can be outside the bounds.
    return tf.clip_by_value(above_low - softplus(raw - high), low, high)
