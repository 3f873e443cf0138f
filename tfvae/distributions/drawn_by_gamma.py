"""Families whose draws are made of gamma variables, in a form that XLA compiles.

TFP draws them by a loop whose shape XLA cannot follow through TFP's own code when the size of the
batch is not known beforehand, as in the last, smaller batch of an epoch; the negative binomial by
TensorFlow's gamma sampler, which XLA has no kernel for. `tfd.Gamma` with a rate of the shape of the
concentration does compile, and has the gradients.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd


class StudentT(tfd.StudentT):
    """`tfd.StudentT`, drawn as a normal over the square root of a gamma variable.

    Example:
        >>> StudentT([3.0, 4.0], 0.0, 1.0).sample(5, seed=(1, 2)).shape.as_list()
        [5, 2]
    """

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        gamma_seed, normal_seed = tfp.random.split_seed(seed, salt="StudentT")
        half = 0.5 * (self.df + tf.zeros_like(self.loc) + tf.zeros_like(self.scale))
        chi_square_over_df = tfd.Gamma(half, rate=half).sample(n, gamma_seed)
        noise = tf.random.stateless_normal(
            tf.shape(chi_square_over_df), normal_seed, dtype=self.dtype
        )
        return self.loc + self.scale * noise * tf.math.rsqrt(chi_square_over_df)


class Beta(tfd.Beta):
    """`tfd.Beta`, drawn as the share of one gamma variable in the sum of two.

    Example:
        >>> Beta([3.0, 4.0], 2.0).sample(5, seed=(1, 2)).shape.as_list()
        [5, 2]
    """

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        seeds = tfp.random.split_seed(seed, salt="Beta")
        shape_of = tf.zeros_like(self.concentration1) + tf.zeros_like(self.concentration0)
        # Logarithms, because gamma variables of a small concentration underflow.
        ones, zeros = (
            tfd.ExpGamma(concentration + shape_of, rate=1.0 + shape_of).sample(n, each)
            for concentration, each in zip(
                (self.concentration1, self.concentration0), seeds, strict=True
            )
        )
        return tf.sigmoid(ones - zeros)


class NegativeBinomial(tfd.NegativeBinomial):
    """`tfd.NegativeBinomial`, drawn as a Poisson count whose rate is a gamma variable.

    XLA compiles the draw for batches of a fixed size: TFP's Poisson sampler goes no further.

    Example:
        >>> NegativeBinomial([3.0, 4.0], logits=0.5).sample(5, seed=(1, 2)).shape.as_list()
        [5, 2]
    """

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        rate_seed, count_seed = tfp.random.split_seed(seed, salt="NegativeBinomial")
        logits = self.logits_parameter() + tf.zeros_like(self.total_count)
        total_count = self.total_count + tf.zeros_like(logits)
        rate = tfd.Gamma(total_count, log_rate=-logits).sample(n, rate_seed)
        return tfd.Poisson(rate).sample(seed=count_seed)
