"""The distance of the aggregate posterior from the prior by a kernel: InfoVAE and WAE-MMD."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.layers.scheduled_weight import as_scheduled_weight, scheduled_weight_config
from tfvae.layers.seeded import SeededLayer
from tfvae.regularizers.measures import draws, flatten, for_each_example
from tfvae.regularizers.prior_regularizer import PriorRegularizer

KERNELS = ("imq", "rbf")


@keras.saving.register_keras_serializable(package="tfvae")
class MaximumMeanDiscrepancy(PriorRegularizer):
    """The squared maximum mean discrepancy of the aggregate posterior q(z) from the prior p(z):

        weight * (E k(z, z') + E k(y, y') - 2 E k(z, y)),   z, z' ~ q(z),  y, y' ~ p(z),

    estimated without bias from the codes of a batch and as many draws of the prior, pairs of one
    and the same excluded. It may therefore be negative. With C = 2 d s for codes of d dimensions
    the kernel is a sum over the scales s of

        imq:   C / (C + |z - y|^2)           rbf:   exp(-|z - y|^2 / C).

    It is a number of the whole batch, the same for each example; a batch of one costs nothing.
    Alone it makes the Wasserstein autoencoder; InfoVAE adds a divergence:

        Sum([KLDivergenceRegularizer(prior, weight=1 - alpha),
             MaximumMeanDiscrepancy(prior, weight=alpha + lambda - 1)])

    Args:
        prior: p(z), a layer of `tfvae.priors`.
        weight: a number, a schedule of `tfvae.schedules` (logged as `mmd_weight`), or a
            `keras.Variable`. WAE trains MNIST at 10, InfoVAE at 1000.
        kernel: `"imq"`, the inverse multiquadratic, or `"rbf"`, the Gaussian.
        scales: the scales s, relative to a standard normal prior.
        seed: fixes the draws of the prior; taken from Python's generator if `None`.
        **kwargs: `name`, `dtype`.

    Raises:
        TypeError: if `prior` is not a prior.
        ValueError: if `weight` is negative, the kernel is unknown, or a scale is not positive.

    Example:
        >>> from tfvae.priors import StandardNormal
        >>> regularizer = MaximumMeanDiscrepancy(StandardNormal(2), weight=10.0, seed=1)
        >>> far = tfd.MultivariateNormalDiag(10 * tf.ones([8, 2]), tf.ones([8, 2]))
        >>> cost = regularizer(far)
        >>> cost.shape.as_list(), bool(cost[0] > 10)
        ([8], True)

    Reference:
        Zhao, Song and Ermon (2019), InfoVAE, arXiv:1706.02262, equations 6 and 7; Tolstikhin,
        Bousquet, Gelly and Schölkopf (2018), Wasserstein Auto-Encoders, arXiv:1711.01558,
        algorithm 2 and appendix C, for the estimator, the kernel and the scales.
    """

    term_names = ("mmd",)

    def __init__(
        self,
        prior: Any,
        weight: Any = 10.0,
        kernel: str = "imq",
        scales: Sequence[float] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(prior, **kwargs)
        if kernel not in KERNELS:
            raise ValueError(f"`kernel` must be one of {KERNELS}. Received: {kernel!r}")
        if not len(scales) or not all(scale > 0 for scale in scales):
            raise ValueError(f"`scales` must be positive numbers. Received: {scales!r}")
        self.weight = as_scheduled_weight(weight, "weight", "mmd_weight")
        self.kernel = kernel
        self.scales = [float(scale) for scale in scales]
        self.noise = SeededLayer(seed, name="noise")

    def terms(self, q: tfd.Distribution) -> dict[str, tf.Tensor]:
        z = draws(q)
        prior_draws = self.prior_distribution().sample(tf.shape(z)[:2], seed=self.noise.next_seed())
        z, y = flatten(z, leading=2), flatten(tf.cast(prior_draws, z.dtype), leading=2)
        size = tf.cast(tf.shape(z)[1], z.dtype)
        # 1/(B(B-1)) sum_{i != j} (k(z_i, z_j) + k(y_i, y_j)) - 2/B^2 sum_{i, j} k(z_i, y_j)
        within = self._other_pairs(z) + self._other_pairs(y)
        between = tf.reduce_sum(self._kernel(z, y), axis=[1, 2])
        mmd = tf.math.divide_no_nan(within, size * (size - 1.0)) - 2.0 * between / size**2
        return {"mmd": for_each_example(tf.where(size > 1.0, tf.reduce_mean(mmd), 0.0), z)}

    def _other_pairs(self, points: tf.Tensor) -> tf.Tensor:
        """The sum of the kernel over pairs of different points, `[S]`."""
        kernel = self._kernel(points, points)
        return tf.reduce_sum(kernel, axis=[1, 2]) - tf.linalg.trace(kernel)

    def _kernel(self, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        """The kernel of all pairs of `[S, B, D]` and `[S, B, D]`: `[S, B, B]`."""
        squares = tf.reduce_sum(tf.square(a[:, :, tf.newaxis] - b[:, tf.newaxis]), axis=-1)
        total = tf.zeros_like(squares)
        for scale in self.scales:
            c = 2.0 * scale * a.shape[-1]
            total += c / (c + squares) if self.kernel == "imq" else tf.exp(-squares / c)
        return total

    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.cast(self.weight, terms["mmd"].dtype) * terms["mmd"]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "weight": scheduled_weight_config(self.weight),
            "kernel": self.kernel,
            "scales": self.scales,
            "seed": self.noise.seed,
        }
