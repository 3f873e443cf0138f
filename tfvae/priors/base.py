"""What a prior is: a Keras layer without an input, so that what it learns is seen and saved.

Calling a prior gives its distribution; `draw` samples it from seeds, one a row, with
`tfvae.random`, so that a seed means the same code in Python, TF Serving and TFLite.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions import float_dtype


class Prior(keras.layers.Layer):
    """Abstract base of priors.

    Args:
        event_shape: shape of one code, such as `(16,)`; an integer is the size of a vector.
        **kwargs: `name`, `dtype`, `trainable` as for every Keras layer.
    """

    def __init__(self, event_shape: Any, **kwargs: Any) -> None:
        super().__init__(dtype=float_dtype(kwargs.pop("dtype", None)), **kwargs)
        shape = (event_shape,) if isinstance(event_shape, int) else tuple(event_shape)
        if not shape or not all(isinstance(d, int) and d >= 1 for d in shape):
            raise ValueError(
                "`event_shape` of a prior must be a size or a tuple of sizes, each at least 1. "
                f"Received: {event_shape!r}"
            )
        self.event_shape = shape
        self.built = True

    def __call__(self) -> tfd.Distribution:
        # `Layer.__call__` needs an input; a prior has none, and its weights ask for no autocast.
        return self.distribution()

    @abstractmethod
    def distribution(self) -> tfd.Distribution:
        """The distribution p(z), with batch shape `[]` and event shape `event_shape`."""

    @abstractmethod
    def draw(self, row_seeds: Any) -> tf.Tensor:
        """Samples p(z) from seeds, int32 `[N, 2]`: returns `[N, *event_shape]`."""

    def attach(self, encoder: keras.layers.Layer, data_shape: tuple[int, ...]) -> None:
        """Tells the prior of the model that it is part of; most need to know nothing.

        Args:
            encoder: the encoder, from data to a posterior.
            data_shape: shape of an example.
        """

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "event_shape": list(self.event_shape)}
