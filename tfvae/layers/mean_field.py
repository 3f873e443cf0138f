"""The default posteriors and priors over weights.

TFP's functions of these names return closures, which cannot be saved without pickling code. Here
each name makes a small object that is called the same way, with
`(dtype, shape, name, trainable, add_variable_fn)`, and that Keras saves by name and configuration.

A Keras 3 initialiser chooses its seed when it is made and gives the same values at every call, so
one instance as the default would start every layer of a model with the same weights. The default is
therefore `None`, which stands for TFP's initialiser made anew, and an initialiser without a seed is
cloned for each weight.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions import positive_scale

_STDDEV = 0.1
_LOC_MEAN = 0.0
_UNTRANSFORMED_SCALE_MEAN = -3.0


class _LocScaleFn(ABC):
    """Abstract base: what is made of a trainable `loc` and `scale`.

    The arguments are those of `LocScale` and `MeanFieldNormal`, where they are described.
    """

    def __init__(
        self,
        is_singular: bool = False,
        loc_initializer: Any = None,
        untransformed_scale_initializer: Any = None,
        loc_regularizer: Any = None,
        untransformed_scale_regularizer: Any = None,
        loc_constraint: Any = None,
        untransformed_scale_constraint: Any = None,
    ) -> None:
        self.is_singular = bool(is_singular)
        self.loc_initializer = keras.initializers.get(loc_initializer)
        self.untransformed_scale_initializer = keras.initializers.get(
            untransformed_scale_initializer
        )
        self.loc_regularizer = keras.regularizers.get(loc_regularizer)
        self.untransformed_scale_regularizer = keras.regularizers.get(
            untransformed_scale_regularizer
        )
        self.loc_constraint = keras.constraints.get(loc_constraint)
        self.untransformed_scale_constraint = keras.constraints.get(untransformed_scale_constraint)

    @abstractmethod
    def __call__(
        self,
        dtype: tf.DType,
        shape: Sequence[int],
        name: str,
        trainable: bool,
        add_variable_fn: Callable[..., tf.Tensor],
    ) -> Any:
        """Makes the weights, or reads them once they exist.

        Args:
            dtype: dtype of the parameters.
            shape: their shape.
            name: prefix of the names of the weights.
            trainable: whether the weights are trained.
            add_variable_fn: makes or reads a weight; see `tfvae.layers.variational_weight`.
        """

    def _loc_scale(
        self,
        dtype: tf.DType,
        shape: Sequence[int],
        name: str,
        trainable: bool,
        add_variable_fn: Callable[..., tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        loc = add_variable_fn(
            name=f"{name}_loc",
            shape=shape,
            initializer=_fresh(self.loc_initializer, _LOC_MEAN),
            regularizer=self.loc_regularizer,
            constraint=self.loc_constraint,
            dtype=dtype,
            trainable=trainable,
        )
        if self.is_singular:
            return loc, None
        untransformed_scale = add_variable_fn(
            name=f"{name}_untransformed_scale",
            shape=shape,
            initializer=_fresh(self.untransformed_scale_initializer, _UNTRANSFORMED_SCALE_MEAN),
            regularizer=self.untransformed_scale_regularizer,
            constraint=self.untransformed_scale_constraint,
            dtype=dtype,
            trainable=trainable,
        )
        floor = float(np.finfo(dtype.as_numpy_dtype).eps)
        return loc, positive_scale(untransformed_scale, floor=floor)

    def get_config(self) -> dict[str, Any]:
        return {
            "is_singular": self.is_singular,
            "loc_initializer": _config(self.loc_initializer),
            "untransformed_scale_initializer": _config(self.untransformed_scale_initializer),
            "loc_regularizer": _config(self.loc_regularizer),
            "untransformed_scale_regularizer": _config(self.untransformed_scale_regularizer),
            "loc_constraint": _config(self.loc_constraint),
            "untransformed_scale_constraint": _config(self.untransformed_scale_constraint),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> _LocScaleFn:
        return cls(**config)


def _config(part: Any) -> Any:
    return None if part is None else keras.saving.serialize_keras_object(part)


def _fresh(initializer: Any, mean: float) -> Callable[..., tf.Tensor]:
    """An initialiser that is made when it is called: reading a weight must not use up a seed."""

    def initialize(shape: Any, dtype: Any = None) -> tf.Tensor:
        made = initializer
        if made is None:
            made = keras.initializers.RandomNormal(mean, _STDDEV)
        elif isinstance(made, keras.initializers.Initializer):
            made = made.clone()
        return made(shape, dtype=dtype)

    return initialize


@keras.saving.register_keras_serializable(package="tfvae")
class LocScale(_LocScaleFn):
    """A trainable location and scale: `default_loc_scale_fn` of `tfp.layers`.

    The scale is `eps + softplus(untransformed_scale)`, with `eps` of the dtype, and finite whatever
    its weight (`tfvae.distributions.positive_scale`).

    Args:
        is_singular: `True` for a scale of zero: the scale returned is then `None`.
        loc_initializer: initialiser of the location; normal, mean 0, standard deviation 0.1, if
            `None`.
        untransformed_scale_initializer: initialiser of the raw scale; normal, mean -3, standard
            deviation 0.1, if `None`.
        loc_regularizer: a Keras regulariser of the location.
        untransformed_scale_regularizer: a Keras regulariser of the raw scale.
        loc_constraint: a Keras constraint of the location.
        untransformed_scale_constraint: a Keras constraint of the raw scale.

    Example:
        >>> make = LocScale(loc_initializer="zeros", untransformed_scale_initializer="zeros")
        >>> variable = lambda shape, initializer, dtype, **ignored: initializer(shape, dtype.name)
        >>> loc, scale = make(tf.float32, (2,), "kernel", True, variable)
        >>> loc.numpy().tolist(), [round(float(s), 4) for s in scale]
        ([0.0, 0.0], [0.6931, 0.6931])
    """

    def __call__(
        self,
        dtype: tf.DType,
        shape: Sequence[int],
        name: str,
        trainable: bool,
        add_variable_fn: Callable[..., tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Returns `(loc, scale)`, each of `shape`; the scale is `None` if `is_singular`."""
        return self._loc_scale(dtype, shape, name, trainable, add_variable_fn)


@keras.saving.register_keras_serializable(package="tfvae")
class MeanFieldNormal(_LocScaleFn):
    """Independent normals with trainable parameters: `default_mean_field_normal_fn` of TFP.

    The posterior of "weight uncertainty": q(w) = prod_i N(w_i; loc_i, scale_i^2).

    Args:
        is_singular: `True` for the limit of a scale of zero: a point, not a normal.
        loc_initializer: initialiser of the locations; normal, mean 0, standard deviation 0.1, if
            `None`.
        untransformed_scale_initializer: initialiser of the raw scales; normal, mean -3, standard
            deviation 0.1, if `None`.
        loc_regularizer: a Keras regulariser of the locations.
        untransformed_scale_regularizer: a Keras regulariser of the raw scales.
        loc_constraint: a Keras constraint of the locations.
        untransformed_scale_constraint: a Keras constraint of the raw scales.

    Example:
        >>> from tfvae.layers import DenseReparameterization
        >>> wide = MeanFieldNormal(untransformed_scale_initializer="zeros")
        >>> layer = DenseReparameterization(2, kernel_posterior_fn=wide)
        >>> layer.build((None, 3))
        >>> tuple(layer.kernel_posterior.event_shape)
        (3, 2)

    Reference:
        Blundell, Cornebise, Kavukcuoglu and Wierstra (2015), Weight Uncertainty in Neural Networks,
        arXiv:1505.05424, section 3.2.
    """

    def __call__(
        self,
        dtype: tf.DType,
        shape: Sequence[int],
        name: str,
        trainable: bool,
        add_variable_fn: Callable[..., tf.Tensor],
    ) -> tfd.Independent:
        """Returns the distribution, of event shape `shape`."""
        loc, scale = self._loc_scale(dtype, shape, name, trainable, add_variable_fn)
        each = tfd.Deterministic(loc) if scale is None else tfd.Normal(loc, scale)
        return tfd.Independent(each, reinterpreted_batch_ndims=len(shape))


default_loc_scale_fn = LocScale
default_mean_field_normal_fn = MeanFieldNormal


@keras.saving.register_keras_serializable(package="tfvae")
def default_multivariate_normal_fn(
    dtype: tf.DType,
    shape: Sequence[int],
    name: str,
    trainable: bool,
    add_variable_fn: Callable[..., tf.Tensor],
) -> tfd.Independent:
    """Returns the standard normal N(0, I) of event shape `shape`: the default prior of a kernel.

    Args:
        dtype: dtype of the distribution.
        shape: its event shape.
        name: not used: it has no weights.
        trainable: not used.
        add_variable_fn: not used.

    Example:
        >>> prior = default_multivariate_normal_fn(tf.float32, (3, 2), "kernel_prior", True, None)
        >>> tuple(prior.event_shape), round(float(prior.log_prob(tf.zeros([3, 2]))), 4)
        ((3, 2), -5.5136)
    """
    del name, trainable, add_variable_fn
    zeros = tf.zeros(shape, dtype)
    return tfd.Independent(
        tfd.Normal(zeros, tf.ones_like(zeros)), reinterpreted_batch_ndims=len(shape)
    )
