"""The divergence in three terms, weighted one by one: beta-TCVAE."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions.elements import elements
from tfvae.layers.parameters import positive_integer
from tfvae.layers.scheduled_weight import as_scheduled_weight, scheduled_weight_config
from tfvae.regularizers.measures import draws, flatten
from tfvae.regularizers.prior_regularizer import PriorRegularizer

ESTIMATORS = ("weighted", "stratified")
WEIGHTS = {"alpha": "mutual_information", "beta": "total_correlation", "gamma": "dimension_kl"}


@keras.saving.register_keras_serializable(package="tfvae")
class TotalCorrelation(PriorRegularizer):
    """The divergence, decomposed over the data x and the aggregate posterior q(z):

        alpha * E[log q(z|x) - log q(z)]                mutual information of x and z
        + beta * E[log q(z) - sum_j log q(z_j)]         total correlation of the dimensions
        + gamma * E[sum_j log q(z_j) - log p(z)]        divergence of each dimension from its prior

    With all weights 1 the sum is the Monte Carlo estimate of KL(q(z|x) || p(z)). q(z) is estimated
    from the batch x_1 ... x_M, out of N examples, at the draw z that the decoder saw:

        weighted:     q(z) ~ 1/(N M) sum_j q(z|x_j)
        stratified:   q(z) ~ 1/N q(z|x_i) + (N-M+1)/(N (M-1)) q(z|x_i') + 1/(M-1) sum_rest q(z|x_j)

    where z was drawn for x_i and i' is another example, here the next one. Each is a number of one
    example, from all of the batch; under a distribution strategy a replica's batch counts. The
    weighted estimate of q(z) is too low, by log(N) where all posteriors agree: its gradients serve,
    but its terms are no nats to compare. Those of the stratified one are, up to the logarithm of a
    mean over few examples.

    Args:
        prior: p(z), a layer of `tfvae.priors`.
        dataset_size: the number N of training examples; at least the size of a batch.
        beta: weight of the total correlation: a number, a schedule of `tfvae.schedules` (logged
            under its name), or a `keras.Variable`.
        alpha: weight of the mutual information, as `beta`.
        gamma: weight of the dimensions' divergences, as `beta`.
        estimator: `"weighted"` or `"stratified"`.
        **kwargs: `name`, `dtype`.

    Raises:
        TypeError: if `prior` is not a prior.
        ValueError: if an argument is out of its range, if a batch is known to be larger than the
            dataset, or if the posterior's dimensions may depend on each other.

    Example:
        >>> from tfvae.priors import StandardNormal
        >>> regularizer = TotalCorrelation(StandardNormal(2), dataset_size=100, beta=6.0)
        >>> q = tfd.MultivariateNormalDiag(tf.ones([3, 2]), tf.ones([3, 2]))
        >>> list(regularizer.terms(q)), regularizer(q).shape.as_list()
        (['kl', 'mutual_information', 'total_correlation', 'dimension_kl'], [3])

    Reference:
        Chen, Li, Grosse and Duvenaud (2018), Isolating Sources of Disentanglement in Variational
        Autoencoders, arXiv:1802.04942, equations 2, 4 and 5, and appendices C.1 and C.2.
    """

    term_names = ("kl", *WEIGHTS.values())

    def __init__(
        self,
        prior: Any,
        dataset_size: int,
        beta: Any = 6.0,
        alpha: Any = 1.0,
        gamma: Any = 1.0,
        estimator: str = "weighted",
        **kwargs: Any,
    ) -> None:
        super().__init__(prior, **kwargs)
        self.dataset_size = positive_integer(dataset_size, "dataset_size")
        if estimator not in ESTIMATORS:
            raise ValueError(f"`estimator` must be one of {ESTIMATORS}. Received: {estimator!r}")
        self.estimator = estimator
        self.alpha = as_scheduled_weight(alpha, "alpha")
        self.beta = as_scheduled_weight(beta, "beta")
        self.gamma = as_scheduled_weight(gamma, "gamma")

    def terms(self, q: tfd.Distribution) -> dict[str, tf.Tensor]:
        z = draws(q)
        # log q(z_j|x_n) of the draw for x_m at [s, m, n, j]
        log_conditional = flatten(elements(q).log_prob(z[:, :, tf.newaxis]), leading=3)
        log_weights = self._log_weights(log_conditional)
        # log q(z|x) = sum_j log q(z_j|x), of the example that z was drawn for
        log_q_zx = tf.linalg.diag_part(tf.reduce_sum(log_conditional, axis=-1))
        # log q(z) = log sum_n w_mn prod_j q(z_j|x_n)
        log_q_z = tf.reduce_logsumexp(log_weights + tf.reduce_sum(log_conditional, axis=-1), axis=2)
        # log prod_j q(z_j) = sum_j log sum_n w_mn q(z_j|x_n)
        log_prod_q = tf.reduce_sum(
            tf.reduce_logsumexp(log_weights[..., tf.newaxis] + log_conditional, axis=2), axis=-1
        )
        log_p = self.prior_distribution().log_prob(z)
        terms = {
            "kl": log_q_zx - log_p,
            "mutual_information": log_q_zx - log_q_z,
            "total_correlation": log_q_z - log_prod_q,
            "dimension_kl": log_prod_q - log_p,
        }
        return {name: tf.reduce_mean(term, axis=0) for name, term in terms.items()}

    def _log_weights(self, log_conditional: tf.Tensor) -> tf.Tensor:
        """The logarithm of each example's share in q(z), at `[m, n]`, draws by examples."""
        size, dtype = tf.shape(log_conditional)[2], log_conditional.dtype
        known = log_conditional.shape[2]
        if known is not None and known > self.dataset_size:
            raise ValueError(
                "`dataset_size` is the number of training examples, of which a batch is a part. "
                f"Received: dataset_size={self.dataset_size} and a batch of {known}"
            )
        n, m = tf.cast(self.dataset_size, dtype), tf.cast(size, dtype)
        if self.estimator == "weighted":
            return -math.log(self.dataset_size) - tf.fill([size, size], tf.math.log(m))
        others = tf.maximum(m - 1.0, 1.0)
        own = tf.eye(size, dtype=dtype)
        following = tf.roll(own, shift=1, axis=1) * (1.0 - own)
        weights = (
            own / n + following * (n - others) / (n * others) + (1.0 - own - following) / others
        )
        return tf.math.log(weights)

    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.add_n(
            [
                tf.cast(getattr(self, weight), terms[name].dtype) * terms[name]
                for weight, name in WEIGHTS.items()
            ]
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "dataset_size": self.dataset_size,
            **{name: scheduled_weight_config(getattr(self, name)) for name in WEIGHTS},
            "estimator": self.estimator,
        }
