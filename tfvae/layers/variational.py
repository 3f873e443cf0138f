"""The layer with a random kernel and bias, of which every Bayesian layer but one is made.

A layer is one estimator of `tfvae.layers.estimators` times one operation of `tfvae.layers.linear`,
with a `VariationalWeight` for the kernel and one for the bias. (`DenseVariational`, whose kernel
and bias have one joint posterior, stands beside it.)
"""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions import float_dtype
from tfvae.layers.estimators import Estimator
from tfvae.layers.linear import LinearOperation
from tfvae.layers.seeded import SeededLayer
from tfvae.layers.variational_weight import VariationalWeight


def posterior_dtype(layer: keras.layers.Layer) -> str:
    """The dtype of a layer's posteriors: that of its weights, but float32 at least."""
    return layer.variable_dtype if tf.as_dtype(layer.variable_dtype).size >= 4 else float_dtype()


class VariationalLayer(SeededLayer):
    """Abstract base of the linear layers with a random kernel and bias.

    A final class names its `estimator`.

    Args:
        operation: the linear operation.
        kernel: the random kernel.
        bias: the random bias, which may not exist.
        activation: applied to the output.
        activity_regularizer: a Keras regulariser of the output.
        seed: fixes the draws.
        **kwargs: `name`, `dtype`, `trainable`.
    """

    estimator: Estimator

    def __init__(
        self,
        operation: LinearOperation,
        kernel: VariationalWeight,
        bias: VariationalWeight,
        activation: Any = None,
        activity_regularizer: Any = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, activity_regularizer=activity_regularizer, **kwargs)
        if not kernel.exists:
            raise ValueError(
                "`kernel_posterior_fn` must be a function that makes the posterior of the kernel, "
                "such as `default_mean_field_normal_fn()`. Received: None"
            )
        self.operation = operation
        self.activation = keras.activations.get(activation)
        self._kernel = kernel
        self._bias = bias

    def build(self, input_shape: Any) -> None:
        dtype, kernel_shape = posterior_dtype(self), self.operation.kernel_shape(input_shape)
        self._kernel.build(self.add_weight, dtype, kernel_shape)
        self._bias.build(self.add_weight, dtype, (self.operation.outputs,))
        channel_axis = self.operation.channel_axis
        self.input_spec = keras.layers.InputSpec(
            min_ndim=2, axes={channel_axis: input_shape[channel_axis]}
        )
        self.built = True

    def call(self, inputs: Any) -> tf.Tensor:
        inputs = tf.cast(tf.convert_to_tensor(inputs), self.compute_dtype)
        posterior = self._kernel.posterior()
        draw = partial(self._kernel.draw, next_seed=self.next_seed)
        outputs, kernel = self.estimator(inputs, posterior, self.operation, draw, self.next_seed)
        self._add_divergence(self._kernel, posterior, kernel)
        if self._bias.exists:
            posterior = self._bias.posterior()
            bias = self._bias.draw(posterior, self.next_seed)
            outputs += self.operation.broadcast_bias(tf.cast(bias, outputs.dtype))
            self._add_divergence(self._bias, posterior, bias)
        return self.activation(outputs)

    def _add_divergence(
        self, weight: VariationalWeight, posterior: tfd.Distribution, draw: tf.Tensor
    ) -> None:
        divergence = weight.divergence(posterior, draw)
        if divergence is not None:
            self.add_loss(divergence)

    @property
    def kernel_posterior(self) -> tfd.Distribution:
        """q(kernel), made of the weights as they are now."""
        return self._kernel.posterior()

    @property
    def kernel_prior(self) -> tfd.Distribution | None:
        """p(kernel), if there is one."""
        return self._kernel.prior()

    @property
    def bias_posterior(self) -> tfd.Distribution | None:
        """q(bias), if there is a bias."""
        return self._bias.posterior()

    @property
    def bias_prior(self) -> tfd.Distribution | None:
        """p(bias), if there is one."""
        return self._bias.prior()

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return self.operation.output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **self.operation.get_config(),
            "activation": keras.activations.serialize(self.activation),
            **self._kernel.get_config(),
            **self._bias.get_config(),
        }
