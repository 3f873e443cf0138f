"""Pythae's side of `time_to`: its trainer, and a dataset that draws the pixels it hands out."""

from __future__ import annotations

import os
import tempfile

import numpy as np
import torch
from pythae.data.datasets import DatasetOutput

from bench_competitors.cases import Case, encoder_layers, initial_weights
from bench_competitors.pythae_model import Decoder, Encoder, make_model, make_trainer
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

CASE = Case("time_to", (28, 28, 1), "dense", HIDDEN, LATENT, "tanh", 60_000)


class Binarised(torch.utils.data.Dataset):
    """Grey images, of which every access draws the pixels."""

    def __init__(self, images: np.ndarray) -> None:
        self.means = torch.from_numpy(images.reshape(len(images), -1)).float() / 255

    def __len__(self) -> int:
        return len(self.means)

    def __getitem__(self, index: int) -> DatasetOutput:
        return DatasetOutput(data=torch.bernoulli(self.means[index]))


def main() -> None:
    """Trains until the score is reached."""
    stdout = os.dup(1)
    os.dup2(2, 1)
    options = parse_worker()
    clock = Clock(options.target)
    train, test = read_mnist(options.mnist)
    x = torch.from_numpy(test.reshape(len(test), -1))
    # Glorot's draw, as tfvae's networks start; the log variance is linear, as in Pythae's own.
    weights = initial_weights(CASE)
    count = 2 * len(encoder_layers(CASE))
    encoder = Encoder(CASE, weights[:count], linear=True)
    decoder = Decoder(CASE, weights[count:])
    model = make_model(CASE, encoder, decoder)

    def measure() -> float:
        model.eval()
        with torch.no_grad():
            q = model.encoder(x)
            scale = (0.5 * q.log_covariance).exp()
            return score(
                test,
                q.embedding.numpy(),
                scale.numpy(),
                lambda z: decoder.network(torch.from_numpy(z)).numpy(),
            )

    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(model, Binarised(train), BATCH, folder)
        for epoch in range(1, MOST_EPOCHS + 1):
            trainer.train_step(epoch)
            if clock.epoch_ended(measure):
                break
    print_result(clock, stdout)


if __name__ == "__main__":
    main()
