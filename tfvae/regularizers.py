"""Regularisers of the latent: a distribution in, its cost for each example in nats out, `[B]`.

Most of the VAE family differs in this function alone. A regulariser is a Keras layer, so that what
it owns (a trainable prior, a learned weight) is seen, trained and saved by whoever holds it: a
distribution layer, as `activity_regularizer`, or `tfvae.VAE`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions import float_dtype
from tfvae.divergences import check_exact, kl_divergence
from tfvae.layers.distribution_layer import deserialize_callable, serialize_callable


class LatentRegularizer(keras.layers.Layer):
    """Abstract base: `terms` measures the latent, `combine` makes the cost of the measurements.

    Args:
        **kwargs: `name`, `dtype`, `trainable` as for every Keras layer.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(dtype=float_dtype(kwargs.pop("dtype", None)), **kwargs)
        # Keras would cast a distribution of another dtype, which makes a bare tensor of it.
        self._convert_input_args = False
        # A plain distribution, without a value, is regularised as well as a layer's output.
        self._allow_non_tensor_positional_args = True

    def build(self, input_shape: Any = None) -> None:
        self.built = True

    # The names of what `terms` returns, known before the first call so that metrics exist.
    term_names: tuple[str, ...] = ()

    @abstractmethod
    def terms(self, q: tfd.Distribution) -> dict[str, tf.Tensor]:
        """What is measured of q(z|x), unweighted, by the name it is logged under; each `[B]`."""

    @abstractmethod
    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        """The cost that is minimised, `[B]`."""

    def call(self, q: tfd.Distribution) -> tf.Tensor:
        if not isinstance(q, tfd.Distribution):
            raise TypeError(
                f"{type(self).__name__} regularises a distribution: give it to a distribution "
                "layer, such as `MultivariateNormalDiag(..., activity_regularizer=...)`, or to "
                f"`tfvae.VAE`. Received: {q!r}"
            )
        return self.combine(self.terms(q))


@keras.saving.register_keras_serializable(package="tfvae")
class KLDivergenceRegularizer(LatentRegularizer):
    """The Kullback-Leibler divergence from the prior, KL(q(z|x) || p(z)), in nats.

    The layer or model that holds it adds the mean over the batch to its loss once. (TFP's layer of
    this name adds it twice on Keras 2.) With it and the negative log-likelihood the loss is minus
    the evidence lower bound; with `weight` the objective of the beta-VAE.

    Args:
        prior: p(z): a layer of `tfvae.priors`, a `tfd.Distribution`, or a function without
            arguments that returns one. To be saved it must be a layer or a registered function.
        weight: the factor beta of the divergence: a number, or a `keras.Variable`, which is
            saved, and trained if it is trainable.
        exact: `True` for TFP's closed form, `False` for Monte Carlo, `"auto"` for the closed form
            where TFP has one registered.
        num_samples: draws of the Monte Carlo estimate; with 1 the draw that the decoder saw.
        **kwargs: `name`, `dtype`.

    Raises:
        TypeError: if `prior` is none of these.
        ValueError: if `weight` is negative, or `exact` or `num_samples` is out of range.

    Example:
        >>> from tfvae.priors import StandardNormal
        >>> regularizer = KLDivergenceRegularizer(StandardNormal(2), weight=0.5)
        >>> q = tfd.MultivariateNormalDiag(tf.ones([3, 2]), tf.ones([3, 2]))
        >>> regularizer(q).numpy().tolist()
        [0.5, 0.5, 0.5]

    Reference:
        Kingma and Welling (2014), arXiv:1312.6114, equation 3; Higgins et al. (2017), beta-VAE,
        ICLR, equation 4, for the weight.
    """

    term_names = ("kl",)

    def __init__(
        self,
        prior: Any,
        weight: Any = 1.0,
        exact: bool | str = "auto",
        num_samples: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        prior = deserialize_callable(prior)
        if not (isinstance(prior, tfd.Distribution) or callable(prior)):
            raise TypeError(
                "`prior` must be a layer of `tfvae.priors`, a `tfd.Distribution`, or a function "
                f"that returns one. Received: {prior!r}"
            )
        check_exact(exact)
        if not isinstance(num_samples, int) or num_samples < 1:
            raise ValueError(
                f"`num_samples` must be an integer of at least 1. Received: {num_samples!r}"
            )
        self.prior = prior
        self.weight = as_weight(weight)
        self.exact = exact
        self.num_samples = num_samples

    def prior_distribution(self) -> tfd.Distribution:
        """The prior p(z) as a distribution, made anew so that gradients reach its weights."""
        return self.prior if isinstance(self.prior, tfd.Distribution) else self.prior()

    def terms(self, q: tfd.Distribution) -> dict[str, tf.Tensor]:
        kl = kl_divergence(
            q, self.prior_distribution(), exact=self.exact, num_samples=self.num_samples
        )
        return {"kl": kl}

    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.cast(self.weight, terms["kl"].dtype) * terms["kl"]

    def get_config(self) -> dict[str, Any]:
        if isinstance(self.prior, tfd.Distribution):
            raise ValueError(
                "A `tfd.Distribution` as `prior` cannot be saved: use a layer of `tfvae.priors` "
                "such as `StandardNormal(16)`, or a registered function that returns the "
                f"distribution. Received: prior={self.prior!r}"
            )
        return {
            **super().get_config(),
            "prior": serialize_callable(self.prior, "prior"),
            "weight": weight_config(self.weight),
            "exact": self.exact,
            "num_samples": self.num_samples,
        }


def as_weight(weight: Any, name: str = "weight") -> Any:
    """A number as a float, a variable as it is; the configuration of a variable as a new one."""
    if isinstance(weight, dict):
        return keras.Variable(
            weight["value"], dtype=weight["dtype"], trainable=weight["trainable"], name="weight"
        )
    if isinstance(weight, keras.Variable):
        return weight
    if (
        isinstance(weight, bool)
        or not isinstance(weight, (int, float))
        or not 0 <= weight < float("inf")
    ):
        raise ValueError(
            f"`{name}` must be a finite number that is not negative, or a `keras.Variable`. "
            f"Received: {weight!r}"
        )
    return float(weight)


def weight_config(weight: Any) -> Any:
    if isinstance(weight, keras.Variable):
        return {
            "value": float(weight.numpy()),
            "dtype": weight.dtype,
            "trainable": weight.trainable,
        }
    return weight
