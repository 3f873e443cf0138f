"""Layers that draw random numbers: the state of the draws is a weight.

A layer owns `seed_state`, an ordinary (untrained) weight that holds a key and the count of draws so
far. A draw is a pure function of it, so a model that is saved and loaded, or a training that is
resumed, goes on with the noise it would have had. (Keras' `SeedGenerator` is not saved with its
layer.) Under a distribution strategy the replica's number is folded in: each replica has noise of
its own.
"""

from __future__ import annotations

import random
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
