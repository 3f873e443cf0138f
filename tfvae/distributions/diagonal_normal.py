"""A diagonal normal whose draws are the same with and without XLA, and cost less.

TFP leaves the draw to TensorFlow. From one seed that makes other numbers under XLA, where the words
of the generator become floats in another way, at 0.9 us of a processor for a number. Those of
`tfvae.random` are the same up to rounding, and cost 8 ns under XLA, where dense decoders of many
draws run; without it they cost 80, TensorFlow's words and Box and Muller's pairs 16.

TFP also reaches mean, density and divergence by linear operators and bijectors of any kind, in two
to three times the operations that a diagonal needs; every trace of a graph pays for them.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from tfvae import random


class MultivariateNormalDiag(tfd.MultivariateNormalDiag):
    """`tfd.MultivariateNormalDiag`; a seed means one draw, up to rounding, compiled or not.

    The noise has the precision of float32, whatever the parameters have, and is at most 5.3.

    Args:
        loc: mean, `[..., d]`; zero if `None`.
        scale_diag: standard deviations, `[..., d]`, of which the sign does not matter; one if
            `None`.

    All other arguments are TFP's. `log_prob` is in nats.

    Raises:
        ValueError: by `log_prob` for points of another size than d, by `kl_divergence` for two
            sizes.

    Example:
        >>> q = MultivariateNormalDiag(tf.zeros([2]), tf.ones([2]))
        >>> draw = lambda seed: q.sample(3, seed=seed)
        >>> compiled = tf.function(draw, jit_compile=True)
        >>> seed = tf.constant([0, 1])
        >>> bool(tf.reduce_all(tf.abs(draw(seed) - compiled(seed)) < 1e-5))
        True
    """

    def _shape_tensor(self) -> tf.Tensor:
        """Shape of batch and event."""
        shape = tf.shape(self.scale.diag_part())
        return shape if self.loc is None else tf.broadcast_dynamic_shape(shape, tf.shape(self.loc))

    def _batch_shape_tensor(self) -> tf.Tensor:
        return self._shape_tensor()[:-1]

    def _mean(self) -> tf.Tensor:
        loc = tf.zeros([], self.dtype) if self.loc is None else tf.convert_to_tensor(self.loc)
        shape = self.batch_shape + self.event_shape
        if loc.shape == shape and shape.is_fully_defined():
            return loc
        mean = tf.broadcast_to(loc, self._shape_tensor())
        mean.set_shape(shape)
        return mean

    def _call_sample_n(self, sample_shape: Any, seed: Any, **kwargs: Any) -> tf.Tensor:
        # Here, and not in `_sample_n`, as TFP's transformed distributions have it.
        return self._draw_and_noise(sample_shape, seed)[0]

    def _sample_and_log_prob(
        self, sample_shape: Any, seed: Any, **kwargs: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        draw, noise = self._draw_and_noise(sample_shape, seed)
        return draw, self._density_of_noise(noise)

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        distance = x if self.loc is None else x - self.loc
        if not distance.shape[-1:].is_compatible_with(self.event_shape):
            raise ValueError(
                f"Points have the event shape of the distribution, {self.event_shape}. "
                f"Received: points of shape {x.shape}"
            )
        return self._density_of_noise(distance / self.scale.diag_part())

    def experimental_local_measure(
        self, value: Any, backward_compat: bool = False, **kwargs: Any
    ) -> tuple[tf.Tensor, Any]:
        # What a transformed distribution asks of its base, in place of the density.
        return self.log_prob(value), tfp.experimental.tangent_spaces.FullSpace()

    def _parameter_control_dependencies(self, is_init: bool) -> list[tf.Operation]:
        # When it is made TFP looks by itself; a variable may be set later.
        checks = self.validate_args and not is_init
        return [self.scale.assert_non_singular()] if checks else []

    def _draw_and_noise(self, sample_shape: Any, seed: Any) -> tuple[tf.Tensor, tf.Tensor]:
        mean = self._mean()
        sample_shape = tf.reshape(tf.cast(sample_shape, tf.int32), [-1])
        shape = tf.concat([sample_shape, tf.shape(mean)], axis=0)
        seed = tfp.random.sanitize_seed(seed)
        noise = tf.reshape(random.standard_normal(seed, tf.reduce_prod(shape)), shape)
        noise = self._set_sample_static_shape(tf.cast(noise, self.dtype), sample_shape)
        return mean + self.scale.diag_part() * noise, noise

    def _density_of_noise(self, noise: tf.Tensor) -> tf.Tensor:
        """The log density of `loc + scale_diag * noise`."""
        log_scale = tf.math.log(tf.abs(self.scale.diag_part()))
        log_volume = self._sum(log_scale + 0.5 * math.log(2.0 * math.pi))
        return -0.5 * self._sum(tf.square(noise)) - log_volume

    def _sum(self, elements: tf.Tensor) -> tf.Tensor:
        if self._experimental_use_kahan_sum:
            return tfp.math.reduce_kahan_sum(elements, axis=-1).total
        return tf.reduce_sum(elements, axis=-1)


@tfd.RegisterKL(MultivariateNormalDiag, tfd.MultivariateNormalDiag)
def _kl_diag_diag(
    q: MultivariateNormalDiag, p: tfd.MultivariateNormalDiag, name: str | None = None
) -> tf.Tensor:
    # 1/2 sum_i (s_i^2 + (m_i - n_i)^2) / t_i^2 - 1 - log(s_i^2 / t_i^2)
    if not q.event_shape.is_compatible_with(p.event_shape):
        raise ValueError(
            "A divergence is one between distributions of the same event shape. "
            f"Received: {q.event_shape} and {p.event_shape}"
        )
    with tf.name_scope(name or "kl_diag_diag"):
        scale, unit, origin = q.scale.diag_part(), p.stddev(), p.mean()
        distance = origin if q.loc is None else origin - q.loc
        elements = tf.square(scale / unit) + tf.square(distance / unit) - 1.0
        log_ratio = tf.math.log(tf.abs(scale)) - tf.math.log(unit)
        return tf.reduce_sum(0.5 * elements - log_ratio, axis=-1)
