"""Encoders and decoders for images, put together from networks and distribution layers."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from tfvae import networks
from tfvae.layers import IndependentBernoulli, IndependentNormal

LIKELIHOODS = ("bernoulli", "normal")
# A pixel that is black in every training image still has a finite logit.
_EXTREME_MEAN = 1e-3
# What a network leaves unexplained of pixels in [0, 1] early in a training.
_INITIAL_NOISE = 0.1
_DEFAULT_HIDDEN = {"dense": (512, 256), "conv": (32, 64)}


def _check_choice(name: str, choice: Any, choices: Sequence[str]) -> None:
    if choice not in choices:
        raise ValueError(f"`{name}` must be one of {tuple(choices)}. Received: {choice!r}")


@contextlib.contextmanager
def layers_of_policy(dtype_policy: Any) -> Iterator[None]:
    """Layers that are made inside have this policy; `None` is the one that is set.

    Distribution layers keep to float32 whatever it is: see `tfvae.distributions.float_dtype`.

    Example:
        >>> with layers_of_policy("mixed_bfloat16"):
        ...     layer = keras.layers.Dense(2)
        >>> layer.compute_dtype, layer.variable_dtype
        ('bfloat16', 'float32')
    """
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy(usual if dtype_policy is None else dtype_policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(usual)


def encoder_layers(
    image_shape: Sequence[int],
    output_size: int,
    network: str = "dense",
    hidden: Sequence[int] | None = None,
    activation: Any = "relu",
    mean: Any = None,
) -> list[Any]:
    """The layers of an encoder before its last: `[B, *image_shape]` to `[B, output_size]`.

    With `mean` the network sees `x - mean`, which conditions the first layer's weights better.
    """
    _check_choice("network", network, networks.NETWORKS)
    make = networks.dense if network == "dense" else networks.conv_encoder
    body = make(image_shape, output_size, hidden or _DEFAULT_HIDDEN[network], activation)
    centre = []
    if mean is not None:
        # Three digits keep the file small; the network learns the rest.
        offset = np.round(_mean_image(mean, image_shape), 3)
        axes = tuple(range(1, 1 + len(image_shape)))
        centre = [keras.layers.Normalization(axes, offset, np.ones_like(offset), name="centre")]
    return [keras.Input(tuple(image_shape)), *centre, *body.layers]


def _mean_image(mean: Any, image_shape: Sequence[int]) -> np.ndarray:
    mean = np.asarray(mean, np.float64)
    if mean.shape != tuple(image_shape) or not np.isfinite(mean).all():
        raise ValueError(
            f"`mean` must be the mean image, finite and of shape {tuple(image_shape)}. "
            f"Received: shape {mean.shape}"
        )
    return mean


def decoder_for_images(
    image_shape: Sequence[int],
    latent_dim: int,
    network: str = "dense",
    hidden: Sequence[int] | None = None,
    activation: Any = "relu",
    likelihood: str = "bernoulli",
    scale: float | str | None = "shared",
    mean: Any = None,
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
        mean: the mean image of the training data, `image_shape`: where the likelihood starts,
            through the bias of the last layer.

    Raises:
        ValueError: for an unknown network or likelihood.
    """
    _check_choice("network", network, networks.NETWORKS)
    _check_choice("likelihood", likelihood, LIKELIHOODS)
    if likelihood == "bernoulli":
        layer = IndependentBernoulli(image_shape, "mean", name="likelihood")
        size = layer.params_size(image_shape)
    else:
        layer = IndependentNormal(
            image_shape, "mean", scale=scale, initial_scale=_INITIAL_NOISE, name="likelihood"
        )
        size = layer.params_size(image_shape, scale=scale)
    mirrored = tuple(reversed(hidden or _DEFAULT_HIDDEN[network]))
    if network == "dense":
        body = networks.dense((latent_dim,), size, mirrored, activation)
    else:
        maps = size // math.prod(image_shape)
        body = networks.conv_decoder(latent_dim, image_shape, maps, mirrored, activation)
    if mean is not None:
        _start_at(body, _mean_image(mean, image_shape), likelihood)
    return keras.Sequential([keras.Input((latent_dim,)), *body.layers, layer], name="decoder")


def _start_at(body: keras.Sequential, mean: np.ndarray, likelihood: str) -> None:
    """Sets the last bias so that the untrained decoder gives the mean image, not grey.

    A dense layer has a bias for each value, a convolution one for each channel. Parameters other
    than the location keep theirs.
    """
    last = [layer for layer in body.layers if getattr(layer, "bias", None) is not None][-1]
    bias = last.bias.numpy()
    if isinstance(last, keras.layers.Conv2D):
        mean = mean.mean(axis=(0, 1))
    if likelihood == "bernoulli":
        mean = np.clip(mean, _EXTREME_MEAN, 1 - _EXTREME_MEAN)
        mean = np.log(mean) - np.log1p(-mean)
    bias[: mean.size] = mean.ravel()
    last.bias.assign(bias)
