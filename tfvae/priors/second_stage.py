"""The second stage of a two-stage VAE: a VAE of codes, as a prior of codes."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from tfvae import random
from tfvae.distributions import plain
from tfvae.distributions.elements import elements_or_none
from tfvae.priors.base import Prior
from tfvae.priors.normal import draw_standard_normal, independent_normal

# The stream of a seed with the noise of p(z|u); that of u is stream 0.
_LIKELIHOOD = 1
# Of the noise behind a density: the same for every code, so that it is a function of the code.
_SEED = 0


@keras.saving.register_keras_serializable(package="tfvae")
class SecondStage(Prior):
    """The codes that a VAE of codes generates: p(z) = E[p(z|u)], u standard normal.

    A draw is one of p(z|u), with its noise. The density has no closed form; `log_prob` is the
    importance-weighted estimate

        log p(z) ~ log (1/K) sum_k p(z|u_k) p(u_k) / q(u_k|z),   u_k ~ q(u|z),

    in expectation a lower bound of it that rises with K, from noise that is the same for every
    code, so that it is a function. It is made for networks that are trained already, as
    `tfvae.latent.fit_sampler` does, and is therefore not trainable unless it is told so.

    Args:
        event_shape: the size of a code z, which is a vector.
        encoder: from codes `[B, D]` to a multivariate normal distribution over u.
        decoder: from u to a distribution over codes of independent normal elements, such as one
            that ends in `tfvae.layers.IndependentNormal`.
        num_samples: the number K of draws behind a density.
        trainable: whether the networks are trained with the model that this is the prior of.
        **kwargs: `name`, `dtype`.

    Raises:
        ValueError: if a code is not a vector, or `num_samples` not a positive integer.

    Example:
        >>> from tfvae.layers import IndependentNormal, MultivariateNormalDiag
        >>> encoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
        >>> encoder.add(MultivariateNormalDiag(2))
        >>> decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> decoder.add(IndependentNormal(3, scale="shared"))
        >>> prior = SecondStage(3, encoder, decoder)
        >>> prior.draw(random.seeds(0, 5)).shape.as_list(), prior().log_prob(tf.zeros((4, 3))).shape
        ([5, 3], TensorShape([4]))

    Reference:
        Dai and Wipf (2019), Diagnosing and Enhancing VAE Models, arXiv:1903.05789, section 4.
    """

    def __init__(
        self,
        event_shape: Any,
        encoder: keras.Model,
        decoder: keras.Model,
        num_samples: int = 100,
        trainable: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_shape, **kwargs)
        if len(self.event_shape) != 1:
            raise ValueError(
                f"The codes of a second stage are vectors. Received: event_shape={event_shape!r}"
            )
        if isinstance(num_samples, bool) or not isinstance(num_samples, int) or num_samples < 1:
            raise ValueError(
                f"`num_samples` must be an integer of at least 1. Received: {num_samples!r}"
            )
        self.num_samples = num_samples
        self.encoder, self.decoder = encoder, decoder
        self.latent_shape = tuple(decoder.input_shape[1:])
        self.trainable = trainable

    def likelihood(self, u: tf.Tensor) -> tfd.Distribution:
        """p(z|u) for `[N, L]`."""
        return plain(self.decoder(u, training=False))

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """The estimate for codes `[N, D]`, `[N]`."""
        q = plain(self.encoder(z, training=False))
        if not isinstance(q, tfd.MultivariateNormalLinearOperator):
            raise NotImplementedError(
                "The density of a second stage is estimated with a normal q(u|z), such as "
                f"`tfvae.layers.MultivariateNormalDiag` makes. Received: {q!r}"
            )
        # In pairs of opposite signs: what all codes share of the error is a third as large.
        half = random.normal(random.seeds(_SEED, (self.num_samples + 1) // 2), self.latent_shape[0])
        noise = tf.concat([half, -half], axis=0)[: self.num_samples]
        u = q.bijector.forward(tf.cast(noise, self.compute_dtype)[:, tf.newaxis])
        p = self.likelihood(tf.reshape(u, [-1, *self.latent_shape]))
        log_likelihood = tf.reshape(p.log_prob(tf.tile(z, [self.num_samples, 1])), tf.shape(u)[:2])
        zeros = tf.zeros(self.latent_shape, self.compute_dtype)
        log_ratio = independent_normal(zeros, tf.ones_like(zeros)).log_prob(u) - q.log_prob(u)
        count = tf.cast(self.num_samples, self.compute_dtype)
        return tf.reduce_logsumexp(log_likelihood + log_ratio, axis=0) - tf.math.log(count)

    def distribution(self) -> tfd.Distribution:
        return _Marginal(self)

    def draw(self, row_seeds: Any) -> tf.Tensor:
        u = draw_standard_normal(row_seeds, self.latent_shape, self.compute_dtype)
        likelihood = self.likelihood(u)
        normals = elements_or_none(likelihood)
        if not isinstance(normals, tfd.Normal):
            raise NotImplementedError(
                "Draws from seeds are those of a normal likelihood, such as "
                f"`tfvae.layers.IndependentNormal`. Received: {likelihood!r}"
            )
        noise = random.normal(row_seeds, self.event_shape[0], stream=_LIKELIHOOD)
        return normals.mean() + normals.stddev() * tf.cast(noise, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "encoder": serialize(self.encoder),
            "decoder": serialize(self.decoder),
            "num_samples": self.num_samples,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SecondStage:
        networks = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("encoder", "decoder")
        }
        return cls(**{**config, **networks})


class _Marginal(tfd.Distribution):
    """p(z) of a second stage, in the form that TFP gives distributions."""

    def __init__(self, stage: SecondStage, name: str = "SecondStage") -> None:
        self._stage = stage
        super().__init__(
            dtype=tf.as_dtype(stage.compute_dtype),
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=False,
            parameters={"stage": stage, "name": name},
            name=name,
        )

    def _batch_shape(self) -> tf.TensorShape:
        return tf.TensorShape([])

    def _batch_shape_tensor(self, **parameters: Any) -> tf.Tensor:
        return tf.constant([], tf.int32)

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape(self._stage.event_shape)

    def _event_shape_tensor(self, **parameters: Any) -> tf.Tensor:
        return tf.constant(self._stage.event_shape, tf.int32)

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        rows = tf.reshape(z, [-1, *self._stage.event_shape])
        return tf.reshape(self._stage.log_prob(rows), tf.shape(z)[:-1])

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        seed = tfp.random.sanitize_seed(seed)
        bits = tf.random.stateless_uniform([n, 2], seed, None, None, tf.int32)
        return self._stage.draw(bits)
