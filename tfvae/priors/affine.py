"""A prior that was made in other units, or in another shape, than the codes are in."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfvae.priors.base import Prior


@keras.saving.register_keras_serializable(package="tfvae")
class Affine(Prior):
    """Another prior, moved and scaled: z = shift + scale * u, u ~ base, so that

        log p(z) = log p_base((z - shift) / scale) - sum log scale.

    A density that was fitted to standardised codes becomes one of the codes themselves. Shift and
    scale are weights that are not trained; what the base learns still is. The divergence from it is
    estimated from draws.

    Args:
        base: a layer of `tfvae.priors`, of as many elements.
        event_shape: shape of one code; that of `base` if `None`, and otherwise u is reshaped.
        shift: of each element, `event_shape`; zeros if `None`.
        scale: of each element, positive, `event_shape`; ones if `None`.
        **kwargs: `name`, `dtype`, `trainable`.

    Raises:
        TypeError: if `base` is not a prior.
        ValueError: if the base has another number of elements, or the shift or scale another shape
            than a code, is not finite, or is not positive where it must be.

    Example:
        >>> from tfvae.priors import StandardNormal
        >>> prior = Affine(StandardNormal(2), shift=[1.0, 0.0], scale=[2.0, 1.0])
        >>> [round(float(v), 4) for v in prior().prob([[1.0, 0.0], [3.0, 0.0]])]
        [0.0796, 0.0483]
    """

    def __init__(
        self,
        base: Prior,
        event_shape: Any = None,
        shift: Any = None,
        scale: Any = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(base, Prior):
            raise TypeError(f"`base` must be a layer of `tfvae.priors`. Received: {base!r}")
        super().__init__(base.event_shape if event_shape is None else event_shape, **kwargs)
        if math.prod(base.event_shape) != math.prod(self.event_shape):
            raise ValueError(
                "A code must have as many elements as one of `base`. Received: "
                f"event_shape={self.event_shape}, base of shape {base.event_shape}"
            )
        self.base = base
        self.shift = self._constant("shift", shift, 0.0)
        self.scale = self._constant("scale", scale, 1.0)

    def _constant(self, name: str, values: Any, default: float) -> keras.Variable:
        given = np.full(self.event_shape, default) if values is None else np.asarray(values, float)
        if given.shape != self.event_shape or not np.isfinite(given).all():
            raise ValueError(
                f"`{name}` must be finite numbers of shape {self.event_shape}. "
                f"Received: {name} of shape {given.shape}"
            )
        if name == "scale" and not (given > 0).all():
            raise ValueError(f"`scale` must be positive. Received: {given.min():g}")
        return self.add_weight(
            shape=self.event_shape,
            initializer=lambda shape, dtype: keras.ops.convert_to_tensor(given, dtype),
            trainable=False,
            autocast=False,
            name=name,
        )

    def attach(self, encoder: keras.layers.Layer, data_shape: tuple[int, ...]) -> None:
        self.base.attach(encoder, data_shape)

    def distribution(self) -> tfd.Distribution:
        shift, scale = tf.convert_to_tensor(self.shift), tf.convert_to_tensor(self.scale)
        steps: list[tfb.Bijector] = [tfb.Shift(shift), tfb.Scale(scale)]
        if self.base.event_shape != self.event_shape:
            steps.append(tfb.Reshape(self.event_shape, self.base.event_shape))
        return tfd.TransformedDistribution(self.base.distribution(), tfb.Chain(steps))

    def draw(self, row_seeds: Any) -> tf.Tensor:
        u = self.base.draw(row_seeds)
        if self.base.event_shape != self.event_shape:
            u = tf.reshape(u, [-1, *self.event_shape])
        return tf.convert_to_tensor(self.shift) + tf.convert_to_tensor(self.scale) * u

    def get_config(self) -> dict[str, Any]:
        # The shift and the scale are weights: a loaded prior gets them from the file.
        return {**super().get_config(), "base": keras.saving.serialize_keras_object(self.base)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Affine:
        return cls(**{**config, "base": keras.saving.deserialize_keras_object(config["base"])})
