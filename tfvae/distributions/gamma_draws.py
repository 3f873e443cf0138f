"""Gamma variables without a loop, and the families whose draws are made of them.

TFP draws a gamma variable by rejection in a loop of unknown length. In a training step XLA cannot
follow the shape of the batch into it, unless that is known before the step is traced: a model with
a gamma, beta or Student's t layer then fails at the last, smaller batch of an epoch. Marsaglia and
Tsang's proposal is accepted 95 times in a hundred or more, so a fixed number of trials, side by
side, does what the loop does. The gradient is the implicit one, as TFP's is.

Reference:
    Marsaglia and Tsang (2000), A Simple Method for Generating Gamma Variables, ACM TOMS 26(3);
    Figurnov, Mohamed and Mnih (2018), Implicit Reparameterization Gradients, arXiv:1805.08498.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

# All are rejected once in 1e10 draws; such a draw is the peak of the proposal.
_TRIALS = 8
# Below its exponential, 1e-26, a gamma variable is a power of a uniform one to float32 precision.
_LOG_SMALL = -60.0


def log_gamma_draws(n: Any, concentration: tf.Tensor, seed: Any) -> tf.Tensor:
    """Draws logarithms of gamma variables of rate 1, which do not underflow.

    Args:
        n: how many draws.
        concentration: positive, any shape.
        seed: a seed, int32 `[2]`.

    Returns:
        `[n, ...]`, differentiable in the concentration.

    Example:
        >>> draws = log_gamma_draws(20_000, tf.constant([0.5, 3.0]), tf.constant([1, 2]))
        >>> tf.reduce_mean(tf.exp(draws), axis=0).numpy().round(1).tolist()
        [0.5, 3.0]
    """
    a = tf.stop_gradient(concentration)
    trial_seed, level_seed, power_seed = tfp.random.split_seed(seed, 3, salt="log_gamma_draws")
    shape = tf.concat([[n], tf.shape(a)], axis=0)
    trials = tf.concat([[_TRIALS], shape], axis=0)
    # A concentration below one is drawn as one above, times a power of a uniform variable.
    d = tf.where(a < 1.0, a + 1.0, a) - 1.0 / 3.0
    x = tf.random.stateless_normal(trials, trial_seed, dtype=a.dtype)
    root = 1.0 + x * tf.math.rsqrt(9.0 * d)
    log_v = 3.0 * tf.math.log(tf.maximum(root, 1e-6))
    level = tf.math.log1p(-tf.random.stateless_uniform(trials, level_seed, dtype=a.dtype))
    accepted = (root > 0.0) & (level < 0.5 * x**2 + d * (1.0 - tf.exp(log_v) + log_v))
    chosen = tf.zeros(shape, a.dtype)
    for trial in reversed(range(_TRIALS)):
        chosen = tf.where(accepted[trial], log_v[trial], chosen)
    uniform = tf.random.stateless_uniform(shape, power_seed, dtype=a.dtype)
    power = tf.where(a < 1.0, tf.math.log1p(-uniform) / a, 0.0)
    return _with_gradient(tf.math.log(d) + chosen + power, concentration)


def _with_gradient(log_gamma: tf.Tensor, concentration: tf.Tensor) -> tf.Tensor:
    """Gives drawn logarithms the derivative -(dF/da) / (dF/d log g) of their distribution F."""
    a = tf.stop_gradient(concentration)
    shaped = a + tf.zeros_like(log_gamma)
    # F(g) = g^a / Gamma(a + 1), for g close to zero.
    of_power = (tf.math.digamma(shaped + 1.0) - log_gamma) / shaped
    gamma = tf.exp(tf.maximum(log_gamma, _LOG_SMALL))
    of_gamma = tf.raw_ops.RandomGammaGrad(alpha=shaped, sample=gamma) / gamma
    slope = tf.stop_gradient(tf.where(log_gamma < _LOG_SMALL, of_power, of_gamma))
    return tf.stop_gradient(log_gamma) + slope * (concentration - a)


class Gamma(tfd.Gamma):
    """`tfd.Gamma`, drawn without a loop.

    Example:
        >>> Gamma([3.0, 4.0], 2.0).sample(5, seed=(1, 2)).shape.as_list()
        [5, 2]
    """

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        log_rate = tf.math.log(self.rate) if self.log_rate is None else self.log_rate
        concentration = self.concentration + tf.zeros_like(log_rate)
        draws = tf.exp(log_gamma_draws(n, concentration, seed) - log_rate)
        return tf.maximum(draws, draws.dtype.as_numpy_dtype(1e-37))


class StudentT(tfd.StudentT):
    """`tfd.StudentT`, drawn as a normal variable over the root of a gamma variable.

    Example:
        >>> StudentT([3.0, 4.0], 0.0, 1.0).sample(5, seed=(1, 2)).shape.as_list()
        [5, 2]
    """

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        gamma_seed, normal_seed = tfp.random.split_seed(seed, salt="StudentT")
        half = 0.5 * (self.df + tf.zeros_like(self.loc) + tf.zeros_like(self.scale))
        log_ratio = log_gamma_draws(n, half, gamma_seed) - tf.math.log(half)
        noise = tf.random.stateless_normal(tf.shape(log_ratio), normal_seed, dtype=self.dtype)
        return self.loc + self.scale * noise * tf.exp(-0.5 * log_ratio)


class Beta(tfd.Beta):
    """`tfd.Beta`, drawn as the share of one gamma variable in the sum of two.

    Example:
        >>> Beta([3.0, 4.0], 2.0).sample(5, seed=(1, 2)).shape.as_list()
        [5, 2]
    """

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        one_seed, zero_seed = tfp.random.split_seed(seed, salt="Beta")
        zeros = tf.zeros_like(self.concentration1) + tf.zeros_like(self.concentration0)
        one = log_gamma_draws(n, self.concentration1 + zeros, one_seed)
        zero = log_gamma_draws(n, self.concentration0 + zeros, zero_seed)
        return tf.sigmoid(one - zero)


class NegativeBinomial(tfd.NegativeBinomial):
    """`tfd.NegativeBinomial`, drawn as a Poisson count whose rate is a gamma variable.

    TFP's Poisson sampler is a loop in turn: in a training step XLA compiles it for a size of the
    batch that is known beforehand.

    Example:
        >>> NegativeBinomial([3.0, 4.0], logits=0.5).sample(5, seed=(1, 2)).shape.as_list()
        [5, 2]
    """

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        rate_seed, count_seed = tfp.random.split_seed(seed, salt="NegativeBinomial")
        logits = self.logits_parameter() + tf.zeros_like(self.total_count)
        rate = Gamma(self.total_count, log_rate=-logits).sample(n, rate_seed)
        return tfd.Poisson(rate).sample(seed=count_seed)
