"""The layer that turns parameters into a distribution, from which every family is made.

A family says which distribution its parameters make (`new`) and how many it needs
(`params_size`); everything else is here, once: drawing the value that the next layer sees, adding
the regulariser of the latent, and the configuration. The random numbers are those of
`tfvae.layers.seeded`.

**Precision.** Densities and divergences overflow in half precision, so these layers compute in
float32 whatever the global dtype policy, unless `dtype` says otherwise.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions import as_tensor_like, float_dtype
from tfvae.layers.seeded import SeededLayer

# The statistics of a distribution that may stand in for a draw, by the name they have in TFP.
STATISTICS = ("sample", "mean", "mode", "stddev", "variance")


@keras.saving.register_keras_serializable(package="tfvae")
class Samples:
    """Converts a distribution to several draws of it: `[S, B, event]`.

    The serialisable form of `lambda d: d.sample(num_samples)`. `Model.predict` joins batches
    along the first axis, which is then that of the draws: give it all the data as one batch
    (`batch_size=len(x)`), or call the model.

    Args:
        num_samples: number of draws `S`, at least 1.

    Raises:
        ValueError: if `num_samples` is not a positive integer.

    Example:
        >>> from tfvae.layers import MultivariateNormalDiag
        >>> q = MultivariateNormalDiag(2, convert_to_tensor_fn=Samples(5))(np.zeros((3, 4)))
        >>> tuple(q.shape), tuple(q.mean().shape)
        ((5, 3, 2), (3, 2))
    """

    def __init__(self, num_samples: int) -> None:
        if not isinstance(num_samples, (int, np.integer)) or num_samples < 1:
            raise ValueError(
                f"`num_samples` must be an integer of at least 1. Received: {num_samples!r}"
            )
        self.num_samples = int(num_samples)

    def __call__(self, distribution: tfd.Distribution, seed: Any = None) -> tf.Tensor:
        return distribution.sample(self.num_samples, seed=seed)

    def get_config(self) -> dict[str, Any]:
        return {"num_samples": self.num_samples}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Samples:
        return cls(**config)


def standardize_conversion(
    convert_to_tensor_fn: Any, argument: str = "convert_to_tensor_fn"
) -> Any:
    """Returns a name from `STATISTICS` for a method of `tfd.Distribution`, a callable as it is.

    Args:
        convert_to_tensor_fn: a name, a method of `tfd.Distribution`, another function, or a
            property such as `tfd.Bernoulli.logits`, which stands for its getter.
        argument: what an error calls it.

    Raises:
        ValueError: for a name that is not a statistic.
        TypeError: for what is neither a name nor callable.
    """
    if isinstance(convert_to_tensor_fn, property):
        convert_to_tensor_fn = convert_to_tensor_fn.fget
    name = convert_to_tensor_fn
    if not isinstance(name, str):
        if not callable(convert_to_tensor_fn):
            raise TypeError(
                f"`{argument}` must be a function from a distribution to a tensor, or one "
                f"of {STATISTICS}. Received: {convert_to_tensor_fn!r}"
            )
        name = getattr(convert_to_tensor_fn, "__name__", "")
        if getattr(tfd.Distribution, name, None) is not convert_to_tensor_fn:
            return convert_to_tensor_fn
    if name not in STATISTICS:
        raise ValueError(
            f"`{argument}` must be one of {STATISTICS} or a function from a "
            f"distribution to a tensor. Received: {convert_to_tensor_fn!r}"
        )
    return name


def convert_distribution(
    distribution: tfd.Distribution, convert_to_tensor_fn: Any, next_seed: Callable[[], tf.Tensor]
) -> tuple[tf.Tensor, bool]:
    """Returns the tensor that stands for `distribution`, and whether it is a draw of it.

    Args:
        distribution: the distribution.
        convert_to_tensor_fn: what `standardize_conversion` returns.
        next_seed: gives a new seed, int32 `[2]`; called only if one is needed.
    """
    fn = convert_to_tensor_fn
    if fn == "sample":
        return distribution.sample(seed=next_seed()), True
    if isinstance(fn, Samples):
        return fn(distribution, seed=next_seed()), True
    if isinstance(fn, str):
        return getattr(distribution, fn)(), False
    if "seed" in inspect.signature(fn).parameters:
        return fn(distribution, seed=next_seed()), False
    return fn(distribution), False


def serialize_callable(fn: Any, argument: str) -> Any:
    """Serialises a Keras layer or a function registered with Keras; refuses any other function.

    Raises:
        ValueError: for a lambda, an inner function, or a function that is not registered: a file
            that holds its code would have to run that code when it is loaded.
    """
    if isinstance(fn, str):
        return fn
    registered = keras.saving.get_registered_name(fn if inspect.isroutine(fn) else type(fn))
    is_known = keras.saving.get_registered_object(registered) is not None
    if not (is_known or isinstance(fn, keras.layers.Layer)):
        raise ValueError(
            f"`{argument}` cannot be saved: a file must not carry code. Write it as a named "
            "function at the top of a module, decorated with "
            "`@keras.saving.register_keras_serializable(package='my_project')`, or use a name "
            f"such as 'mean', or a layer such as `MultivariateNormalDiag`. Received: {fn!r}"
        )
    return keras.saving.serialize_keras_object(fn)


def deserialize_callable(config: Any) -> Any:
    """The inverse of `serialize_callable`; what is already a callable or a name stays as it is."""
    return keras.saving.deserialize_keras_object(config) if isinstance(config, dict) else config


class DistributionLayer(SeededLayer):
    """Abstract base of the layers that output a distribution.

    Args:
        arguments: what `new` takes after the parameters, in its order, by the name that it has
            among the arguments of the layer: with the base's own, the whole configuration.
        convert_to_tensor_fn: how the distribution becomes the tensor that a following layer sees:
            a method of `tfd.Distribution` or its name (`"sample"`, `"mean"`, `"mode"`,
            `"stddev"`, `"variance"`), `Samples(S)`, or a function. A function that takes `seed`
            is given one.
        activity_regularizer: maps the distribution to its cost in nats, `[B]`, as everything in
            `tfvae.regularizers` does; the mean over the batch is added to the model's loss, once,
            whatever the number of draws.
        seed: an integer that fixes the draws; taken from Python's generator, which
            `keras.utils.set_random_seed` sets, if `None`.
        **kwargs: `name`, `dtype`, `trainable` as for every Keras layer.
    """

    # The closed interval that the data must lie in, `None` where any number will do.
    support: tuple[float, float] | None = None

    def __init__(
        self,
        arguments: Mapping[str, Any],
        convert_to_tensor_fn: Any = tfd.Distribution.sample,
        activity_regularizer: Any = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        # Keras divides an activity regulariser by the first dimension, which is the number of
        # draws when there are several; it is therefore applied here and not handed to Keras.
        super().__init__(seed, dtype=float_dtype(kwargs.pop("dtype", None)), **kwargs)
        self.arguments = dict(arguments)
        self.convert_to_tensor_fn = standardize_conversion(
            deserialize_callable(convert_to_tensor_fn)
        )
        self.latent_regularizer = keras.regularizers.get(activity_regularizer)

    def build(self, input_shape: Any) -> None:
        self.built = True

    @staticmethod
    @abstractmethod
    def new(params: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        """Makes the plain distribution from `params`, without a layer."""

    def make_distribution(self, params: tf.Tensor) -> tfd.Distribution:
        """The distribution that the layer outputs for `params`."""
        return self.new(params, *self.arguments.values())

    def call(self, params: Any) -> tfd.Distribution:
        distribution = self.make_distribution(params)
        value, is_draw = convert_distribution(
            distribution, self.convert_to_tensor_fn, self.next_seed
        )
        q = as_tensor_like(distribution, value, is_draw=is_draw)
        if self.latent_regularizer is not None:
            self.add_loss(tf.reduce_mean(self._regularize(q)))
        return q

    def _regularize(self, q: tfd.Distribution) -> tf.Tensor:
        cost = tf.convert_to_tensor(self.latent_regularizer(q))
        if cost.shape.rank != 1:
            raise ValueError(
                "The `activity_regularizer` of a distribution layer must map the distribution to a "
                "vector with one cost in nats for each example, shape [B]; the layer takes the "
                f"mean. Received: shape {cost.shape} from {self.latent_regularizer!r}"
            )
        return cost

    def get_config(self) -> dict[str, Any]:
        regularizer = self.latent_regularizer
        return {
            **super().get_config(),
            **{name: _plain_value(value) for name, value in self.arguments.items()},
            "convert_to_tensor_fn": serialize_callable(
                self.convert_to_tensor_fn, "convert_to_tensor_fn"
            ),
            "activity_regularizer": (
                None
                if regularizer is None
                else serialize_callable(regularizer, "activity_regularizer")
            ),
        }


def _plain_value(value: Any) -> Any:
    """Dtypes by their name, everything else as it is."""
    return value.name if isinstance(value, tf.DType) else value
