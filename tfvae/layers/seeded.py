"""Layers that draw random numbers: the state of the draws is a weight.

A layer owns `seed_state`, an ordinary (untrained) weight that holds a key and the count of draws so
far. A draw is a pure function of it, so a model that is saved and loaded, or a training that is
resumed, goes on with the noise it would have had. (Keras' `SeedGenerator` is not saved with its
layer.) Under a distribution strategy the replica's number is folded in: each replica has noise of
its own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf


class SeededLayer(keras.layers.Layer):
    """Abstract base of the layers that draw random numbers.

    Args:
        seed: an integer that fixes the draws; taken from Python's generator, which
            `keras.utils.set_random_seed` sets, if `None`.
        **kwargs: as for every Keras layer.
    """

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = random.randint(1, 2**31 - 1) if seed is None else int(seed)
        self.seed_state = self.add_weight(
            shape=(2,),
            initializer=lambda shape, dtype: keras.ops.convert_to_tensor([self.seed, 0], dtype),
            dtype="int64",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
            name="seed_state",
        )

    def next_seed(self) -> tf.Tensor:
        """Returns a new seed, int32 `[2]`, for TFP's stateless samplers, and counts it."""
        key, count = tf.unstack(tf.convert_to_tensor(self.seed_state))
        self.seed_state.assign(tf.stack([key, count + 1]))
        seed = tf.cast(tf.stack([key, count]), tf.int32)
        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            seed = tf.random.experimental.stateless_fold_in(
                seed, tf.cast(context.replica_id_in_sync_group, tf.int32)
            )
        return seed

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


@contextmanager
def unchanged_draws(model: keras.layers.Layer) -> Iterator[None]:
    """Takes back, at the end, what the states of a model's random numbers have counted in it.

    An encoder draws whenever it is called: what looks at a model while it trains would otherwise
    change the noise of every step after.

    Args:
        model: a model or layer; its whole-numbered variables that are not trained, seeds of
            `SeededLayer` and of Keras among them, are as before when the context is left.

    Example:
        >>> from tfvae.layers import MultivariateNormalDiag
        >>> layer = MultivariateNormalDiag(2, seed=1)
        >>> with unchanged_draws(layer):
        ...     first = layer(tf.zeros([3, 4])).numpy()
        >>> bool((first == layer(tf.zeros([3, 4])).numpy()).all())
        True
    """
    kept = [
        (variable, variable.numpy())
        for variable in model.non_trainable_variables
        if not keras.backend.is_float_dtype(variable.dtype)
    ]
    try:
        yield
    finally:
        for variable, value in kept:
            variable.assign(value)
