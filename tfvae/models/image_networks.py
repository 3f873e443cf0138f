"""Encoders and decoders for images, put together from networks and distribution layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

from tfvae import networks
from tfvae.layers import IndependentBernoulli, IndependentNormal

LIKELIHOODS = ("bernoulli", "normal")
_DEFAULT_HIDDEN = {"dense": (512, 256), "conv": (32, 64)}


def _check_choice(name: str, choice: Any, choices: Sequence[str]) -> None:
    if choice not in choices:
        raise ValueError(f"`{name}` must be one of {tuple(choices)}. Received: {choice!r}")


def encoder_body(
    image_shape: Sequence[int],
    output_size: int,
    network: str = "dense",
    hidden: Sequence[int] | None = None,
    activation: Any = "relu",
) -> keras.Sequential:
    """The part of an encoder before its last layer: `[B, *image_shape]` to `[B, output_size]`."""
    _check_choice("network", network, networks.NETWORKS)
    make = networks.dense if network == "dense" else networks.conv_encoder
    return make(image_shape, output_size, hidden or _DEFAULT_HIDDEN[network], activation)


def decoder_for_images(
    image_shape: Sequence[int],
    latent_dim: int,
    network: str = "dense",
    hidden: Sequence[int] | None = None,
    activation: Any = "relu",
    likelihood: str = "bernoulli",
    scale: float | str | None = "shared",
) -> keras.Sequential:
    """A decoder from codes `[B, latent_dim]` to a likelihood of images.

    Its value as a tensor is the mean of the likelihood: what a picture shows.

    Args:
        image_shape: shape of an image, or `(size,)` of a vector.
        latent_dim: size of a code.
        network: `"dense"` or `"conv"`.
        hidden: sizes of the *encoder's* hidden layers, which the decoder mirrors.
        activation: activation of the hidden layers.
        likelihood: `"bernoulli"` or `"normal"`.
        scale: of the normal likelihood; see `tfvae.layers.IndependentNormal`.

    Raises:
        ValueError: for an unknown network or likelihood.
    """
    _check_choice("network", network, networks.NETWORKS)
    _check_choice("likelihood", likelihood, LIKELIHOODS)
    if likelihood == "bernoulli":
        layer = IndependentBernoulli(image_shape, "mean", name="likelihood")
        size = layer.params_size(image_shape)
    else:
        layer = IndependentNormal(image_shape, "mean", scale=scale, name="likelihood")
        size = layer.params_size(image_shape, scale=scale)
    mirrored = tuple(reversed(hidden or _DEFAULT_HIDDEN[network]))
    if network == "dense":
        body = networks.dense((latent_dim,), size, mirrored, activation)
    else:
        maps = size // math.prod(image_shape)
        body = networks.conv_decoder(latent_dim, image_shape, maps, mirrored, activation)
    return keras.Sequential([keras.Input((latent_dim,)), *body.layers, layer], name="decoder")
