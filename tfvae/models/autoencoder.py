"""The deterministic autoencoder, to see what the "variational" buys, and its regularised kind.

Noise in the code is what makes a VAE's decoder smooth. A regularised autoencoder asks for it by
penalties instead: one on the code, one on the decoder.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.layers.scheduled_weight import (
    ScheduledWeight,
    as_scheduled_weight,
    scheduled_weight_config,
)
from tfvae.layers.seeded import SeededLayer
from tfvae.models.base import LatentVariableModel
from tfvae.models.decoder_penalties import (
    PENALTIES,
    decode_with_gradient,
    refuse_second_penalty,
    squared_kernels,
)
from tfvae.models.image_networks import decoder_for_images, encoder_layers
from tfvae.models.training import ExampleTerms


@keras.saving.register_keras_serializable(package="tfvae")
class Autoencoder(LatentVariableModel):
    """An autoencoder: a code instead of a distribution, and no prior.

    It minimises -log p(x|z) at z = encoder(x), with the networks, the data and the likelihood of a
    `tfvae.VAE`, so that the two compare. Nothing says where in the latent space codes lie, so it
    cannot generate: `sample` raises.

    With weights that are not zero it is a regularised autoencoder, which minimises

        -log p(x|z) + code_weight * 1/2 |z|^2 + decoder_weight * penalty,

        "l2":         penalty = |theta|^2,        theta the decoder's kernels      (RAE-L2)
        "gradient":   penalty = |dD(z)/dz|^2,     D(z) the mean of p(x|z)          (RAE-GP)

    The first keeps codes from drifting apart and the second makes the decoder smooth between them.
    They are logged, unweighted, as `code_norm` and as `decoder_l2` or `decoder_gradient`.

    The weights are relative to the likelihood. With a normal one of scale s, minus its logarithm is
    |x - D(z)|^2 / (2 s^2) and a constant. The paper's authors publish 1e-4 and 1e-7 for MNIST and
    "l2", for means over 1,024 pixels and 16 codes of the squares |x - D(z)|^2 and |z|^2: here, for
    sums, 1.3e-2 and 1e-4 at s^2 = 1/2.

    Args:
        encoder: a Keras model or layer from data `[B, *data_shape]` to codes; a distribution is
            reduced to its mean.
        decoder: a Keras model or layer from codes to a distribution over the data.
        code_weight: beta: a number, a schedule of `tfvae.schedules` (logged under its name), or a
            `keras.Variable`. Zero, as a number, leaves the term out.
        decoder_penalty: `"l2"`, `"gradient"` or `None`. The gradient's is estimated without bias,
            see `tfvae.models.decoder_penalties`.
        decoder_weight: lambda, as `code_weight`; zero does not leave the penalty out.
        seed: fixes the directions that the gradient is measured in; taken from Python's generator
            if `None`.
        **kwargs: `name`, `dtype`.

    Raises:
        TypeError: if a network is not a Keras layer.
        ValueError: if the penalty is unknown, a weight is negative, or a kernel that `"l2"` charges
            has a Keras regulariser too.

    Example:
        >>> ae = Autoencoder.for_images((8, 8, 1), latent_dim=2, hidden=(16,))
        >>> ae.compile()
        >>> history = ae.fit(tf.zeros([32, 8, 8, 1]), epochs=1, verbose=0)
        >>> sorted(history.history)
        ['loss', 'nll']

        >>> options = {"code_weight": 1e-2, "decoder_penalty": "gradient"}
        >>> rae = Autoencoder.for_images((8, 8, 1), latent_dim=2, hidden=(16,), **options)
        >>> sorted(rae.term_trackers)
        ['code_norm', 'decoder_gradient', 'nll']

    Reference:
        Hinton and Salakhutdinov (2006), Reducing the Dimensionality of Data with Neural Networks.
        Ghosh, Sajjadi, Vergari, Black and Schölkopf (2020), From Variational to Deterministic
        Autoencoders, arXiv:1903.12436, section 3, for the penalties.
    """

    def __init__(
        self,
        encoder: Any,
        decoder: Any,
        code_weight: Any = 0.0,
        decoder_penalty: str | None = None,
        decoder_weight: Any = 1e-4,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        if decoder_penalty is not None and decoder_penalty not in PENALTIES:
            raise ValueError(
                f"`decoder_penalty` must be one of {PENALTIES} or None. "
                f"Received: {decoder_penalty!r}"
            )
        names = ["nll"]
        if not isinstance(code_weight, (int, float)) or code_weight != 0:
            names.append("code_norm")
        if decoder_penalty is not None:
            names.append(f"decoder_{decoder_penalty}")
        super().__init__(encoder, decoder, names, **kwargs)
        self.code_weight: Any = as_scheduled_weight(code_weight, "code_weight")
        self.decoder_penalty = decoder_penalty
        self.decoder_weight: Any = as_scheduled_weight(decoder_weight, "decoder_weight")
        self.noise = SeededLayer(seed, name="noise") if decoder_penalty == "gradient" else None
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
        """An autoencoder with the networks of `VAE.for_images`; the arguments are the same.

        `**kwargs` are for the constructor: `code_weight`, `decoder_penalty`, `name`, ...
        """
        layers = encoder_layers(image_shape, latent_dim, network, hidden, activation, mean)
        decoder = decoder_for_images(
            image_shape, latent_dim, network, hidden, activation, likelihood, scale, mean
        )
        return cls(keras.Sequential(layers, name="encoder"), decoder, **kwargs)

    def build(self, input_shape: Any) -> None:
        if not self.built:
            self._build_networks(input_shape)
            if self.decoder_penalty == "l2":
                refuse_second_penalty(self.decoder)

    def call(self, x: Any, training: bool | None = None) -> tfd.Distribution:
        """Returns p(x|z) at the code of `x`."""
        return self.decode(self.encode(x, training), training)

    def example_terms(self, x: tf.Tensor, training: bool) -> ExampleTerms:
        if training:
            for weight in (self.code_weight, self.decoder_weight):
                if isinstance(weight, ScheduledWeight):
                    weight.advance()
        z = self.encode(x, training)
        terms = {}
        if self.noise is None:
            p = self.decode(z, training)
        else:
            p, terms["decoder_gradient"] = decode_with_gradient(
                lambda codes: self.decode(codes, training), z, self.noise.next_seed()
            )
        nll = -p.log_prob(x)
        if "code_norm" in self.term_trackers:
            squares = tf.square(tf.cast(z, nll.dtype))
            terms["code_norm"] = 0.5 * tf.reduce_sum(squares, axis=list(range(1, z.shape.rank)))
        if self.decoder_penalty == "l2":
            # The same for each example, so that the mean over the batch counts it once.
            terms["decoder_l2"] = tf.fill(tf.shape(nll), squared_kernels(self.decoder))
        cost = nll
        for name, term in terms.items():
            weight = self.code_weight if name == "code_norm" else self.decoder_weight
            cost += tf.cast(weight, nll.dtype) * tf.cast(term, nll.dtype)
        return ExampleTerms(cost, {"nll": nll, **terms}, p)

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
            "p(z) to draw from. Fit one to its codes with `tfvae.latent.fit_sampler`, or train a "
            "`tfvae.VAE` on the same networks. "
            f"Received: sample(n={n!r}, seed={seed!r})"
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "code_weight": scheduled_weight_config(self.code_weight),
            "decoder_penalty": self.decoder_penalty,
            "decoder_weight": scheduled_weight_config(self.decoder_weight),
            "seed": None if self.noise is None else self.noise.seed,
        }
