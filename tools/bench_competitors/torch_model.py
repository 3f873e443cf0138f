"""PyTorch: the loop that its documentation teaches, eager or with the loss under `torch.compile`.

Convolutions are channels last, Adam is the fused one, and no loss is read before the end.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from bench_competitors import torch_networks
from bench_competitors.cases import LEARNING_RATE, SCALE_FLOOR, Inputs
from bench_competitors.contract import EVALUATION_DRAWS, EVALUATION_IMAGES, Check, Competitor


class Model(nn.Module):
    """The VAE; its output is the loss."""

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.encoder = torch_networks.encoder(inputs.case, inputs.encoder_weights)
        self.decoder = torch_networks.decoder(inputs.case, inputs.decoder_weights)

    def posterior(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and scale."""
        mean, raw = self.encoder(x).chunk(2, dim=-1)
        return mean, functional.softplus(raw) + SCALE_FLOOR

    def forward(self, x: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        mean, scale = self.posterior(x)
        noise = torch.randn_like(mean) if noise is None else noise
        logits = self.decoder(mean + scale * noise)
        nll = functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        kl = 0.5 * (mean.square() + scale.square() - 1).sum() - scale.log().sum()
        return (nll + kl) / len(x)


class TorchModel(Competitor):
    """`eager` or `compile`."""

    def __init__(self, inputs: Inputs, batch: int, variant: str) -> None:
        super().__init__(inputs, batch, variant)
        self.images = torch_networks.image_tensor(inputs.case, inputs.images)
        self.model = Model(inputs)
        if inputs.case.network == "conv":
            self.model = self.model.to(memory_format=torch.channels_last)
        # The epsilon is Keras'.
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), LEARNING_RATE, eps=1e-7, fused=True
        )
        compiled = torch.compile if variant == "compile" else lambda function: function
        self._loss = compiled(self.model)
        self._mean = compiled(lambda x: self.model.posterior(x)[0])
        self._decode = compiled(lambda z: torch.sigmoid(self.model.decoder(z)))
        self._log_weights = compiled(self._log_weights_of_chunk)

    def _step(self, x: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        loss = self._loss(x) if noise is None else self._loss(x, noise)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss

    def check(self) -> Check:
        case = self.inputs.case
        batches = [
            (torch_networks.image_tensor(case, x), torch.from_numpy(noise))
            for x, noise in self.inputs.check_batches()
        ]
        losses = [self._step(*batch).item() for batch in batches]
        with torch.no_grad():
            after = self._loss(*batches[0]).item()
        return Check(losses[0], float(np.mean(losses)), after)

    def train(self, epochs: int) -> None:
        self.model.train()
        for _ in range(epochs):
            for rows in torch.randperm(len(self.images)).split(self.batch):
                x = self.images[rows]
                if x.dim() == 4:
                    x = x.contiguous(memory_format=torch.channels_last)
                self._step(x)

    @torch.inference_mode()
    def encode(self) -> np.ndarray:
        return torch.cat([self._mean(x) for x in self.images.split(self.batch)]).numpy()

    @torch.inference_mode()
    def sample(self, number: int) -> np.ndarray:
        sizes = [min(self.batch, number - start) for start in range(0, number, self.batch)]
        latent = self.inputs.case.latent
        return torch.cat([self._decode(torch.randn(size, latent)) for size in sizes]).numpy()

    def _log_weights_of_chunk(
        self, x: torch.Tensor, mean: torch.Tensor, scale: torch.Tensor
    ) -> torch.Tensor:
        noise = torch.randn(EVALUATION_DRAWS, *mean.shape)
        z = mean + scale * noise
        logits = self.model.decoder(z.flatten(0, 1)).reshape(EVALUATION_DRAWS, *x.shape)
        cross_entropy = functional.binary_cross_entropy_with_logits(
            logits, x.expand_as(logits), reduction="none"
        )
        log_ratio = 0.5 * (noise.square() - z.square()) + scale.log()
        return torch.logsumexp(log_ratio.sum(-1) - cross_entropy.flatten(2).sum(-1), dim=0)

    @torch.inference_mode()
    def log_likelihood(self, number: int, draws: int) -> np.ndarray:
        parts = []
        for x in self.images[:number].split(EVALUATION_IMAGES):
            mean, scale = self.model.posterior(x)
            sums = [self._log_weights(x, mean, scale) for _ in range(draws // EVALUATION_DRAWS)]
            parts.append(torch.logsumexp(torch.stack(sums), dim=0))
        return torch.cat(parts).numpy() - math.log(draws)


COMPETITOR = TorchModel
