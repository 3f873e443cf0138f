"""The deterministic autoencoder, to see what the "variational" buys."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.models.base import LatentVariableModel
from tfvae.models.image_networks import decoder_for_images, encoder_layers
from tfvae.models.training import ExampleTerms


@keras.saving.register_keras_serializable(package="tfvae")
class Autoencoder(LatentVariableModel):
    """An autoencoder: a code instead of a distribution, and no prior.

    It minimises -log p(x|z) at z = encoder(x), with the networks, the data and the likelihood of a
    `tfvae.VAE`, so that the two compare. Nothing says where in the latent space codes lie, so it
    cannot generate: `sample` raises.

    Args:
        encoder: a Keras model or layer from data `[B, *data_shape]` to codes; a distribution is
            reduced to its mean.
        decoder: a Keras model or layer from codes to a distribution over the data.
        **kwargs: `name`, `dtype`.

    Example:
        >>> ae = Autoencoder.for_images((8, 8, 1), latent_dim=2, hidden=(16,))
        >>> ae.compile()
        >>> history = ae.fit(tf.zeros([32, 8, 8, 1]), epochs=1, verbose=0)
        >>> sorted(history.history)
        ['loss', 'nll']

    Reference:
        Hinton and Salakhutdinov (2006), Reducing the Dimensionality of Data with Neural Networks.
    """

    def __init__(self, encoder: Any, decoder: Any, **kwargs: Any) -> None:
        super().__init__(encoder, decoder, ("nll",), **kwargs)
        if encoder.built and hasattr(encoder, "input_shape"):
            self.build(encoder.input_shape)

    @classmethod
    def for_images(
        cls,
        image_shape: Any,
        latent_dim: int = 16,
        network: str = "dense",
        hidden: Any = None,
        activation: Any = "relu",
        likelihood: str = "bernoulli",
        scale: float | str | None = "shared",
        mean: Any = None,
        **kwargs: Any,
    ) -> Autoencoder:
        """An autoencoder with the networks of `VAE.for_images`; the arguments are the same."""
        layers = encoder_layers(image_shape, latent_dim, network, hidden, activation, mean)
        decoder = decoder_for_images(
            image_shape, latent_dim, network, hidden, activation, likelihood, scale, mean
        )
        return cls(keras.Sequential(layers, name="encoder"), decoder, **kwargs)

    def build(self, input_shape: Any) -> None:
        if not self.built:
            self._build_networks(input_shape)

    def call(self, x: Any, training: bool | None = None) -> tfd.Distribution:
        """Returns p(x|z) at the code of `x`."""
        return self.decode(self.encode(x, training), training)

    def example_terms(self, x: tf.Tensor, training: bool) -> ExampleTerms:
        p = self.call(x, training)
        nll = -p.log_prob(x)
        return ExampleTerms(nll, {"nll": nll}, p)

    def encode(self, x: Any, training: bool | None = False) -> tf.Tensor:
        """The codes of `x`, `[B, *latent_shape]`."""
        z = self.encoder(self._as_data(x), training=training)
        return z.mean() if isinstance(z, tfd.Distribution) else z

    def code(self, x: Any) -> tf.Tensor:
        return self.encode(x)

    def sample(self, n: int, seed: int | None = None) -> None:
        """Raises: an autoencoder has no distribution over codes to sample from.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            "An autoencoder cannot generate: nothing says which codes are likely, so there is no "
            "p(z) to draw from. Train a `tfvae.VAE` on the same networks instead. "
            f"Received: sample(n={n!r}, seed={seed!r})"
        )
