"""A plain Keras 3 model with the same loss, with `compile`'s defaults or with `jit_compile=True`.

The divergence is added by the layer that draws, the rest is in `compute_loss`; the step is Keras'
own.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from bench_competitors.cases import (
    CHECK_BATCH,
    CHECK_STEPS,
    LEARNING_RATE,
    SCALE_FLOOR,
    Inputs,
    Layer,
    decoder_layers,
    encoder_layers,
)
from bench_competitors.contract import EVALUATION_DRAWS, EVALUATION_IMAGES, Check, Competitor


def keras_layers(plan: list[Layer], activation: str, kit: Any) -> list[Any]:
    """The layers of a plan from `keras.layers`, or from those of tf_keras."""
    made: list[Any] = []
    for index, layer in enumerate(plan):
        active = activation if layer.active else None
        if layer.kind == "dense":
            if index:
                made.append(kit.Flatten())
            made.append(kit.Dense(layer.units, active))
            if len(plan) > index + 1 and plan[index + 1].kind == "transposed":
                made.append(kit.Reshape(plan[index + 1].inputs))
        elif layer.kind == "conv":
            made.append(kit.Conv2D(layer.units, 3, layer.stride, "same", activation=active))
        else:
            made.append(
                kit.Conv2DTranspose(layer.units, 3, layer.stride, "same", activation=active)
            )
    return made


def split(params: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and scale of the posterior."""
    mean, raw = tf.split(params, 2, axis=-1)
    return mean, tf.nn.softplus(raw) + SCALE_FLOOR


class Draw(layers.Layer):
    """From the parameters of the posterior to a draw; adds the divergence from the prior."""

    def __init__(self) -> None:
        super().__init__()
        self.noise: Any = tf.random.normal

    def call(self, params: tf.Tensor) -> tf.Tensor:
        mean, scale = split(params)
        kl = 0.5 * (mean**2 + scale**2 - 1.0) - tf.math.log(scale)
        self.add_loss(tf.reduce_mean(tf.reduce_sum(kl, axis=-1)))
        return mean + scale * self.noise(tf.shape(mean))


class Model(keras.Model):
    """The VAE; its output are the logits."""

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        case = inputs.case
        self.encoder = keras.Sequential(
            [
                keras.Input(case.image_shape),
                *([layers.Flatten()] if case.network == "dense" else []),
                *keras_layers(encoder_layers(case), case.activation, layers),
            ]
        )
        self.draw = Draw()
        self.decoder = keras.Sequential(
            [
                keras.Input((case.latent,)),
                *keras_layers(decoder_layers(case), case.activation, layers),
                layers.Reshape(case.image_shape),
            ]
        )
        self.encoder.set_weights(inputs.encoder_weights)
        self.decoder.set_weights(inputs.decoder_weights)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.decoder(self.draw(self.encoder(x)))

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        del y, sample_weight, training
        cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(x, y_pred)
        nll = tf.reduce_mean(tf.reduce_sum(cross_entropy, axis=[1, 2, 3]))
        return nll + tf.add_n(self.losses)


class KerasModel(Competitor):
    """`fit` on arrays, as Keras has it."""

    def __init__(self, inputs: Inputs, batch: int, variant: str) -> None:
        super().__init__(inputs, batch, variant)
        self.model = Model(inputs)
        options = {"jit_compile": True} if variant == "jit" else {}
        self.model.compile(keras.optimizers.Adam(LEARNING_RATE), **options)
        self.generator = keras.Sequential([self.model.decoder, layers.Activation("sigmoid")])
        self._log_weights = tf.function(self._log_weights_of_chunk, jit_compile=variant == "jit")

    def check(self) -> Check:
        noise, steps = tf.constant(self.inputs.noise), self.model.optimizer.iterations
        self.model.draw.noise = lambda _: noise[tf.cast(steps % CHECK_STEPS, tf.int32)]
        images = self.inputs.images[: CHECK_STEPS * CHECK_BATCH]
        batch: dict[str, Any] = {"batch_size": CHECK_BATCH, "verbose": 0}
        first = self.model.evaluate(images[:CHECK_BATCH], return_dict=True, **batch)["loss"]
        history = self.model.fit(images, shuffle=False, **batch).history["loss"]
        after = self.model.evaluate(images[:CHECK_BATCH], return_dict=True, **batch)["loss"]
        return Check(float(first), float(history[0]), float(after))

    def train(self, epochs: int) -> None:
        self.model.fit(self.inputs.images, batch_size=self.batch, epochs=epochs, verbose=0)

    def encode(self) -> np.ndarray:
        params = self.model.encoder.predict(self.inputs.images, self.batch, verbose=0)
        return params[:, : self.inputs.case.latent]

    def sample(self, number: int) -> np.ndarray:
        z = np.random.default_rng(0).standard_normal((number, self.inputs.case.latent), np.float32)
        return self.generator.predict(z, self.batch, verbose=0)

    def _log_weights_of_chunk(self, x: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
        mean, scale = split(self.model.encoder(x))
        noise = tf.random.normal([EVALUATION_DRAWS, *mean.shape])
        z = mean + scale * noise
        logits = self.model.decoder(tf.reshape(z, [-1, mean.shape[-1]]))
        logits = tf.reshape(logits, [EVALUATION_DRAWS, len(x), -1])
        x = tf.reshape(x, [len(x), -1])
        log_p = -tf.nn.sigmoid_cross_entropy_with_logits(
            tf.broadcast_to(x, tf.shape(logits)), logits
        )
        log_ratio = 0.5 * (noise**2 - z**2) + tf.math.log(scale)
        log_weights = tf.reduce_sum(log_p, -1) + tf.reduce_sum(log_ratio, -1)
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


COMPETITOR = KerasModel
