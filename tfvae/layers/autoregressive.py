"""A flow on top of a distribution: what comes out has a density, and draws, of any shape."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.common.symbolic_scope import in_symbolic_scope
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfvae.distributions import plain
from tfvae.layers.distribution_layer import DistributionLayer

# Events of up to this size are drawn without a loop, whose gradient XLA cannot compile for a batch
# of unknown size; in larger ones the graph would become too large.
UNROLLED = 64


@keras.saving.register_keras_serializable(package="tfvae")
class AutoregressiveTransform(DistributionLayer):
    """Transforms the distribution that comes in by a masked autoregressive flow.

    With u drawn from the incoming distribution, x = f(u) where

        f^-1(x) = (x - shift(x)) exp(-log_scale(x)),

    and a shift and a log-scale of an element depend on the elements before it. The density of x
    takes one call of the network, a draw takes as many as an event has elements. Support: all
    numbers, or what of them the flow makes of the support of u.

    XLA compiles the gradient of a draw for events of up to 64 elements, and of any size if that of
    the batch is fixed; it compiles the density in any case.

    Args:
        made: a `tfvae.flows.AutoregressiveNetwork` with `params=2`, or another Keras layer with an
            attribute `params` that maps `[..., d]` to `[..., d, 2]` and is autoregressive. It is
            part of this layer: a model sees, trains and saves its weights.
        convert_to_tensor_fn: how the distribution becomes a tensor; it has no closed-form mean.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.

    Raises:
        TypeError: if `made` is not a Keras layer, or if what comes in is not a distribution.
        ValueError: if `made` does not have two outputs for each element.

    Example:
        >>> from tfvae.flows import AutoregressiveNetwork
        >>> from tfvae.layers import MultivariateNormalDiag
        >>> u = MultivariateNormalDiag(2)(tf.zeros([3, 4]))
        >>> x = AutoregressiveTransform(AutoregressiveNetwork(2, hidden_units=[8]))(u)
        >>> tuple(x.shape), tuple(x.log_prob(tf.zeros([3, 2])).shape)
        ((3, 2), (3,))

    Reference:
        Papamakarios, Pavlakou and Murray (2017), Masked Autoregressive Flow for Density Estimation,
        arXiv:1705.07057, equations 3 to 6.
    """

    def __init__(
        self,
        made: Any,
        convert_to_tensor_fn: Any = tfd.Distribution.sample,
        **kwargs: Any,
    ) -> None:
        if isinstance(made, dict):
            made = keras.saving.deserialize_keras_object(made)
        if not isinstance(made, keras.layers.Layer):
            raise TypeError(
                "`made` must be a Keras layer, such as `tfvae.flows.AutoregressiveNetwork`: a "
                f"model does not see the weights of TFP's. Received: {made!r}"
            )
        if getattr(made, "params", None) != 2:
            raise ValueError(
                "`made` must have two outputs for each element, a shift and a log-scale. "
                f"Received: params={getattr(made, 'params', None)!r}"
            )
        super().__init__({}, convert_to_tensor_fn, **kwargs)
        # Keras would cast a distribution of another dtype, which makes a bare tensor of it.
        self._convert_input_args = False
        self.made = made

    def build(self, input_shape: Any) -> None:
        # Inside the loop of a draw it would be too late.
        if not self.made.built:
            self.made.build((None, input_shape[-1]))
        super().build(input_shape)

    @staticmethod
    def new(distribution: tfd.Distribution, made: Any) -> tfd.TransformedDistribution:
        """Makes the transformed distribution."""

        def shift_and_log_scale(x: tf.Tensor) -> list[tf.Tensor]:
            return tf.unstack(made(x), num=2, axis=-1)

        distribution = plain(distribution)
        size = distribution.event_shape[-1]
        flow = tfb.MaskedAutoregressiveFlow(
            shift_and_log_scale, unroll_loop=size is not None and size <= UNROLLED
        )
        return tfd.TransformedDistribution(distribution, flow)

    def make_distribution(self, distribution: Any) -> tfd.TransformedDistribution:
        if not isinstance(distribution, tfd.Distribution):
            if not in_symbolic_scope():
                raise TypeError(
                    "AutoregressiveTransform transforms a distribution: put it behind a "
                    f"distribution layer. Received: {distribution!r}"
                )
            # A functional model is built from placeholders: any distribution of their shape.
            distribution = tfd.MultivariateNormalDiag(tf.cast(distribution, self.compute_dtype))
        return self.new(distribution, self.made)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "made": keras.saving.serialize_keras_object(self.made)}
