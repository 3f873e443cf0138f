"""A divergence that is held at a capacity: beta-VAE as its authors came to train it."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.layers.scheduled_weight import as_scheduled_weight, scheduled_weight_config
from tfvae.regularizers.measures import batch_mean
from tfvae.regularizers.prior_regularizer import PriorRegularizer


@keras.saving.register_keras_serializable(package="tfvae")
class Capacity(PriorRegularizer):
    """The distance of the divergence from a capacity C, weighted:

        weight * | KL(q(z|x) || p(z)) - C |,

    with C rising from zero by a schedule. The divergence is the mean over the batch, as in the
    published code, and the cost the same for each example; with `per_example` each example is held
    at the capacity by itself, as the equation reads. Under a distribution strategy a replica's
    batch counts.

    Args:
        prior: p(z), a layer of `tfvae.priors`.
        capacity: C in nats: a number, a schedule of `tfvae.schedules`, or a `keras.Variable`.
            The value of a schedule is logged as `capacity`.
        weight: gamma: a number, a schedule (logged as `gamma`), or a `keras.Variable`.
        per_example: whether the distance is that of each example's divergence.
        **kwargs: `name`, `dtype`.

    Raises:
        TypeError: if `prior` is not a prior.
        ValueError: if `capacity` or `weight` is negative.

    Example:
        >>> from tfvae.priors import StandardNormal
        >>> q = tfd.MultivariateNormalDiag([[1.0], [3.0]], [[1.0], [1.0]])
        >>> Capacity(StandardNormal(1), 2.0, weight=10.0)(q).numpy().tolist()
        [5.0, 5.0]
        >>> Capacity(StandardNormal(1), 2.0, weight=10.0, per_example=True)(q).numpy().tolist()
        [15.0, 25.0]

    Reference:
        Burgess, Higgins, Pal, Matthey, Watters, Desjardins and Lerchner (2018), Understanding
        Disentangling in beta-VAE, arXiv:1804.03599, equation 8.
    """

    term_names = ("kl",)

    def __init__(
        self,
        prior: Any,
        capacity: Any,
        weight: Any = 1000.0,
        per_example: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(prior, **kwargs)
        self.capacity = as_scheduled_weight(capacity, "capacity")
        self.weight = as_scheduled_weight(weight, "weight", "gamma")
        self.per_example = per_example

    def terms(self, q: tfd.Distribution) -> dict[str, tf.Tensor]:
        return self.divergence.terms(q)

    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        kl = terms["kl"] if self.per_example else batch_mean(terms["kl"])
        return tf.cast(self.weight, kl.dtype) * tf.abs(kl - tf.cast(self.capacity, kl.dtype))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "capacity": scheduled_weight_config(self.capacity),
            "weight": scheduled_weight_config(self.weight),
            "per_example": self.per_example,
        }
