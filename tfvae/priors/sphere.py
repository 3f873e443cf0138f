"""The uniform prior over directions, which goes with von Mises-Fisher posteriors."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.priors.base import Prior
from tfvae.priors.normal import draw_standard_normal


@keras.saving.register_keras_serializable(package="tfvae")
class SphericalUniform(Prior):
    """The uniform distribution over the unit vectors of d dimensions.

    The divergence of `tfvae.layers.VonMisesFisher` from it has a closed form.

    Args:
        event_shape: the number of dimensions d, at least 2.
        **kwargs: `name`, `dtype`.

    Raises:
        ValueError: if a code is not a vector of at least 2 elements.

    Example:
        >>> from tfvae import random
        >>> z = SphericalUniform(3).draw(random.seeds(0, 2))
        >>> tf.norm(z, axis=1).numpy().round(4).tolist()
        [1.0, 1.0]

    Reference:
        Davidson, Falorsi, De Cao, Kipf and Tomczak (2018), Hyperspherical Variational
        Auto-Encoders, arXiv:1804.00891.
    """

    def __init__(self, event_shape: Any, **kwargs: Any) -> None:
        super().__init__(event_shape, **kwargs)
        if len(self.event_shape) != 1 or self.event_shape[0] < 2:
            raise ValueError(
                "The codes on a sphere are vectors of at least 2 elements. "
                f"Received: event_shape={event_shape!r}"
            )

    def distribution(self) -> tfd.Distribution:
        return tfd.SphericalUniform(self.event_shape[0], dtype=tf.as_dtype(self.compute_dtype))

    def draw(self, row_seeds: Any) -> tf.Tensor:
        noise = draw_standard_normal(row_seeds, self.event_shape, self.compute_dtype)
        return tf.math.l2_normalize(noise, axis=-1)
