"""A latent is charged once: checks of what is given to a VAE beside its networks."""

from __future__ import annotations

from typing import Any

import keras

from tfvae.layers.kl_divergence import KLDivergenceAddLoss
from tfvae.objectives import Objective


def check_objective(objective: Any, beta: Any, regularizer: Any) -> None:
    if not isinstance(objective, Objective):
        raise TypeError(
            "`objective` must be one of `tfvae.objectives`, such as `IWAE()`, or None. "
            f"Received: {objective!r}"
        )
    if regularizer is not None or not isinstance(beta, (int, float)) or beta != 1.0:
        raise ValueError(
            "An objective holds the divergence: a regulariser or weight would count it twice. "
            f"Received: objective={objective!r}, regularizer={regularizer!r}, beta={beta!r}"
        )


def refuse_second_regularizer(encoder: keras.layers.Layer) -> None:
    for layer in encoder._flatten_layers():
        regularizer: Any
        if isinstance(layer, KLDivergenceAddLoss):
            regularizer = layer.regularizer
        else:
            regularizer = getattr(layer, "latent_regularizer", None)
        if regularizer is not None:
            raise ValueError(
                f"The layer {layer.name!r} of the encoder adds a regulariser to the loss, and the "
                "VAE adds its own: the latent would be charged twice. Take it out of the encoder "
                f"and give it to the VAE as `regularizer`. Received: {regularizer!r}"
            )
