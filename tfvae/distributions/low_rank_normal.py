"""A normal distribution whose covariance is a diagonal plus a matrix of low rank."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd


class MultivariateNormalLowRank(tfd.MultivariateNormalDiagPlusLowRankCovariance):
    """A multivariate normal with the covariance `S (I + W W') S`, where `S = diag(scale_diag)`.

    Its cost grows with the event size times the square of the rank, not with the cube of the event
    size. `W` is relative to the scales, so that the matrix of size rank that is inverted,
    `I + W' W`, does not depend on them: it stays well conditioned whatever the scales. TFP's class,
    of which this is one, has no closed-form divergence; this one has that from a
    `tfd.MultivariateNormalDiag`, registered below.

    Args:
        loc: mean, `[..., d]`.
        scale_diag: scale of the noise that is independent, positive, `[..., d]`.
        factor: `W`, `[..., d, rank]`.
        validate_args: whether TFP checks the parameters.
        allow_nan_stats: as for every TFP distribution.
        name: name of the distribution.

    Example:
        >>> p = MultivariateNormalLowRank(tf.zeros(2), tf.ones(2), tf.ones([2, 1]))
        >>> p.covariance().numpy().tolist()
        [[2.0, 1.0], [1.0, 2.0]]
    """

    def __init__(
        self,
        loc: Any,
        scale_diag: Any,
        factor: Any,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "MultivariateNormalLowRank",
    ) -> None:
        parameters = dict(locals())
        self._scale_diag = tf.convert_to_tensor(scale_diag, dtype_hint=tf.float32)
        self._factor = tf.convert_to_tensor(factor, dtype=self._scale_diag.dtype)
        super().__init__(
            loc=loc,
            cov_diag_factor=tf.square(self._scale_diag),
            cov_perturb_factor=self._scale_diag[..., tf.newaxis] * self._factor,
            validate_args=validate_args,
            allow_nan_stats=allow_nan_stats,
            name=name,
        )
        self._parameters = parameters

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        return {
            "loc": tfp.util.ParameterProperties(event_ndims=1),
            "scale_diag": tfp.util.ParameterProperties(event_ndims=1),
            "factor": tfp.util.ParameterProperties(event_ndims=2),
        }

    @property
    def scale_diag(self) -> tf.Tensor:
        """Scale of the independent noise."""
        return self._scale_diag

    @property
    def factor(self) -> tf.Tensor:
        """The low-rank factor `W`, relative to the scales."""
        return self._factor

    # TFP's own linear operators do the same, with a gradient that XLA cannot compile for a batch
    # of unknown size (that of `tf.linalg.set_diag`).

    def _capacitance_cholesky(self) -> tf.Tensor:
        """The Cholesky factor of `I + W' W`, `[..., rank, rank]`."""
        w = self.factor
        return tf.linalg.cholesky(
            tf.eye(w.shape[-1], dtype=w.dtype) + tf.matmul(w, w, adjoint_a=True)
        )

    def log_determinant(self) -> tf.Tensor:
        """Returns log det of the covariance, `[...]`: that of S twice, and of the capacitance."""
        chol = tf.linalg.diag_part(self._capacitance_cholesky())
        log_scales = tf.reduce_sum(tf.math.log(self.scale_diag), axis=-1)
        return 2.0 * (log_scales + tf.reduce_sum(tf.math.log(chol), axis=-1))

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        # z' (I + W W')^-1 z = z'z - |L^-1 W' z|^2, with L L' = I + W' W
        z = (x - self.loc) / self.scale_diag
        along = tf.matmul(self.factor, z[..., tf.newaxis], adjoint_a=True)
        chol = self._capacitance_cholesky()
        chol = tf.broadcast_to(chol, tf.concat([tf.shape(along)[:-2], tf.shape(chol)[-2:]], axis=0))
        explained = tf.linalg.triangular_solve(chol, along)
        distance = tf.reduce_sum(tf.square(z), axis=-1) - tf.reduce_sum(
            tf.square(explained), axis=[-2, -1]
        )
        dimensions = self.scale_diag.shape[-1]
        return -0.5 * (distance + self.log_determinant() + dimensions * math.log(2.0 * math.pi))


@tfd.RegisterKL(MultivariateNormalLowRank, tfd.MultivariateNormalDiag)
def _kl_low_rank_diag(
    q: MultivariateNormalLowRank, p: tfd.MultivariateNormalDiag, name: str | None = None
) -> tf.Tensor:
    # 1/2 (tr(P^-1 Q) + (m - n)' P^-1 (m - n) - d + log det P - log det Q)
    with tf.name_scope(name or "kl_low_rank_diag"):
        variance = tf.square(p.stddev())
        distance = q.variance() + tf.math.squared_difference(q.mean(), p.mean())
        per_dimension = distance / variance - 1.0 + tf.math.log(variance)
        log_determinant = q.log_determinant()
        return 0.5 * (tf.reduce_sum(per_dimension, axis=-1) - log_determinant)
