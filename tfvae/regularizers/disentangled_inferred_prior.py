"""The covariance of the aggregate posterior, held at the identity: DIP-VAE."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions import plain
from tfvae.layers.latent_regularizer import LatentRegularizer
from tfvae.layers.scheduled_weight import as_scheduled_weight, scheduled_weight_config
from tfvae.regularizers.measures import flatten

KINDS = ("i", "ii")


@keras.saving.register_keras_serializable(package="tfvae")
class DIP(LatentRegularizer):
    """The distance of a covariance of the code from the identity:

        off_diagonal * sum_{i != j} C_ij^2 + diagonal * sum_i (C_ii - 1)^2,

        kind "i":    C = Cov_x[m(x)],                        m(x) the mean of q(z|x)
        kind "ii":   C = Cov_x[m(x)] + E_x[Cov q(z|x)],      the covariance of q(z)

    over the batch. It is a number of the whole batch, the same for each example. The published
    objective has the divergence too: `Sum([KLDivergenceRegularizer(prior), DIP()])`.

    Args:
        off_diagonal: lambda_od: a number, a schedule of `tfvae.schedules` (logged under its name),
            or a `keras.Variable`.
        diagonal: lambda_d, as `off_diagonal`. The paper takes 10 times `off_diagonal` for kind
            "i", and the same for kind "ii".
        kind: `"i"` or `"ii"`.
        **kwargs: `name`, `dtype`.

    Raises:
        ValueError: if a weight is negative or the kind is unknown.

    Example:
        >>> q = tfd.MultivariateNormalDiag([[1.0, 1.0], [-1.0, -1.0]], tf.ones([2, 2]))
        >>> DIP(off_diagonal=1.0, diagonal=10.0, kind="i")(q).numpy().tolist()
        [2.0, 2.0]
        >>> DIP(off_diagonal=1.0, diagonal=1.0, kind="ii")(q).numpy().tolist()
        [4.0, 4.0]

    Reference:
        Kumar, Sattigeri and Balakrishnan (2018), Variational Inference of Disentangled Latent
        Concepts from Unlabeled Observations, arXiv:1711.00848, equations 6 and 7.
    """

    term_names = ("dip_off_diagonal", "dip_diagonal")

    def __init__(
        self, off_diagonal: Any = 10.0, diagonal: Any = 100.0, kind: str = "i", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if kind not in KINDS:
            raise ValueError(f"`kind` must be one of {KINDS}. Received: {kind!r}")
        self.off_diagonal = as_scheduled_weight(off_diagonal, "off_diagonal")
        self.diagonal = as_scheduled_weight(diagonal, "diagonal")
        self.kind = kind

    def terms(self, q: tfd.Distribution) -> dict[str, tf.Tensor]:
        mean = flatten(plain(q).mean(), leading=1)
        size = tf.shape(mean)[0]
        centred = mean - tf.reduce_mean(mean, axis=0)
        # Cov_x[m] = 1/B sum_b (m_b - mean m)(m_b - mean m)'
        covariance = tf.matmul(centred, centred, transpose_a=True) / tf.cast(size, mean.dtype)
        if self.kind == "ii":
            covariance += tf.reduce_mean(_covariance(q), axis=0)
        diagonal = tf.linalg.diag_part(covariance)
        off_diagonal = covariance - tf.linalg.diag(diagonal)
        return {
            "dip_off_diagonal": tf.fill([size], tf.reduce_sum(tf.square(off_diagonal))),
            "dip_diagonal": tf.fill([size], tf.reduce_sum(tf.square(diagonal - 1.0))),
        }

    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        off_diagonal, diagonal = (terms[name] for name in self.term_names)
        weights = (tf.cast(w, diagonal.dtype) for w in (self.off_diagonal, self.diagonal))
        return tf.add_n([w * t for w, t in zip(weights, (off_diagonal, diagonal), strict=True)])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "off_diagonal": scheduled_weight_config(self.off_diagonal),
            "diagonal": scheduled_weight_config(self.diagonal),
            "kind": self.kind,
        }


def _covariance(q: tfd.Distribution) -> tf.Tensor:
    """The covariance of each example's posterior, `[B, E, E]`."""
    if isinstance(plain(q), tfd.Independent):
        return tf.linalg.diag(flatten(plain(q).variance(), leading=1))
    return plain(q).covariance()
