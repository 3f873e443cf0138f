"""What every row and every method is trained on and with: the data, and the paper's networks.

The networks are those of Burda, Grosse and Salakhutdinov (2016), arXiv:1509.00519, section 5: two
hidden layers of 200 units with tanh on either side of 50 latent dimensions, Bernoulli pixels, the
decoder's last bias started at the mean of the training images. Nothing here loads TensorFlow before
a model is made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tfvae

HIDDEN = (200, 200)
LATENT = 50
ACTIVATION = "tanh"
TEST_SEED = 20160115
"""The test images are drawn once, with this seed, whatever the seed of the training is."""


class Setting(NamedTuple):
    """Data and sizes.

    Attributes:
        train: uint8 `[N, H, W, 1]`: the grey levels, which the pipeline binarises anew each epoch.
        test: float32 `[M, H, W, 1]` of zeros and ones.
        batch_size: examples in a batch.
        hidden: units of the encoder's hidden layers.
        latent_dim: size of a code.
    """

    train: np.ndarray
    test: np.ndarray
    batch_size: int = 100
    hidden: tuple[int, ...] = HIDDEN
    latent_dim: int = LATENT

    @property
    def image_shape(self) -> tuple[int, ...]:
        return self.train.shape[1:]

    @property
    def mean(self) -> np.ndarray:
        """The mean training image, in [0, 1]."""
        return self.train.mean(axis=0, dtype=np.float64) / 255

    @property
    def steps(self) -> int:
        """Training steps of an epoch."""
        return -(-len(self.train) // self.batch_size)

    def training_images(self, number: int) -> np.ndarray:
        """The grey levels of that many training images, the same ones every time, in [0, 1]."""
        rows = np.random.default_rng(0).permutation(len(self.train))[:number]
        return self.train[rows].astype(np.float32) / 255

    def vae(self, **options: Any) -> Any:
        """The paper's network, with what a row or a method changes of it."""
        return tfvae.VAE.for_images(
            self.image_shape,
            latent_dim=self.latent_dim,
            hidden=self.hidden,
            activation=ACTIVATION,
            mean=self.mean,
            **options,
        )

    def autoencoder(self, **options: Any) -> Any:
        """The deterministic autoencoder of the same network."""
        return tfvae.Autoencoder.for_images(
            self.image_shape,
            latent_dim=self.latent_dim,
            hidden=self.hidden,
            activation=ACTIVATION,
            mean=self.mean,
            **options,
        )

    def vae_with_posterior(self, size: int, *posterior: Any, **options: Any) -> Any:
        """The paper's network with other layers than a diagonal normal at the encoder's end.

        Args:
            size: parameters that the first of the layers takes.
            *posterior: layers, the last of which gives a distribution over codes.
            **options: for the model's constructor.
        """
        import keras

        from tfvae.models.image_networks import decoder_for_images, encoder_layers

        network = ("dense", self.hidden, ACTIVATION)
        layers = encoder_layers(self.image_shape, size, *network, self.mean)
        decoder = decoder_for_images(self.image_shape, self.latent_dim, *network, mean=self.mean)
        encoder = keras.Sequential([*layers, *posterior], name="encoder")
        return tfvae.VAE(encoder, decoder, **options)


def read_mnist(path: Path, batch_size: int = 100) -> Setting:
    """The 60,000 training and the 10,000 test images of a file in Keras' layout."""
    from tfvae.data import binarize_images

    with np.load(path, allow_pickle=False) as archive:
        train, test = archive["x_train"][..., None], archive["x_test"][..., None]
    drawn = binarize_images(test, TEST_SEED)
    return Setting(train, drawn.astype(np.float32) / 255, batch_size)
