"""A distribution layer from any function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.layers.distribution_layer import (
    DistributionLayer,
    deserialize_callable,
    serialize_callable,
)


@keras.saving.register_keras_serializable(package="tfvae")
class DistributionLambda(DistributionLayer):
    """Outputs the distribution that a function makes of the layer's input.

    A Keras layer or model may be the function: its weights are then seen, trained and saved. A
    function that closes over variables keeps them from the model.

    Args:
        make_distribution_fn: maps the input tensor to a `tfd.Distribution`. To save the model it
            must be registered with `keras.saving.register_keras_serializable`; a lambda trains,
            and is refused when the model is saved.
        convert_to_tensor_fn: how the distribution becomes a tensor; see `Samples` and `STATISTICS`.
        activity_regularizer: its cost in nats, `[B]`; see `tfvae.regularizers`.
        seed: fixes the draws.
        **kwargs: `name`, `dtype`, `trainable`.

    Raises:
        TypeError: if `make_distribution_fn` is not callable, or does not make a distribution.

    Example:
        >>> layer = DistributionLambda(lambda t: tfd.Normal(loc=t, scale=1.0))
        >>> y = layer(tf.zeros([4, 1]))
        >>> isinstance(y, tfd.Normal), tuple(y.shape)
        (True, (4, 1))
    """

    def __init__(
        self,
        make_distribution_fn: Callable[[tf.Tensor], tfd.Distribution],
        convert_to_tensor_fn: Any = tfd.Distribution.sample,
        activity_regularizer: Any = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        make_distribution_fn = deserialize_callable(make_distribution_fn)
        if not callable(make_distribution_fn):
            raise TypeError(
                "`make_distribution_fn` must be a function from a tensor to a "
                f"`tfd.Distribution`. Received: {make_distribution_fn!r}"
            )
        super().__init__({}, convert_to_tensor_fn, activity_regularizer, seed, **kwargs)
        self.make_distribution_fn = make_distribution_fn

    @staticmethod
    def new(
        params: Any, make_distribution_fn: Callable[[tf.Tensor], tfd.Distribution]
    ) -> tfd.Distribution:
        """Makes the plain distribution."""
        return make_distribution_fn(params)

    def make_distribution(self, params: tf.Tensor) -> tfd.Distribution:
        return self.new(params, self.make_distribution_fn)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "make_distribution_fn": serialize_callable(
                self.make_distribution_fn, "make_distribution_fn"
            ),
        }
