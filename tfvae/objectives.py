"""Objectives: bounds of log p(x) that are maximised, from the importance weights of several draws.

With K draws z_k of q(z|x), an objective is a function of the log-weights

    log w_k = log p(x, z_k) - log q(z_k|x),

and says two things of them: the value of its bound, `[B]` in nats, and the estimator of its
gradient, as the shares that each draw has in it. With a_k the shares for the model, b_k those for
the posterior, both constants, the gradient is

    model:      sum_k a_k d log p(x, z_k)
    posterior:  sum_k b_k (d log w_k / dz_k) dz_k - sum_k b_k d log q(z_k|x) at fixed z_k,

the last sum of which has the expectation zero where b_k = 1/K, and is left out by those that
`stop_density`. Where a_k = b_k and nothing is left out this is the derivative of the bound.

`maximized` makes the tensor of that value and that gradient.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions import plain

# Beside any share that counts it is nothing; it only keeps a ratio of two shares finite.
_LEAST_SHARE = 1e-30


class Objective(ABC):
    """Abstract base: a bound of log p(x) and the estimator of its gradient.

    Attributes:
        stop_density: whether the derivative of log q(z|x) by its parameters, at fixed z, is left
            out.
    """

    stop_density = False

    @abstractmethod
    def bound(self, log_weights: tf.Tensor) -> tf.Tensor:
        """The value, `[B]` in nats, for log-weights `[K, B]`."""

    @abstractmethod
    def shares(self, log_weights: tf.Tensor) -> tf.Tensor:
        """The share of each draw in the model's gradient, `[K, B]`."""

    def posterior_shares(self, log_weights: tf.Tensor) -> tf.Tensor:
        """The share of each draw in the posterior's gradient, `[K, B]`."""
        return self.shares(log_weights)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Objective:
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


def maximized(
    objective: Objective,
    q: tfd.Distribution,
    z: tf.Tensor,
    log_joint: Callable[[tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """The bound of an objective, with the gradient of its estimator.

    Args:
        objective: what is maximised.
        q: the posterior q(z|x), of batch shape `[B]`.
        z: reparameterised draws of it, `[K, B, *event]`.
        log_joint: the function z -> log p(x, z), from `[K, B, *event]` to `[K, B]`.

    Returns:
        `[B]`, in nats.

    Example:
        >>> q = tfd.MultivariateNormalDiag(tf.zeros([3, 2]), tf.ones([3, 2]))
        >>> prior = tfd.MultivariateNormalDiag(tf.zeros(2), tf.ones(2))
        >>> maximized(IWAE(), q, q.sample(5), prior.log_prob).numpy().tolist()
        [0.0, 0.0, 0.0]
    """
    shares: dict[str, tf.Tensor] = {}

    @tf.custom_gradient
    def shared_out(z: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        # What comes back has the model's shares; the posterior's are known by then.
        return tf.identity(z), lambda by_z: by_z * _over_events(shares["ratio"], z)

    # The joint, which holds the decoder, is differentiated once for model and posterior.
    log_p = log_joint(shared_out(z))
    log_q, by_posterior = _log_posterior(plain(q), z, objective.stop_density)
    log_weights = tf.stop_gradient(log_p - log_q)
    # No share is zero: a posterior's is a multiple of the model's.
    a = tf.stop_gradient(tf.maximum(objective.shares(log_weights), _LEAST_SHARE))
    b = tf.stop_gradient(objective.posterior_shares(log_weights))
    shares["ratio"] = b / a
    # sum_k a_k log p(x, z_k) - sum_k b_k log q(z_k|x)
    surrogate = tf.reduce_sum(a * log_p - b * by_posterior, axis=0)
    return objective.bound(log_weights) + surrogate - tf.stop_gradient(surrogate)


def _log_posterior(
    q: tfd.Distribution, z: tf.Tensor, stop_density: bool
) -> tuple[tf.Tensor, tf.Tensor]:
    """log q(z|x), and what has its gradient, by way of the draws alone if `stop_density`."""
    if not stop_density:
        log_q = q.log_prob(z)
        return log_q, log_q
    # The tape gives the derivatives by the draws alone, whatever the parameters depend on: of a
    # posterior with networks of its own, such as a flow, nothing else could.
    z_fixed = tf.stop_gradient(z)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(z_fixed)
        log_q = q.log_prob(z_fixed)
    by_z = tf.stop_gradient(tape.gradient(log_q, z_fixed))
    # (d log q / dz_k) z_k, whose derivative is that by the posterior's parameters through z_k
    return log_q, tf.reduce_sum(by_z * z, axis=list(range(2, z.shape.rank)))


def _over_events(values: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """`[K, B]` as `[K, B, 1, ...]`, of the rank of `z`."""
    return tf.reshape(values, [*tf.unstack(tf.shape(values)), *[1] * (z.shape.rank - 2)])


@keras.saving.register_keras_serializable(package="tfvae")
class ELBO(Objective):
    """The evidence lower bound, by Monte Carlo: (1/K) sum_k log w_k.

    Its gradient has more noise than that of a VAE with the divergence in closed form.

    Example:
        >>> ELBO().bound(tf.constant([[0.0], [2.0]])).numpy().tolist()
        [1.0]

    Reference:
        Kingma and Welling (2014), Auto-Encoding Variational Bayes, arXiv:1312.6114, equation 6.
    """

    def bound(self, log_weights: tf.Tensor) -> tf.Tensor:
        # (1/K) sum_k log w_k
        return tf.reduce_mean(log_weights, axis=0)

    def shares(self, log_weights: tf.Tensor) -> tf.Tensor:
        # 1/K
        return tf.ones_like(log_weights) / _count(log_weights)


@keras.saving.register_keras_serializable(package="tfvae")
class StickingTheLanding(ELBO):
    """The evidence lower bound, its gradient without the derivative of the density.

    That term has the expectation zero; without it the gradient has no variance where q(z|x) is
    p(z|x).

    Example:
        >>> StickingTheLanding().stop_density
        True

    Reference:
        Roeder, Wu and Duvenaud (2017), Sticking the Landing, arXiv:1703.09194, equation 6.
    """

    stop_density = True


@keras.saving.register_keras_serializable(package="tfvae")
class IWAE(Objective):
    """The importance-weighted bound log (1/K) sum_k w_k.

    It rises with K, towards log p(x); with one draw it is the evidence lower bound. The signal of
    the posterior's gradient falls against its noise as K rises: see `DReG`.

    Example:
        >>> round(float(IWAE().bound(tf.math.log([[1.0], [3.0]]))[0]), 4)
        0.6931

    Reference:
        Burda, Grosse and Salakhutdinov (2016), Importance Weighted Autoencoders,
        arXiv:1509.00519, equations 8 and 13.
    """

    def bound(self, log_weights: tf.Tensor) -> tf.Tensor:
        # log (1/K) sum_k w_k
        return _log_mean_exp(log_weights)

    def shares(self, log_weights: tf.Tensor) -> tf.Tensor:
        # w_k / sum_i w_i
        return tf.nn.softmax(log_weights, axis=0)


@keras.saving.register_keras_serializable(package="tfvae")
class DReG(IWAE):
    """The importance-weighted bound with the doubly reparameterised gradient.

    The expectation of the posterior's gradient is that of `IWAE`, and its signal rises against the
    noise with K. Where q(z|x) is p(z|x) it has no variance.

    Example:
        >>> DReG().posterior_shares(tf.zeros([2, 1])).numpy().tolist()
        [[0.25], [0.25]]

    Reference:
        Tucker, Lawson, Gu and Maddison (2019), Doubly Reparameterized Gradient Estimators for Monte
        Carlo Objectives, arXiv:1810.04152, equation 8.
    """

    stop_density = True

    def posterior_shares(self, log_weights: tf.Tensor) -> tf.Tensor:
        # (w_k / sum_i w_i)^2
        return tf.square(self.shares(log_weights))


@keras.saving.register_keras_serializable(package="tfvae")
class MIWAE(Objective):
    """The mean of several importance-weighted bounds: (1/M) sum_m log (M/K) sum_{k in m} w_k.

    The K draws fall into M groups, every M-th draw into the same; each has its own bound.

    Args:
        groups: the number of groups M, which must divide the number of draws.

    Raises:
        ValueError: if `groups` is not a positive integer, or does not divide the number of draws.

    Example:
        >>> MIWAE(2).bound(tf.constant([[0.0], [2.0], [0.0], [2.0]])).numpy().tolist()
        [1.0]

    Reference:
        Rainforth, Kosiorek, Le, Maddison, Igl, Wood and Teh (2018), Tighter Variational Bounds are
        Not Necessarily Better, arXiv:1802.04537, equation 14.
    """

    def __init__(self, groups: int) -> None:
        if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1:
            raise ValueError(f"`groups` must be an integer of at least 1. Received: {groups!r}")
        self.groups = groups

    def bound(self, log_weights: tf.Tensor) -> tf.Tensor:
        # (1/M) sum_m log (M/K) sum_{k in m} w_k
        return tf.reduce_mean(_log_mean_exp(self._grouped(log_weights)), axis=0)

    def shares(self, log_weights: tf.Tensor) -> tf.Tensor:
        # (1/M) w_k / sum_{i in m} w_i, for k in m
        shares = tf.nn.softmax(self._grouped(log_weights), axis=0) / self.groups
        return tf.reshape(shares, tf.shape(log_weights))

    def _grouped(self, log_weights: tf.Tensor) -> tf.Tensor:
        """`[K, B]` as `[K/M, M, B]`."""
        if log_weights.shape[0] % self.groups:
            raise ValueError(
                "`groups` must divide the number of draws, which `Samples(K)` of the encoder's "
                f"layer says. Received: groups={self.groups} and {log_weights.shape[0]} draw(s)"
            )
        return tf.reshape(log_weights, [-1, self.groups, tf.shape(log_weights)[1]])

    def get_config(self) -> dict[str, Any]:
        return {"groups": self.groups}


@keras.saving.register_keras_serializable(package="tfvae")
class PIWAE(MIWAE):
    """The model maximises the bound of `IWAE`, the posterior that of `MIWAE`.

    Args:
        groups: the number of groups M of the posterior's bound, which must divide the draws.

    Raises:
        ValueError: if `groups` is not a positive integer, or does not divide the number of draws.

    Example:
        >>> float(PIWAE(2).bound(tf.zeros([4, 1]))[0])
        0.0

    Reference:
        Rainforth et al. (2018), arXiv:1802.04537, equations 16 and 17.
    """

    def bound(self, log_weights: tf.Tensor) -> tf.Tensor:
        # log (1/K) sum_k w_k
        return _log_mean_exp(log_weights)

    def shares(self, log_weights: tf.Tensor) -> tf.Tensor:
        # w_k / sum_i w_i
        return tf.nn.softmax(log_weights, axis=0)

    def posterior_shares(self, log_weights: tf.Tensor) -> tf.Tensor:
        # (1/M) w_k / sum_{i in m} w_i, for k in m
        return super().shares(log_weights)


@keras.saving.register_keras_serializable(package="tfvae")
class CIWAE(Objective):
    """Between two bounds: beta ELBO + (1 - beta) IWAE.

    Args:
        beta: the share of the evidence lower bound, from 0 to 1.

    Raises:
        ValueError: if `beta` is not in that range.

    Example:
        >>> round(float(CIWAE(0.5).bound(tf.math.log([[1.0], [3.0]]))[0]), 4)
        0.6212

    Reference:
        Rainforth et al. (2018), arXiv:1802.04537, equation 15.
    """

    def __init__(self, beta: float) -> None:
        if isinstance(beta, bool) or not isinstance(beta, (int, float)) or not 0 <= beta <= 1:
            raise ValueError(f"`beta` must be a number from 0 to 1. Received: {beta!r}")
        self.beta = float(beta)

    def bound(self, log_weights: tf.Tensor) -> tf.Tensor:
        # beta (1/K) sum_k log w_k + (1 - beta) log (1/K) sum_k w_k
        elbo = tf.reduce_mean(log_weights, axis=0)
        return self.beta * elbo + (1.0 - self.beta) * _log_mean_exp(log_weights)

    def shares(self, log_weights: tf.Tensor) -> tf.Tensor:
        # beta / K + (1 - beta) w_k / sum_i w_i
        importance = tf.nn.softmax(log_weights, axis=0)
        return self.beta / _count(log_weights) + (1.0 - self.beta) * importance

    def get_config(self) -> dict[str, Any]:
        return {"beta": self.beta}


@keras.saving.register_keras_serializable(package="tfvae")
class Renyi(Objective):
    """The variational Rényi bound 1/(1 - alpha) log (1/K) sum_k w_k^(1 - alpha).

    At alpha = 0 it is that of `IWAE`, near 1 the evidence lower bound; at minus infinity it is the
    largest log-weight. For negative alpha it is no lower bound of log p(x).

    Args:
        alpha: the order, a number other than 1, or `-math.inf`.

    Raises:
        ValueError: if `alpha` is 1, not a number, or plus infinity.

    Example:
        >>> Renyi(-math.inf).bound(tf.constant([[0.0], [2.0]])).numpy().tolist()
        [2.0]

    Reference:
        Li and Turner (2016), Rényi Divergence Variational Inference, arXiv:1602.02311, equations 7
        to 10.
    """

    def __init__(self, alpha: float) -> None:
        is_number = isinstance(alpha, (int, float)) and not isinstance(alpha, bool)
        if not is_number or not alpha < math.inf or alpha == 1:
            raise ValueError(
                "`alpha` must be a number other than 1, where the bound is `ELBO`, or -math.inf. "
                f"Received: {alpha!r}"
            )
        self.alpha = float(alpha)

    def bound(self, log_weights: tf.Tensor) -> tf.Tensor:
        if self.alpha == -math.inf:
            # max_k log w_k
            return tf.reduce_max(log_weights, axis=0)
        # 1/(1 - alpha) log (1/K) sum_k w_k^(1 - alpha)
        return _log_mean_exp((1.0 - self.alpha) * log_weights) / (1.0 - self.alpha)

    def shares(self, log_weights: tf.Tensor) -> tf.Tensor:
        if self.alpha == -math.inf:
            # 1 for the largest weight
            largest = tf.argmax(log_weights, axis=0)
            return tf.one_hot(largest, log_weights.shape[0], axis=0, dtype=log_weights.dtype)
        # w_k^(1 - alpha) / sum_i w_i^(1 - alpha)
        return tf.nn.softmax((1.0 - self.alpha) * log_weights, axis=0)

    def get_config(self) -> dict[str, Any]:
        return {"alpha": self.alpha}


def _count(log_weights: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.shape(log_weights)[0], log_weights.dtype)


def _log_mean_exp(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_logsumexp(values, axis=0) - tf.math.log(_count(values))
