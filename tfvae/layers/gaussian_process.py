"""Distributions over functions: regression whose uncertainty grows away from the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfvae.distributions import softplus
from tfvae.layers.distribution_layer import (
    DistributionLayer,
    deserialize_callable,
    serialize_callable,
)
from tfvae.layers.parameters import event_shape_tuple, positive_integer

# The softplus of -10 is 4.5e-5.
_SMALL_NOISE = keras.initializers.Constant(-10.0)


@keras.saving.register_keras_serializable(package="tfvae")
class VariationalGaussianProcess(DistributionLayer):
    """A sparse variational Gaussian process at the points that come in, `[N, features]`.

    The batch is one draw of a function at N points, so it is part of the event, `[N, event_size]`,
    and the batch shape is empty. Train with `loss=lambda y, p: p.variational_loss(y, kl_weight)`,
    where `kl_weight` is the size of a batch over the number of training examples: minus the
    evidence lower bound, which counts the divergence of the inducing variables itself.

    Args:
        num_inducing_points: the number of inducing points M.
        kernel_provider: a Keras layer with a property `kernel` that makes a
            `tfp.math.psd_kernels.PositiveSemidefiniteKernel` of its weights, anew at every access,
            so that gradients reach them. They are part of this layer, seen, trained and saved.
        event_shape: shape of the function's value, a vector such as `(1,)`: independent processes,
            each with inducing points of its own.
        inducing_index_points_initializer: initialiser of the inducing points,
            `[*event_shape, M, features]`; Keras' default if `None`. Training is sensitive to it:
            put them near the data, apart from each other.
        unconstrained_observation_noise_variance_initializer: initialiser of the weight whose
            softplus is the variance of the noise; no noise if `None`. The default starts at 4.5e-5.
        variational_inducing_observations_scale_initializer: initialiser of the square root of the
            covariance of the inducing variables, `[*event_shape, M, M]`; 1e-5 times the identity if
            `None`.
        mean_fn: a function of the points to the mean; a weight that starts at 0 if `None`. A Keras
            layer is trained with the model.
        jitter: added to the diagonals of matrices before their Cholesky decomposition.
        convert_to_tensor_fn: how the distribution becomes a tensor.
        name: name of the layer.
        **kwargs: `seed`, `dtype` (that of the kernel if it is not given), `trainable`.

    Raises:
        TypeError: if `kernel_provider` is not a Keras layer with a `kernel`.
        ValueError: if `event_shape` is not the shape of a vector, or `num_inducing_points` is not a
            positive integer.

    Example:
        >>> from tensorflow_probability import math as tfm
        >>> class Kernel(keras.layers.Layer):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.raw = self.add_weight(shape=(), initializer="zeros")
        ...     @property
        ...     def kernel(self):
        ...         return tfm.psd_kernels.ExponentiatedQuadratic(tf.nn.softplus(self.raw))
        >>> p = VariationalGaussianProcess(8, Kernel())(tf.zeros([5, 2]))
        >>> tuple(p.mean().shape), tuple(p.variational_loss(tf.zeros([5, 1])).shape)
        ((5, 1), (1,))

    Reference:
        Titsias (2009), Variational Learning of Inducing Variables in Sparse Gaussian Processes,
        AISTATS; Hensman, Fusi and Lawrence (2013), Gaussian Processes for Big Data,
        arXiv:1309.6835, equation 4, for mini-batches.
    """

    def __init__(
        self,
        num_inducing_points: int,
        kernel_provider: Any,
        event_shape: Any = (1,),
        inducing_index_points_initializer: Any = None,
        unconstrained_observation_noise_variance_initializer: Any = _SMALL_NOISE,
        variational_inducing_observations_scale_initializer: Any = None,
        mean_fn: Callable[[tf.Tensor], tf.Tensor] | None = None,
        jitter: float = 1e-6,
        convert_to_tensor_fn: Any = tfd.Distribution.sample,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(kernel_provider, dict):
            kernel_provider = keras.saving.deserialize_keras_object(kernel_provider)
        if not isinstance(kernel_provider, keras.layers.Layer) or not hasattr(
            kernel_provider, "kernel"
        ):
            raise TypeError(
                "`kernel_provider` must be a Keras layer with a property `kernel`. "
                f"Received: {kernel_provider!r}"
            )
        kernel = kernel_provider.kernel
        if kwargs.get("dtype") is None and kernel.dtype is not None:
            kwargs["dtype"] = tf.as_dtype(kernel.dtype).name
        super().__init__({}, convert_to_tensor_fn, name=name, **kwargs)
        get = keras.initializers.get
        self.kernel_provider = kernel_provider
        self.feature_ndims = int(kernel.feature_ndims)
        self.num_inducing_points = positive_integer(num_inducing_points, "num_inducing_points")
        self.event_shape = event_shape_tuple(event_shape)
        if len(self.event_shape) != 1:
            raise ValueError(
                "`event_shape` must be that of a vector, such as (1,): flatten the function's "
                f"value. Received: {event_shape!r}"
            )
        self.inducing_index_points_initializer = get(inducing_index_points_initializer)
        self.noise_initializer = get(unconstrained_observation_noise_variance_initializer)
        self.scale_initializer = get(variational_inducing_observations_scale_initializer)
        self.mean_fn = deserialize_callable(mean_fn)
        self.jitter = float(jitter)

    def build(self, input_shape: Any) -> None:
        m, event_shape = self.num_inducing_points, self.event_shape
        features = tuple(input_shape[-self.feature_ndims :])
        if self.mean_fn is None:
            self.mean = self.add_weight(shape=(), initializer="zeros", name="mean")
        if self.noise_initializer is not None:
            self.raw_noise_variance = self.add_weight(
                shape=(), initializer=self.noise_initializer, name="observation_noise_variance"
            )
        self.inducing_index_points = self.add_weight(
            shape=(*event_shape, m, *features),
            initializer=self.inducing_index_points_initializer,
            name="inducing_index_points",
        )
        self.inducing_loc = self.add_weight(
            shape=(*event_shape, m),
            initializer="zeros",
            name="variational_inducing_observations_loc",
        )
        self.inducing_scale = self.add_weight(
            shape=(*event_shape, m, m),
            initializer=self.scale_initializer or _small_identity,
            name="variational_inducing_observations_scale",
        )
        super().build(input_shape)

    @staticmethod
    def new(
        x: Any,
        kernel_provider: Any,
        event_shape: Any,
        inducing_index_points: Any,
        mean_fn: Any,
        variational_inducing_observations_loc: Any,
        variational_inducing_observations_scale: Any,
        observation_noise_variance: Any,
        jitter: float = 1e-6,
        name: str | None = None,
    ) -> tfd.TransformedDistribution:
        """Makes the distribution of the function's values, `[N, *event_shape]`."""
        process = tfd.VariationalGaussianProcess(
            kernel=kernel_provider.kernel,
            index_points=x,
            inducing_index_points=inducing_index_points,
            variational_inducing_observations_loc=variational_inducing_observations_loc,
            variational_inducing_observations_scale=variational_inducing_observations_scale,
            mean_fn=mean_fn,
            observation_noise_variance=observation_noise_variance,
            jitter=jitter,
        )
        transpose = tfb.Transpose(rightmost_transposed_ndims=2)
        functions = tfd.Independent(process, reinterpreted_batch_ndims=1)
        distribution = tfd.TransformedDistribution(functions, transpose, name=name)

        def variational_loss(y: Any, kl_weight: Any = 1.0) -> tf.Tensor:
            return process.variational_loss(transpose.forward(y), kl_weight=kl_weight)

        distribution.variational_loss = variational_loss
        distribution.surrogate_posterior_kl_divergence_prior = (
            process.surrogate_posterior_kl_divergence_prior
        )
        return distribution

    def make_distribution(self, x: tf.Tensor) -> tfd.TransformedDistribution:
        has_noise = self.noise_initializer is not None
        return self.new(
            x,
            kernel_provider=self.kernel_provider,
            event_shape=self.event_shape,
            inducing_index_points=tf.convert_to_tensor(self.inducing_index_points),
            mean_fn=self.mean_fn or (lambda points: tf.convert_to_tensor(self.mean)),
            variational_inducing_observations_loc=tf.convert_to_tensor(self.inducing_loc),
            variational_inducing_observations_scale=tf.convert_to_tensor(self.inducing_scale),
            observation_noise_variance=softplus(self.raw_noise_variance) if has_noise else 0.0,
            jitter=self.jitter,
        )

    def get_config(self) -> dict[str, Any]:
        serialize = keras.initializers.serialize
        return {
            **super().get_config(),
            "num_inducing_points": self.num_inducing_points,
            "kernel_provider": keras.saving.serialize_keras_object(self.kernel_provider),
            "event_shape": list(self.event_shape),
            "inducing_index_points_initializer": serialize(self.inducing_index_points_initializer),
            "unconstrained_observation_noise_variance_initializer": serialize(
                self.noise_initializer
            ),
            "variational_inducing_observations_scale_initializer": serialize(
                self.scale_initializer
            ),
            "mean_fn": (
                None if self.mean_fn is None else serialize_callable(self.mean_fn, "mean_fn")
            ),
            "jitter": self.jitter,
        }


def _small_identity(shape: Any, dtype: Any = None) -> tf.Tensor:
    return tf.constant(1e-5 * np.broadcast_to(np.eye(shape[-1]), shape), dtype)
