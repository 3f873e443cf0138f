"""A distribution layer from any function."""

from __future__ import annotations

import functools
import inspect
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

    **What is trained.** A Keras layer or model may be the function, or be used by it: one that the
    function closes over or finds among the globals of its module, its bound or default arguments
    (`functools.partial`) or its object (a method of a layer), and a `keras.Variable` likewise, are
    seen, trained and saved. Not seen is what the function reaches in another way: in a list, as an
    attribute, or through a second function. A `tf.Variable` is never seen: Keras 3 has its own.

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
        self.used_by_fn = used_layers_and_variables(make_distribution_fn)

    @staticmethod
    def new(
        params: Any, make_distribution_fn: Callable[[tf.Tensor], tfd.Distribution]
    ) -> tfd.Distribution:
        """Makes the plain distribution."""
        distribution = make_distribution_fn(params)
        if not isinstance(distribution, tfd.Distribution):
            raise TypeError(
                "`make_distribution_fn` must return a `tfd.Distribution`. "
                f"Received: {distribution!r} from {make_distribution_fn!r}"
            )
        return distribution

    def make_distribution(self, params: tf.Tensor) -> tfd.Distribution:
        return self.new(params, self.make_distribution_fn)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "make_distribution_fn": serialize_callable(
                self.make_distribution_fn, "make_distribution_fn"
            ),
        }


def used_layers_and_variables(fn: Callable[..., Any]) -> list[keras.layers.Layer | keras.Variable]:
    """Returns the Keras layers and variables that a Python function names or has bound.

    Example:
        >>> dense = keras.layers.Dense(2)
        >>> used_layers_and_variables(lambda t: tfd.Normal(dense(t), 1.0)) == [dense]
        True
    """
    values = []
    while isinstance(fn, functools.partial):
        values += [*fn.args, *fn.keywords.values()]
        fn = fn.func
    if inspect.ismethod(fn):
        values.append(fn.__self__)
        fn = fn.__func__
    if inspect.isfunction(fn):
        names = inspect.getclosurevars(fn)
        values += [*names.nonlocals.values(), *names.globals.values(), *(fn.__defaults__ or ())]
    return [value for value in values if isinstance(value, (keras.layers.Layer, keras.Variable))]
