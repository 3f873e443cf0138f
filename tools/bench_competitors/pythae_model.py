"""Pythae: its VAE, its dataset and its trainer, with networks of the same shapes.

The trainer's own epochs are timed, without the progress bar, the copies of the best model and the
files that its `train` writes.
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import ProgressBarCallback
from torch.nn import functional

from bench_competitors import torch_networks
from bench_competitors.cases import LEARNING_RATE, SCALE_FLOOR, Case, Inputs
from bench_competitors.contract import Check, Competitor


class Encoder(BaseEncoder):
    """Mean and log variance; the scale is the competitors' own, or its logarithm is linear."""

    def __init__(self, case: Case, weights: list[np.ndarray], linear: bool = False) -> None:
        super().__init__()
        self.network = torch_networks.encoder(case, weights)
        self.linear = linear

    def forward(self, x: torch.Tensor) -> ModelOutput:
        mean, raw = self.network(x).chunk(2, dim=-1)
        log_variance = raw if self.linear else 2 * (functional.softplus(raw) + SCALE_FLOOR).log()
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """The means of the pixels."""

    def __init__(self, case: Case, weights: list[np.ndarray]) -> None:
        super().__init__()
        self.network = torch_networks.decoder(case, weights)

    def forward(self, z: torch.Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=torch.sigmoid(self.network(z)))


def make_model(case: Case, encoder: Encoder, decoder: Decoder) -> VAE:
    """Pythae's VAE with these networks."""
    height, width, channels = case.image_shape
    shape = (case.size,) if case.network == "dense" else (channels, height, width)
    config = VAEConfig(input_dim=shape, latent_dim=case.latent, reconstruction_loss="bce")
    return VAE(config, encoder=encoder, decoder=decoder)


def make_trainer(model: VAE, dataset: Any, batch: int, folder: str) -> BaseTrainer:
    """Pythae's trainer, ready for epochs."""
    config = BaseTrainerConfig(
        output_dir=folder,
        learning_rate=LEARNING_RATE,
        per_device_train_batch_size=batch,
        keep_best_on_train=True,
        no_cuda=True,
    )
    trainer = BaseTrainer(model, dataset, training_config=config)
    trainer.prepare_training()
    handler = trainer.callback_handler
    handler.callbacks = [c for c in handler.callbacks if not isinstance(c, ProgressBarCallback)]
    return trainer


class PythaeModel(Competitor):
    """`BaseTrainer`'s epochs."""

    def __init__(self, inputs: Inputs, batch: int, variant: str) -> None:
        super().__init__(inputs, batch, variant)
        case = inputs.case
        self.images = torch_networks.image_tensor(case, inputs.images, channels_last=False)
        self.model = make_model(
            case, Encoder(case, inputs.encoder_weights), Decoder(case, inputs.decoder_weights)
        )
        self.folder = tempfile.TemporaryDirectory()
        dataset = BaseDataset(self.images, torch.zeros(len(self.images)))
        self.trainer = make_trainer(self.model, dataset, batch, self.folder.name)
        self.epochs = 0

    def check(self) -> Check:
        case = self.inputs.case
        batches = [
            (torch_networks.image_tensor(case, x), torch.from_numpy(noise))
            for x, noise in self.inputs.check_batches()
        ]
        optimizer = torch.optim.Adam(self.model.parameters(), LEARNING_RATE, eps=1e-7)

        def loss_of(x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
            self.model._sample_gauss = lambda mean, std: (mean + std * noise, noise)
            return self.model({"data": x}).loss

        losses = []
        for batch in batches:
            loss = loss_of(*batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        with torch.no_grad():
            after = loss_of(*batches[0]).item()
        return Check(losses[0], float(np.mean(losses)), after)

    def train(self, epochs: int) -> None:
        for _ in range(epochs):
            self.epochs += 1
            self.trainer.train_step(self.epochs)

    @torch.no_grad()
    def encode(self) -> np.ndarray:
        self.model.eval()
        parts = [self.model.encoder(x).embedding for x in self.images.split(self.batch)]
        return torch.cat(parts).numpy()

    @torch.no_grad()
    def sample(self, number: int) -> np.ndarray:
        self.model.eval()
        sizes = [min(self.batch, number - start) for start in range(0, number, self.batch)]
        latent = self.inputs.case.latent
        parts = [self.model.decoder(torch.randn(size, latent)).reconstruction for size in sizes]
        return torch.cat(parts).numpy()

    @torch.no_grad()
    def log_likelihood(self, number: int, draws: int) -> np.ndarray:
        self.model.eval()
        # Pythae's own estimator gives the mean of what it is given.
        return np.array(
            [
                self.model.get_nll(self.images[index : index + 1], draws, 1000)
                for index in range(number)
            ]
        )


COMPETITOR = PythaeModel
