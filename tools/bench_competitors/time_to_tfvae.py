"""tfvae's side of `time_to`: the pipeline of `tfvae.data`, `compile()` and one `fit`."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy as np

import tfvae
from bench_competitors.time_to import (
    BATCH,
    HIDDEN,
    LATENT,
    MOST_EPOCHS,
    Clock,
    parse_worker,
    print_result,
    read_mnist,
    score,
)
from tfvae.data import pipeline, steps_per_epoch


class StopAt(keras.callbacks.Callback):
    """Measures after every epoch, and ends the training at the score."""

    def __init__(self, clock: Clock, images: np.ndarray) -> None:
        super().__init__()
        self.clock = clock
        self.images = images

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.stop_training = self.clock.epoch_ended(self.score)

    def score(self) -> float:
        q = self.model.encode(self.images)
        mean, scale = q.mean().numpy(), q.stddev().numpy()
        return score(self.images, mean, scale, self.logits)

    def logits(self, z: np.ndarray) -> np.ndarray:
        return self.model.decode(z).distribution.logits.numpy()


def main() -> None:
    """Trains until the score is reached."""
    stdout = os.dup(1)
    os.dup2(2, 1)
    options = parse_worker()
    clock = Clock(options.target)
    train, test = read_mnist(options.mnist)
    vae = tfvae.VAE.for_images(
        (28, 28, 1),
        latent_dim=LATENT,
        hidden=HIDDEN,
        activation="tanh",
        mean=(train / 255).mean(0),
    )
    vae.compile()
    batches = pipeline(train, batch_size=BATCH, binarize="dynamic", shuffle=True, epochs=None)
    vae.fit(
        batches,
        epochs=MOST_EPOCHS,
        steps_per_epoch=steps_per_epoch(len(train), BATCH),
        verbose=0,
        callbacks=[StopAt(clock, test)],
    )
    print_result(clock, stdout)


if __name__ == "__main__":
    main()
