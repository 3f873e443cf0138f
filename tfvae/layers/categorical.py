"""Categories: one out of several, as a number or as a one-hot vector."""

from __future__ import annotations

from typing import Any

import keras
from tensorflow_probability import distributions as tfd

from tfvae.distributions import Categorical, OneHotCategoricalMixture
from tfvae.layers.distribution_layer import DistributionLayer
from tfvae.layers.parameters import (
    event_shape_tuple,
    positive_integer,
    split_mixture,
    split_parameters,
)
from tfvae.layers.parameters import event_size as size_of


@keras.saving.register_keras_serializable(package="tfvae")
class OneHotCategorical(DistributionLayer):
    """A one-hot vector, from logits `[..., event_size]`.

    Support: the one-hot vectors; `validate_args` refuses other data. A draw has no gradient to the
    logits.

    Args:
        event_size: the number of categories.
        convert_to_tensor_fn: how the distribution becomes a tensor.
        sample_dtype: dtype of draws and of data; that of the logits if `None`.
        validate_args: whether TFP checks parameters and data at every call.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.

    Example:
        >>> p = OneHotCategorical(4)(tf.zeros([3, 4]))
        >>> p.mean()[0].numpy().tolist()
        [0.25, 0.25, 0.25, 0.25]
    """

    support = (0.0, 1.0)

    def __init__(
        self,
        event_size: int,
        convert_to_tensor_fn: Any = tfd.Distribution.sample,
        sample_dtype: Any = None,
        validate_args: bool = False,
        **kwargs: Any,
    ) -> None:
        arguments = {
            "event_size": positive_integer(event_size, "event_size"),
            "sample_dtype": sample_dtype,
            "validate_args": validate_args,
        }
        super().__init__(arguments, convert_to_tensor_fn, **kwargs)

    @staticmethod
    def new(
        params: Any,
        event_size: int,
        dtype: Any = None,
        validate_args: bool = False,
        name: str | None = None,
    ) -> tfd.OneHotCategorical:
        """Makes the distribution from logits `[..., event_size]`."""
        (logits,) = split_parameters(params, event_size)
        return tfd.OneHotCategorical(
            logits,
            dtype=dtype or logits.dtype,
            validate_args=validate_args,
            name=name or "OneHotCategorical",
        )

    @staticmethod
    def params_size(event_size: int, name: str | None = None) -> int:
        """Number of parameters: a logit for each category."""
        return positive_integer(event_size, "event_size")


@keras.saving.register_keras_serializable(package="tfvae")
class CategoricalMixtureOfOneHotCategorical(DistributionLayer):
    """A mixture of one-hot vectors, from `[..., num_components * (1 + event_size)]`.

    The parameters are the logits of the components, followed by those of the categories, component
    by component. `log_mean()` of the distribution gives the log-probability of each category.
    Support: the one-hot vectors; `validate_args` refuses other data.

    Args:
        event_size: the number of categories.
        num_components: the number of components.
        convert_to_tensor_fn: how the distribution becomes a tensor.
        sample_dtype: dtype of draws and of data; that of the logits if `None`.
        validate_args: whether TFP checks parameters and data at every call.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.

    Example:
        >>> p = CategoricalMixtureOfOneHotCategorical(4, num_components=2)(tf.zeros([3, 10]))
        >>> p.mean()[0].numpy().tolist()
        [0.25, 0.25, 0.25, 0.25]
    """

    support = (0.0, 1.0)

    def __init__(
        self,
        event_size: int,
        num_components: int,
        convert_to_tensor_fn: Any = tfd.Distribution.sample,
        sample_dtype: Any = None,
        validate_args: bool = False,
        **kwargs: Any,
    ) -> None:
        arguments = {
            "event_size": positive_integer(event_size, "event_size"),
            "num_components": positive_integer(num_components, "num_components"),
            "sample_dtype": sample_dtype,
            "validate_args": validate_args,
        }
        super().__init__(arguments, convert_to_tensor_fn, **kwargs)

    @staticmethod
    def new(
        params: Any,
        event_size: int,
        num_components: int,
        dtype: Any = None,
        validate_args: bool = False,
        name: str | None = None,
    ) -> OneHotCategoricalMixture:
        """Makes the distribution from `[..., num_components * (1 + event_size)]`."""
        logits, components = split_mixture(params, num_components)
        return OneHotCategoricalMixture(
            tfd.Categorical(logits=logits, validate_args=validate_args),
            OneHotCategorical.new(components, event_size, dtype, validate_args),
            validate_args=validate_args,
            name=name or "CategoricalMixtureOfOneHotCategorical",
        )

    @staticmethod
    def params_size(event_size: int, num_components: int, name: str | None = None) -> int:
        """Number of parameters: a logit for each component and for each of its categories."""
        num_components = positive_integer(num_components, "num_components")
        return num_components * (1 + OneHotCategorical.params_size(event_size))


@keras.saving.register_keras_serializable(package="tfvae")
class IndependentCategorical(DistributionLayer):
    """Independent categories, from logits `[..., event_size * num_categories]`.

    The logits of an element lie side by side, as the channels of a pixel do: reshaped to
    `[..., *event_shape, num_categories]`. Support: the numbers 0 to `num_categories - 1`, as whole
    numbers or as floats; `validate_args` refuses other data. There is no mean: `"mode"` stands for
    the distribution where a draw would not do.

    Args:
        num_categories: the number of categories, at least 2.
        event_shape: shape of an event, such as `(28, 28, 1)`.
        convert_to_tensor_fn: how the distribution becomes a tensor.
        sample_dtype: dtype of draws and of data; that of the logits if `None`, so that Keras
            hands the distribution to a loss unchanged.
        validate_args: whether parameters and data are checked at every call.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.

    Raises:
        ValueError: if `num_categories` is not an integer of at least 2.

    Example:
        >>> p = IndependentCategorical(4, event_shape=2)(tf.zeros([3, 8]))
        >>> p.prob([[0.0, 3.0]] * 3).numpy().tolist()
        [0.0625, 0.0625, 0.0625]
    """

    def __init__(
        self,
        num_categories: int,
        event_shape: Any = (),
        convert_to_tensor_fn: Any = tfd.Distribution.sample,
        sample_dtype: Any = None,
        validate_args: bool = False,
        **kwargs: Any,
    ) -> None:
        arguments = {
            "num_categories": positive_integer(num_categories, "num_categories", least=2),
            "event_shape": event_shape_tuple(event_shape),
            "sample_dtype": sample_dtype,
            "validate_args": validate_args,
        }
        super().__init__(arguments, convert_to_tensor_fn, **kwargs)
        self.support = (0.0, num_categories - 1.0)

    @staticmethod
    def new(
        params: Any,
        num_categories: int,
        event_shape: Any = (),
        dtype: Any = None,
        validate_args: bool = False,
        name: str | None = None,
    ) -> tfd.Independent:
        """Makes the distribution from logits `[..., event_size * num_categories]`."""
        event_shape = event_shape_tuple(event_shape)
        (logits,) = split_parameters(params, (*event_shape, num_categories))
        return tfd.Independent(
            Categorical(logits, dtype=dtype or logits.dtype, validate_args=validate_args),
            reinterpreted_batch_ndims=len(event_shape),
            validate_args=validate_args,
            name=name or "IndependentCategorical",
        )

    @staticmethod
    def params_size(num_categories: int, event_shape: Any = (), name: str | None = None) -> int:
        """Number of parameters: a logit for each category of each element."""
        return positive_integer(num_categories, "num_categories", least=2) * size_of(event_shape)
