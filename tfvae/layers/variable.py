"""A weight as the output of a layer: parameters that depend on no input."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfvae.distributions import float_dtype


@keras.saving.register_keras_serializable(package="tfvae")
class VariableLayer(keras.layers.Layer):
    """Returns a weight, whatever its input: f(x) = c.

    Before a distribution layer it makes a distribution with trainable parameters: a prior, a
    posterior over the weights of `DenseVariational`, a fit to data without covariates. The output
    has the shape of the weight; it has no batch dimension.

    Args:
        shape: shape of the weight and of the output: an integer or a sequence of integers.
        dtype: dtype of both; float32 under a half-precision policy, if `None`.
        activation: applied to the weight.
        initializer: initialises the weight, for example `BlockwiseInitializer`.
        regularizer: its value for the weight is added to the model's loss.
        constraint: applied to the weight after each step of the optimiser.
        **kwargs: `name`, `trainable`.

    Raises:
        ValueError: if `shape` is not a scalar or vector of positive integers.

    Example:
        >>> layer = VariableLayer([2, 3], initializer="ones")
        >>> layer(0.0).numpy().tolist(), len(layer.trainable_weights)
        ([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]], 1)
    """

    def __init__(
        self,
        shape: Any,
        dtype: Any = None,
        activation: Any = None,
        initializer: Any = "zeros",
        regularizer: Any = None,
        constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        dims = np.asarray(shape)
        is_integral = dims.size == 0 or np.issubdtype(dims.dtype, np.integer)
        if dims.ndim > 1 or not is_integral or np.any(dims < 1):
            raise ValueError(
                "`shape` must be an integer or a sequence of integers, each at least 1. "
                f"Received: {shape!r}"
            )
        if isinstance(dtype, tf.DType):
            dtype = dtype.name
        super().__init__(dtype=float_dtype(dtype), **kwargs)
        # `layer(0.0)` is TFP's idiom for a layer that needs no input.
        self._allow_non_tensor_positional_args = True
        self.weight_shape = tuple(dims.reshape(-1).tolist())
        self.activation = keras.activations.get(activation)
        self.initializer = keras.initializers.get(initializer)
        self.regularizer = keras.regularizers.get(regularizer)
        self.constraint = keras.constraints.get(constraint)
        # Made here and not in `build`: there is no input whose shape it could depend on.
        self.constant = self.add_weight(
            shape=self.weight_shape,
            initializer=self.initializer,
            regularizer=self.regularizer,
            constraint=self.constraint,
            autocast=False,
            name="constant",
        )

    def build(self, input_shape: Any = None) -> None:
        self.built = True

    def call(self, inputs: Any) -> tf.Tensor:
        del inputs
        return self.activation(tf.convert_to_tensor(self.constant))

    def compute_output_shape(self, input_shape: Any) -> tuple[int, ...]:
        return self.weight_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "shape": list(self.weight_shape),
            "activation": keras.activations.serialize(self.activation),
            "initializer": keras.initializers.serialize(self.initializer),
            "regularizer": keras.regularizers.serialize(self.regularizer),
            "constraint": keras.constraints.serialize(self.constraint),
        }
