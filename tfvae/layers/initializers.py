"""Initialisers of weights that hold several parameters side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tfvae")
class BlockwiseInitializer(keras.initializers.Initializer):
    """Initialises blocks of the last axis, each by an initialiser of its own.

    The parameters of a distribution are often one tensor: locations followed by raw scales.

    Args:
        initializers: initialisers of the blocks, in order: names, instances or functions of
            `(shape, dtype)`.
        sizes: sizes of the blocks along the last axis, in order, each at least 1.
        validate_args: whether to check that each block has the shape that was asked of its
            initialiser, which a function of one's own may miss.

    Raises:
        ValueError: if there are not as many sizes as initialisers, if a size is not a positive
            integer, or, when it is called, if the sizes do not add up to the last axis.

    Example:
        >>> initializer = BlockwiseInitializer(["zeros", keras.initializers.Constant(0.5)], [1, 2])
        >>> initializer((2, 3)).numpy().tolist()
        [[0.0, 0.5, 0.5], [0.0, 0.5, 0.5]]
    """

    def __init__(
        self, initializers: Sequence[Any], sizes: Sequence[int], validate_args: bool = False
    ) -> None:
        sizes = list(sizes)
        if not sizes or len(initializers) != len(sizes):
            raise ValueError(
                "`initializers` and `sizes` must be of the same length, at least 1: a size for "
                f"each block. Received: {len(initializers)} initializers and {len(sizes)} sizes"
            )
        if not all(isinstance(n, (int, np.integer)) and n >= 1 for n in sizes):
            raise ValueError(f"`sizes` must be integers of at least 1. Received: {sizes!r}")
        self.initializers = [keras.initializers.get(each) for each in initializers]
        self.sizes = [int(n) for n in sizes]
        self.validate_args = validate_args

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        """Returns the blocks joined, of `shape`, whose last axis must be `sum(sizes)`."""
        *batch, last = (int(n) for n in shape)
        if last != sum(self.sizes):
            raise ValueError(
                f"The last axis must have the size sum(sizes) = {sum(self.sizes)}. "
                f"Received: shape {(*batch, last)} for sizes {self.sizes}"
            )
        dtype = keras.backend.standardize_dtype(dtype)
        blocks = [
            tf.convert_to_tensor(initializer((*batch, size), dtype=dtype))
            for initializer, size in zip(self.initializers, self.sizes, strict=True)
        ]
        if self.validate_args:
            for block, size, initializer in zip(blocks, self.sizes, self.initializers, strict=True):
                if block.shape != (*batch, size):
                    raise ValueError(
                        f"An initializer must return what is asked of it, shape {(*batch, size)}. "
                        f"Received: shape {tuple(block.shape)} from {initializer!r}"
                    )
        return tf.concat(blocks, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {
            "initializers": [keras.initializers.serialize(each) for each in self.initializers],
            "sizes": self.sizes,
            "validate_args": self.validate_args,
        }
