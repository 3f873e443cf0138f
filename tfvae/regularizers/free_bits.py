"""A divergence of which the first nats are free, against the collapse of the posterior."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.layers.parameters import positive_integer
from tfvae.layers.scheduled_weight import as_scheduled_weight, scheduled_weight_config
from tfvae.regularizers.measures import batch_mean, element_kl
from tfvae.regularizers.prior_regularizer import PriorRegularizer


@keras.saving.register_keras_serializable(package="tfvae")
class FreeBits(PriorRegularizer):
    """The divergence, with `nats` free for each group of dimensions:

        weight * sum_g max(nats, KL_g),   KL_g = sum_{j in g} KL(q(z_j|x) || p(z_j)).

    A group whose divergence is below `nats` costs a constant, and has no gradient. KL_g is the mean
    over the batch, as in the paper, and the cost the same for each example; with `per_example` each
    example has its own. Under a distribution strategy a replica's batch counts.

    Args:
        prior: p(z), a layer of `tfvae.priors`; of independent dimensions if there is more than
            one group, as is the posterior then.
        nats: the free nats of a group: a number, a schedule of `tfvae.schedules` (logged as
            `free_nats`), or a `keras.Variable`.
        groups: the number of groups, equal parts of the code in its order; each dimension is its
            own if `None`.
        weight: a number, a schedule (logged as `beta`), or a `keras.Variable`.
        per_example: whether the maximum is taken for each example.
        **kwargs: `name`, `dtype`.

    Raises:
        TypeError: if `prior` is not a prior.
        ValueError: if `nats` or `weight` is negative, or if the groups do not divide the code.

    Example:
        >>> from tfvae.priors import StandardNormal
        >>> q = tfd.MultivariateNormalDiag([[0.0, 2.0]], [[1.0, 1.0]])
        >>> FreeBits(StandardNormal(2), nats=0.5)(q).numpy().tolist()
        [2.5]
        >>> FreeBits(StandardNormal(2), nats=0.5, groups=1)(q).numpy().tolist()
        [2.0]

    Reference:
        Kingma, Salimans, Jozefowicz, Chen, Sutskever and Welling (2016), Improving Variational
        Inference with Inverse Autoregressive Flow, arXiv:1606.04934, equation 15.
    """

    term_names = ("kl", "kl_charged")

    def __init__(
        self,
        prior: Any,
        nats: Any = 0.5,
        groups: int | None = None,
        weight: Any = 1.0,
        per_example: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(prior, **kwargs)
        self.nats = as_scheduled_weight(nats, "nats", "free_nats")
        self.weight = as_scheduled_weight(weight, "weight", "beta")
        self.groups = None if groups is None else positive_integer(groups, "groups")
        self.per_example = per_example

    def terms(self, q: tfd.Distribution) -> dict[str, tf.Tensor]:
        if self.groups == 1:
            kl = self.divergence.terms(q)["kl"][:, tf.newaxis]
        else:
            kl = element_kl(q, self.prior_distribution())
            groups = self.groups or kl.shape[1]
            if kl.shape[1] % groups:
                raise ValueError(
                    "`groups` must divide the number of dimensions of a code. "
                    f"Received: groups={groups!r} for {kl.shape[1]} dimensions"
                )
            kl = tf.reduce_sum(tf.reshape(kl, [-1, groups, kl.shape[1] // groups]), axis=2)
        level = kl if self.per_example else batch_mean(kl)
        charged = tf.maximum(tf.cast(self.nats, kl.dtype), level)
        return {"kl": tf.reduce_sum(kl, axis=1), "kl_charged": tf.reduce_sum(charged, axis=1)}

    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        charged = terms["kl_charged"]
        return tf.cast(self.weight, charged.dtype) * charged

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "nats": scheduled_weight_config(self.nats),
            "groups": self.groups,
            "weight": scheduled_weight_config(self.weight),
            "per_example": self.per_example,
        }
