"""A random weight of a layer: how its posterior is made of Keras weights, and its divergence.

TFP's distributions hold `tf.Variable`s and read them late. A Keras 3 variable is not one (it casts,
and has no fixed value while a model is traced), so a distribution that is made once would freeze
its parameters and get no gradient. Here a posterior function
`fn(dtype, shape, name, trainable, add_variable_fn)` is called *again at every call of the layer*:
the first time `add_variable_fn` makes the Keras weights with the layer's own `add_weight`,
afterwards it returns their values by name, which is the "create or access existing" that TFP asks
of it. So every function that was written for TFP works unchanged, what it computes at once
(`tf.nn.softplus(add_variable_fn(...))`) gets gradients too, and there is no deferred tensor and no
state beside the weights. The price: the function must be cheap, must draw no random numbers, and
must make its weights with `add_variable_fn` alone, each under a name of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions import plain
from tfvae.layers.distribution_layer import (
    convert_distribution,
    deserialize_callable,
    serialize_callable,
    standardize_conversion,
)
from tfvae.layers.loss_weight import as_weight, weight_config
from tfvae.layers.mean_field import default_mean_field_normal_fn


@keras.saving.register_keras_serializable(package="tfvae")
class ScaledKLDivergence:
    """The divergence of a weight's posterior from its prior, kl_weight * KL(q(w) || p(w)), in nats.

    The evidence lower bound of `N` training examples holds *one* divergence,
    sum_n E_q[log p(y_n | x_n, w)] - KL(q(w) || p(w)). Keras' losses are, by default, means over the
    batch (`reduction="sum_over_batch_size"`): estimates of the bound divided by N. The divergence
    is added to such a loss once a step, so it must be divided by N too: `kl_weight=1 / N`, with N
    the size of the training set, not of a batch. Where the loss also averages over the elements of
    an example (`"mse"` on `[B, D]`), divide by D as well; where it sums over a batch of B
    (`reduction="sum"`), multiply by B.

    Args:
        kl_weight: the factor: a number, or a `keras.Variable` that a schedule moves, whose value
            is saved but which is not among the model's weights; 1 if `None`.
        kl_use_exact: whether to use TFP's closed form; otherwise log q(w) - log p(w) at the draw
            of this pass, an estimate of one sample.

    Raises:
        ValueError: if `kl_weight` is negative or not finite.

    Example:
        >>> divergence = ScaledKLDivergence(kl_weight=0.1)
        >>> q, p = tfd.Normal([1.0, 1.0], 1.0), tfd.Normal([0.0, 0.0], 1.0)
        >>> round(float(divergence(q, p)), 4)
        0.1

    Reference:
        Blundell, Cornebise, Kavukcuoglu and Wierstra (2015), arXiv:1505.05424, equations 1 and 8.
    """

    def __init__(self, kl_weight: Any = None, kl_use_exact: bool = True) -> None:
        self.kl_weight = as_weight(1.0 if kl_weight is None else kl_weight, "kl_weight")
        self.kl_use_exact = bool(kl_use_exact)

    def __call__(
        self, q: tfd.Distribution, p: tfd.Distribution, draw: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns the divergence, a scalar.

        Args:
            q: the posterior.
            p: the prior.
            draw: a draw of `q`; needed where `kl_use_exact` is false.

        Raises:
            NotImplementedError: if `kl_use_exact` and TFP has no closed form for the pair.
        """
        q, p = plain(q), plain(p)
        if self.kl_use_exact:
            try:
                divergence = tfd.kl_divergence(q, p)
            except NotImplementedError as error:
                raise NotImplementedError(
                    f"TFP has no closed form of the divergence between {type(q).__name__} and "
                    f"{type(p).__name__}: make both of one kind, or use kl_use_exact=False. "
                    "Received: kl_use_exact=True"
                ) from error
        else:
            divergence = q.log_prob(draw) - p.log_prob(draw)
        # What is left of the shape are independent parts of the weight.
        return tf.cast(self.kl_weight, divergence.dtype) * tf.reduce_sum(divergence)

    def get_config(self) -> dict[str, Any]:
        return {"kl_weight": weight_config(self.kl_weight), "kl_use_exact": self.kl_use_exact}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ScaledKLDivergence:
        return cls(**config)


# The defaults of the layers' arguments. They have no state, so that all layers may share them.
MEAN_FIELD = default_mean_field_normal_fn()
POINT = default_mean_field_normal_fn(is_singular=True)
EXACT_KL = ScaledKLDivergence()


class VariationalWeight:
    """A random weight of a layer: its posterior, its prior and the divergence between them.

    Args:
        name: `"kernel"` or `"bias"`, the prefix of the arguments and of the weights' names.
        posterior_fn: makes the posterior; see the module. `None`: there is no such weight.
        posterior_tensor_fn: how the posterior becomes a tensor, as a distribution layer's
            `convert_to_tensor_fn`.
        prior_fn: makes the prior. `None`: there is no divergence.
        divergence_fn: maps posterior, prior and a draw to the cost in nats that is added to the
            loss. `None`: there is none.

    Raises:
        TypeError: if a function is not callable.
    """

    def __init__(
        self,
        name: str,
        posterior_fn: Any,
        posterior_tensor_fn: Any,
        prior_fn: Any,
        divergence_fn: Any,
    ) -> None:
        self.name = name
        self.posterior_fn = _callable_or_none(posterior_fn, f"{name}_posterior_fn")
        self.posterior_tensor_fn = standardize_conversion(
            deserialize_callable(posterior_tensor_fn), f"{name}_posterior_tensor_fn"
        )
        self.prior_fn = _callable_or_none(prior_fn, f"{name}_prior_fn")
        self.divergence_fn = _callable_or_none(divergence_fn, f"{name}_divergence_fn")
        self.shape: tuple[int, ...] | None = None
        self._variables: dict[tuple[str, str], keras.Variable] = {}
        self._add_weight: Callable[..., keras.Variable] | None = None

    @property
    def exists(self) -> bool:
        return self.posterior_fn is not None

    def build(self, add_weight: Callable[..., keras.Variable], dtype: Any, shape: Any) -> None:
        """Makes the weights, by calling both functions once.

        Args:
            add_weight: the layer's.
            dtype: dtype of the distributions.
            shape: shape of the random weight.

        Raises:
            ValueError: if the posterior is not over a weight of this shape.
        """
        self._variables = {}
        self._add_weight, self.dtype, self.shape = add_weight, tf.as_dtype(dtype), tuple(shape)
        posterior, _ = self.posterior(), self.prior()
        self._add_weight = None
        if self.exists and not _shape_of(posterior).is_compatible_with(self.shape):
            raise ValueError(
                f"`{self.name}_posterior_fn` must make a distribution over a weight of the shape "
                f"that it is given, {self.shape}. Received: {posterior!r}"
            )

    def posterior(self) -> tfd.Distribution | None:
        """The posterior q(w), made of the weights as they are now."""
        return self._distribution(self.posterior_fn, "posterior")

    def prior(self) -> tfd.Distribution | None:
        """The prior p(w), made of the weights as they are now."""
        return self._distribution(self.prior_fn, "prior")

    def draw(self, distribution: tfd.Distribution, next_seed: Callable[[], tf.Tensor]) -> tf.Tensor:
        """Turns a distribution into one tensor of its shape.

        Raises:
            ValueError: if `posterior_tensor_fn` gives another shape, for example several draws.
        """
        value, _ = convert_distribution(distribution, self.posterior_tensor_fn, next_seed)
        value, shape = tf.convert_to_tensor(value), _shape_of(distribution)
        if not value.shape.is_compatible_with(shape):
            raise ValueError(
                f"`{self.name}_posterior_tensor_fn` must give one value of the distribution, of "
                f"shape {shape}. Received: shape {value.shape} from {self.posterior_tensor_fn!r}"
            )
        return value

    def divergence(self, posterior: tfd.Distribution, draw: tf.Tensor) -> tf.Tensor | None:
        """The scalar cost in nats; `None` where there is no prior or no divergence."""
        prior = self.prior()
        if prior is None or self.divergence_fn is None:
            return None
        return tf.reduce_sum(self.divergence_fn(posterior, prior, draw))

    def get_config(self) -> dict[str, Any]:
        functions = {
            f"{self.name}_posterior_fn": self.posterior_fn,
            f"{self.name}_posterior_tensor_fn": self.posterior_tensor_fn,
            f"{self.name}_prior_fn": self.prior_fn,
            f"{self.name}_divergence_fn": self.divergence_fn,
        }
        return {
            argument: None if fn is None else serialize_callable(fn, argument)
            for argument, fn in functions.items()
        }

    def _distribution(self, fn: Any, role: str) -> tfd.Distribution | None:
        if fn is None or not self.exists:
            return None
        if self.shape is None:
            raise ValueError(
                f"The {role} of a weight is made of the layer's weights: build the layer first, by "
                f"calling it or `layer.build(input_shape)`. Received: the {self.name} of a layer "
                "that is not built"
            )
        # A layer that is frozen may be thawed again, so its weights are made trainable: Keras'
        # `layer.trainable` decides which of them are trained.
        variable = partial(self._variable, role)
        made = fn(self.dtype, self.shape, f"{self.name}_{role}", True, variable)
        if not isinstance(made, tfd.Distribution):
            raise TypeError(
                f"`{self.name}_{role}_fn` must make a `tfd.Distribution`. Received: {made!r}"
            )
        return made

    def _variable(
        self,
        role: str,
        name: str,
        shape: Any = (),
        dtype: Any = None,
        initializer: Any = None,
        regularizer: Any = None,
        trainable: bool | None = True,
        constraint: Any = None,
    ) -> tf.Tensor:
        """Makes a weight, or reads it: what a posterior function gets as `add_variable_fn`."""
        key = (role, name)
        if key not in self._variables:
            if self._add_weight is None:
                raise ValueError(
                    f"`{self.name}_{role}_fn` must ask for the same weights at every call, "
                    f"{[made for part, made in self._variables if part == role]}. "
                    f"Received: {name!r}"
                )
            self._variables[key] = self._add_weight(
                shape=tuple(shape),
                dtype=tf.as_dtype(self.dtype if dtype is None else dtype).name,
                initializer=initializer,
                regularizer=regularizer,
                trainable=trainable is not False,
                constraint=constraint,
                autocast=False,
                name=name,
            )
        return tf.convert_to_tensor(self._variables[key])


def _callable_or_none(fn: Any, name: str) -> Any:
    fn = deserialize_callable(fn)
    if not (fn is None or callable(fn)):
        raise TypeError(f"`{name}` must be a function or None. Received: {fn!r}")
    return fn


def _shape_of(distribution: tfd.Distribution) -> tf.TensorShape:
    return distribution.batch_shape.concatenate(distribution.event_shape)
