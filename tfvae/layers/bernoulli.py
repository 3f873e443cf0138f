"""Binary data, such as binarised images."""

from __future__ import annotations

from typing import Any

import keras
from tensorflow_probability import distributions as tfd

from tfvae.distributions.bernoulli import Bernoulli
from tfvae.layers.distribution_layer import DistributionLayer
from tfvae.layers.parameters import event_shape_tuple, event_size, split_parameters


@keras.saving.register_keras_serializable(package="tfvae")
class IndependentBernoulli(DistributionLayer):
    """Independent Bernoulli elements, from logits `[..., event_size]`.

    Args:
        event_shape: shape of an event, such as `(28, 28, 1)`.
        convert_to_tensor_fn: how the distribution becomes a tensor.
        sample_dtype: dtype of draws and of data; that of the logits if `None`, so that Keras
            hands the distribution to a loss unchanged.
        validate_args: whether TFP checks parameters and data at every call.
        activity_regularizer: a cost in nats, `[B]`.
        seed: fixes the draws.
        **kwargs: `name`, `dtype`, `trainable`.

    Example:
        >>> p = IndependentBernoulli((2, 2))(tf.zeros([3, 4]))
        >>> tuple(p.log_prob(tf.ones([3, 2, 2])).shape), round(float(p.mean()[0, 0, 0]), 3)
        ((3,), 0.5)
    """

    support = (0.0, 1.0)

    def __init__(
        self,
        event_shape: Any = (),
        convert_to_tensor_fn: Any = tfd.Distribution.sample,
        sample_dtype: Any = None,
        validate_args: bool = False,
        **kwargs: Any,
    ) -> None:
        arguments = {
            "event_shape": event_shape_tuple(event_shape),
            "sample_dtype": sample_dtype,
            "validate_args": validate_args,
        }
        super().__init__(arguments, convert_to_tensor_fn, **kwargs)

    @staticmethod
    def new(
        params: Any,
        event_shape: Any = (),
        dtype: Any = None,
        validate_args: bool = False,
        name: str | None = None,
    ) -> tfd.Independent:
        """Makes the distribution from logits `[..., event_size]`."""
        (logits,) = split_parameters(params, event_shape)
        elements = Bernoulli(
            logits=logits, dtype=dtype or logits.dtype, validate_args=validate_args
        )
        distribution = tfd.Independent(
            elements,
            reinterpreted_batch_ndims=len(event_shape_tuple(event_shape)),
            validate_args=validate_args,
            name=name or "IndependentBernoulli",
        )
        # What `tfd.Bernoulli.logits` and `.probs` read, so that they convert this to a tensor too.
        distribution._logits, distribution._probs = elements.logits, None
        return distribution

    @staticmethod
    def params_size(event_shape: Any = (), name: str | None = None) -> int:
        """Number of parameters: a logit for each element."""
        return event_size(event_shape)
