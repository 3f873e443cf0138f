"""TFP's rational-quadratic spline, of operators that every runtime has."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow_probability import bijectors as tfb


class Bin(NamedTuple):
    """What TFP's formulas ask of the bin that a number falls into, by TFP's names."""

    out_of_bounds: tf.Tensor
    x_k: tf.Tensor
    y_k: tf.Tensor
    d_k: tf.Tensor
    d_kp1: tf.Tensor
    h_k: tf.Tensor
    w_k: tf.Tensor
    s_k: tf.Tensor


class RationalQuadraticSpline(tfb.RationalQuadraticSpline):
    """`tfb.RationalQuadraticSpline`, its bins found by comparison.

    TFP looks a bin up by `tf.searchsorted`, which TFLite lacks: no device could draw from a prior
    of splines. Everything else is TFP's.

    Args:
        bin_widths: as TFP's: positive, `[..., K]`.
        bin_heights: as TFP's: positive, `[..., K]`, with the sum of the widths.
        knot_slopes: as TFP's: slopes at the knots inside, positive, `[..., K - 1]`.
        range_min: where the first bin starts; outside of the bins the spline is the identity.
        validate_args: whether TFP checks the parameters.
        name: name of the bijector.

    Example:
        >>> spline = RationalQuadraticSpline([1.0, 3.0], [2.0, 2.0], [1.0], range_min=-2.0)
        >>> spline.forward([-1.0, 3.0]).numpy().tolist()
        [0.0, 3.0]
    """

    def _compute_shared(self, x: Any = None, y: Any = None) -> Bin:
        left = tf.convert_to_tensor(self.range_min)
        widths, heights = (
            tf.convert_to_tensor(sizes) for sizes in (self.bin_widths, self.bin_heights)
        )
        slopes = tf.convert_to_tensor(self.knot_slopes)
        ends = tf.ones_like((widths + heights)[..., :1])
        inside = slopes + tf.zeros_like((widths + heights)[..., 1:])
        slopes = tf.concat([ends, inside, ends], axis=-1)
        x_starts = left + tf.cumsum(widths, axis=-1, exclusive=True)
        y_starts = left + tf.cumsum(heights, axis=-1, exclusive=True)
        value, starts, sizes = (x, x_starts, widths) if y is None else (y, y_starts, heights)
        end = starts[..., -1] + sizes[..., -1]
        out_of_bounds = (value <= left) | (value >= end)
        value = tf.where(out_of_bounds, left, value)[..., tf.newaxis]
        # 1 for the bins whose start the value has reached; the difference marks its own.
        reached = tf.cast(value >= starts[..., 1:], sizes.dtype)
        first = tf.ones_like(reached[..., :1])
        own = tf.concat([first, reached], -1) - tf.concat([reached, tf.zeros_like(first)], -1)

        def of_own(values: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(own * values, axis=-1)

        width, height = of_own(widths), of_own(heights)
        return Bin(
            out_of_bounds,
            x_k=of_own(x_starts),
            y_k=of_own(y_starts),
            d_k=of_own(slopes[..., :-1]),
            d_kp1=of_own(slopes[..., 1:]),
            h_k=height,
            w_k=width,
            s_k=height / width,
        )
