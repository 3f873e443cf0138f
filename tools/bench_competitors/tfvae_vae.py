"""tfvae as a user with no options has it: `compile()` and `fit(x)`."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

import tfvae
from bench_competitors.cases import CHECK_BATCH, CHECK_STEPS, Inputs
from bench_competitors.contract import Check, Competitor


class TfvaeVAE(Competitor):
    """`VAE.for_images`, with the weights of the inputs."""

    def __init__(self, inputs: Inputs, batch: int, variant: str) -> None:
        super().__init__(inputs, batch, variant)
        case = inputs.case
        self.vae = tfvae.VAE.for_images(
            case.image_shape,
            case.latent,
            network=case.network,
            hidden=case.hidden,
            activation=case.activation,
        )
        for network, weights in (
            (self.vae.encoder, inputs.encoder_weights),
            (self.vae.decoder, inputs.decoder_weights),
        ):
            for variable, value in zip(network.trainable_variables, weights, strict=True):
                variable.assign(value)
        self.vae.compile()

    def check(self) -> Check:
        noise = tf.constant(self.inputs.noise)
        steps = self.vae.optimizer.iterations

        def fixed(q: Any) -> tf.Tensor:
            return q.mean() + q.stddev() * noise[tf.cast(steps % CHECK_STEPS, tf.int32)]

        # The posterior's draw, in the step that `fit` compiles.
        self.vae.encoder.layers[-1].convert_to_tensor_fn = fixed
        images = self.inputs.images[: CHECK_STEPS * CHECK_BATCH]
        batch: dict[str, Any] = {"batch_size": CHECK_BATCH, "verbose": 0}
        first = self.vae.evaluate(images[:CHECK_BATCH], return_dict=True, **batch)["loss"]
        history = self.vae.fit(images, epochs=1, shuffle=False, **batch).history["loss"]
        after = self.vae.evaluate(images[:CHECK_BATCH], return_dict=True, **batch)["loss"]
        return Check(float(first), float(history[0]), float(after))

    def train(self, epochs: int) -> None:
        self.vae.fit(self.inputs.images, batch_size=self.batch, epochs=epochs, verbose=0)

    def encode(self) -> np.ndarray:
        return self.vae.transform(self.inputs.images, batch_size=self.batch)

    def sample(self, number: int) -> np.ndarray:
        return self.vae.sample(number, seed=0, batch_size=self.batch)

    def log_likelihood(self, number: int, draws: int) -> np.ndarray:
        return self.vae.log_likelihood(self.inputs.images[:number], num_samples=draws)


COMPETITOR = TfvaeVAE
