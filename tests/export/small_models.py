"""Small models, untrained: an export has nothing to do with what the weights are."""

from __future__ import annotations

from typing import Any

import keras

from tfvae import VAE, layers

SHAPE = (6, 6, 1)
LATENT = 3


def make_vae(
    network: str = "dense", likelihood: str = "bernoulli", posterior: Any = None, **kwargs: Any
) -> VAE:
    """A VAE of 6 x 6 pixels and 3 latent dimensions."""
    keras.utils.set_random_seed(1)
    hidden = (8,) if network == "dense" else (4, 8)
    vae = VAE.for_images(
        SHAPE, LATENT, network=network, hidden=hidden, likelihood=likelihood, **kwargs
    )
    if posterior is None:
        return vae
    body = [keras.layers.Flatten(), keras.layers.Dense(posterior.params_size(LATENT))]
    encoder = keras.Sequential([keras.Input(SHAPE), *body, posterior], name="encoder")
    return VAE(encoder, vae.decoder, **kwargs)


def make_parts(*middle: Any, likelihood: Any = None, params: int = 36) -> VAE:
    """A VAE with layers of the caller's own in the encoder, or a likelihood of its own."""
    keras.utils.set_random_seed(1)
    encoder = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            keras.layers.Dense(8, "relu"),
            *middle,
            keras.layers.Dense(2 * LATENT),
            layers.MultivariateNormalDiag(LATENT),
        ]
    )
    decoder = keras.Sequential(
        [
            keras.Input((LATENT,)),
            keras.layers.Dense(params),
            likelihood or layers.IndependentBernoulli(SHAPE, "mean"),
        ]
    )
    return VAE(encoder, decoder)
