"""`tfp.layers` on tf_keras, as TFP's own tutorial writes a VAE.

Its divergence is exact and halved: on Keras 2 the regulariser is added twice, and the check of the
losses would find it out otherwise.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

from bench_competitors.cases import (
    CHECK_BATCH,
    CHECK_STEPS,
    LEARNING_RATE,
    Inputs,
    decoder_layers,
    encoder_layers,
)
from bench_competitors.contract import EVALUATION_DRAWS, EVALUATION_IMAGES, Check, Competitor
from bench_competitors.keras_model import keras_layers

tfd, tfpl = tfp.distributions, tfp.layers


def negative_log_likelihood(x: tf.Tensor, p: Any) -> tf.Tensor:
    """The loss of the tutorial."""
    return -p.log_prob(x)


class TfpLayers(Competitor):
    """`fit` on arrays; the images are input and target."""

    def __init__(self, inputs: Inputs, batch: int, variant: str) -> None:
        super().__init__(inputs, batch, variant)
        case, kit = inputs.case, tf_keras.layers
        self.prior = tfd.Independent(
            tfd.Normal(tf.zeros(case.latent), 1.0), reinterpreted_batch_ndims=1
        )
        self.draw: Any = tfd.Distribution.sample
        posterior = tfpl.IndependentNormal(
            case.latent,
            convert_to_tensor_fn=lambda q: self.draw(q),
            activity_regularizer=tfpl.KLDivergenceRegularizer(
                self.prior, use_exact_kl=True, weight=0.5
            ),
        )
        flatten = [kit.Flatten()] if case.network == "dense" else []
        encoder = keras_layers(encoder_layers(case), case.activation, kit)
        decoder = keras_layers(decoder_layers(case), case.activation, kit)
        self.encoder = tf_keras.Sequential(
            [tf_keras.Input(case.image_shape), *flatten, *encoder, posterior]
        )
        likelihood = tfpl.IndependentBernoulli(case.image_shape, tfd.Bernoulli.logits)
        self.decoder = tf_keras.Sequential(
            [tf_keras.Input((case.latent,)), *decoder, kit.Flatten(), likelihood]
        )
        self.encoder.set_weights(inputs.encoder_weights)
        self.decoder.set_weights(inputs.decoder_weights)
        self.model = tf_keras.Model(self.encoder.inputs, self.decoder(self.encoder.outputs[0]))
        self.model.compile(tf_keras.optimizers.Adam(LEARNING_RATE), loss=negative_log_likelihood)
        self._encode = tf.function(lambda x: self.encoder(x).mean())
        self._sample = tf.function(lambda z: self.decoder(z).mean())
        self._log_weights = tf.function(self._log_weights_of_chunk)

    def check(self) -> Check:
        noise, steps = tf.constant(self.inputs.noise), self.model.optimizer.iterations
        self.draw = lambda q: q.mean() + q.stddev() * noise[tf.cast(steps % CHECK_STEPS, tf.int32)]
        images = self.inputs.images[: CHECK_STEPS * CHECK_BATCH]
        batch: dict[str, Any] = {"batch_size": CHECK_BATCH, "verbose": 0}
        one = images[:CHECK_BATCH]
        first = self.model.evaluate(one, one, return_dict=True, **batch)["loss"]
        history = self.model.fit(images, images, shuffle=False, **batch).history["loss"]
        after = self.model.evaluate(one, one, return_dict=True, **batch)["loss"]
        return Check(float(first), float(history[0]), float(after))

    def train(self, epochs: int) -> None:
        images = self.inputs.images
        self.model.fit(images, images, batch_size=self.batch, epochs=epochs, verbose=0)

    def encode(self) -> np.ndarray:
        images = self.inputs.images
        parts = [
            self._encode(tf.constant(images[start : start + self.batch])).numpy()
            for start in range(0, len(images), self.batch)
        ]
        return np.concatenate(parts)

    def sample(self, number: int) -> np.ndarray:
        parts = [
            self._sample(self.prior.sample(min(self.batch, number - start))).numpy()
            for start in range(0, number, self.batch)
        ]
        return np.concatenate(parts)

    def _log_weights_of_chunk(self, x: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
        q = self.encoder(x)
        z = q.sample(EVALUATION_DRAWS)
        p = self.decoder(tf.reshape(z, [-1, z.shape[-1]]))
        log_p = p.log_prob(tf.tile(x, [EVALUATION_DRAWS, 1, 1, 1]))
        log_p = tf.reshape(log_p, [EVALUATION_DRAWS, len(x)])
        log_weights = log_p + self.prior.log_prob(z) - q.log_prob(z)
        return tf.reduce_logsumexp(tf.concat([total[None], log_weights], 0), 0)

    def log_likelihood(self, number: int, draws: int) -> np.ndarray:
        parts = []
        for start in range(0, number, EVALUATION_IMAGES):
            x = tf.constant(self.inputs.images[start : start + EVALUATION_IMAGES])
            total = tf.fill([len(x)], -np.inf)
            for _ in range(draws // EVALUATION_DRAWS):
                total = self._log_weights(x, total)
            parts.append(total.numpy())
        return np.concatenate(parts) - math.log(draws)


COMPETITOR = TfpLayers
