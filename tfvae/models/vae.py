"""The variational autoencoder.

Its forward pass is the paper's: `q = encoder(x)`, `z ~ q`, `p = decoder(z)`, and the cost of an
example is `-log p(x|z)` plus what the regulariser charges for `q`, by default the divergence from
the prior. Variants of the VAE are arguments: another likelihood is another last layer of the
decoder, another posterior another last layer of the encoder, another objective another regulariser.
"""

from __future__ import annotations

import math
import random as python_random
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae import random
from tfvae.distributions import as_tensor_like, central_value, plain
from tfvae.divergences import kl_divergence
from tfvae.layers.distribution_layer import Samples
from tfvae.layers.multivariate_normal import MultivariateNormalDiag
from tfvae.layers.scheduled_weight import as_scheduled_weight, scheduled_weight_config
from tfvae.models.base import EVALUATION_BATCH, LatentVariableModel
from tfvae.models.checks import check_objective, refuse_second_regularizer
from tfvae.models.image_networks import decoder_for_images, encoder_layers, layers_of_policy
from tfvae.models.imputation import impute
from tfvae.models.over_draws import LOG_SUM_EXP, SUM, OfDraws, estimate
from tfvae.models.training import ExampleTerms
from tfvae.objectives import ELBO, Objective, maximized
from tfvae.priors import Prior, StandardNormal
from tfvae.regularizers import KLDivergenceRegularizer, LatentRegularizer


@keras.saving.register_keras_serializable(package="tfvae")
class VAE(LatentVariableModel):
    """A variational autoencoder: a posterior q(z|x), a likelihood p(x|z) and a prior p(z).

    Trains by maximising the evidence lower bound, in nats,

        log p(x) >= E_q[log p(x|z)] - beta * KL(q(z|x) || p(z))      (beta = 1),

    and shows `loss`, `nll` (the first term, negated) and `kl` while it does.

    Args:
        encoder: a Keras model or layer from data `[B, *data_shape]` to a distribution, such as one
            that ends in `tfvae.layers.MultivariateNormalDiag`. With `Samples(S)` as its
            `convert_to_tensor_fn` the likelihood is averaged over S draws.
        decoder: a Keras model or layer from codes `[B, *latent_shape]` to a distribution over the
            data, such as one that ends in `tfvae.layers.IndependentBernoulli`.
        prior: a layer of `tfvae.priors`; the standard normal if `None`.
        beta: weight of the divergence: a number, a schedule of `tfvae.schedules`, or a
            `keras.Variable`.
        regularizer: a layer of `tfvae.regularizers` in place of the divergence; its prior serves
            as the model's own.
        objective: a bound of `tfvae.objectives` in place of both terms, of K draws: `Samples(K)`.
        **kwargs: `name`, `dtype`.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the encoder's own layer adds a regulariser, which would count twice, if
            `beta` or `prior` is given beside a `regularizer` that brings its own, or a `beta` or a
            `regularizer` beside an objective.

    Example:
        >>> vae = VAE.for_images((8, 8, 1), latent_dim=2, network="dense", hidden=(16,))
        >>> vae.compile()
        >>> history = vae.fit(np.zeros((32, 8, 8, 1), "float32"), epochs=1, verbose=0)
        >>> sorted(history.history)
        ['kl', 'loss', 'nll']
        >>> vae.sample(3, seed=0).shape
        (3, 8, 8, 1)

    Reference:
        Kingma and Welling (2014), Auto-Encoding Variational Bayes, arXiv:1312.6114.
        Rezende, Mohamed and Wierstra (2014), arXiv:1401.4082.
    """

    def __init__(
        self,
        encoder: Any,
        decoder: Any,
        prior: Prior | None = None,
        beta: Any = 1.0,
        regularizer: LatentRegularizer | None = None,
        objective: Objective | None = None,
        **kwargs: Any,
    ) -> None:
        if objective is not None:
            check_objective(objective, beta, regularizer)
        if prior is not None and not isinstance(prior, Prior):
            raise TypeError(
                f"`prior` must be a layer of `tfvae.priors` or None. Received: {prior!r}"
            )
        if regularizer is not None:
            if not isinstance(regularizer, LatentRegularizer):
                raise TypeError(
                    "`regularizer` must be a layer of `tfvae.regularizers` or None. "
                    f"Received: {regularizer!r}"
                )
            if isinstance(beta, keras.Variable) or beta != 1.0:
                raise ValueError(
                    "`beta` weighs the default regulariser: give the weight to `regularizer` "
                    f"itself. Received: beta={beta!r}, regularizer={regularizer!r}"
                )
            own_prior = getattr(regularizer, "prior", None)
            if prior is None and isinstance(own_prior, Prior):
                prior = own_prior
            elif isinstance(own_prior, Prior) and prior is not own_prior:
                raise ValueError(
                    "The regulariser has a prior of its own, which is also the model's: leave "
                    f"`prior` out. Received: prior={prior!r}, regularizer={regularizer!r}"
                )
        term_names = ("kl",) if regularizer is None else regularizer.term_names
        super().__init__(encoder, decoder, ("nll", *term_names), **kwargs)
        refuse_second_regularizer(encoder)
        self.beta = as_scheduled_weight(beta, "beta")
        self.objective: Any = objective
        # Filled in by `build`, which knows the shape of a code.
        self.prior: Any = prior
        self.regularizer: Any = regularizer
        self._regularizer_is_given = regularizer is not None
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
        num_samples: int = 1,
        dtype_policy: Any = None,
        **kwargs: Any,
    ) -> VAE:
        """A VAE with a diagonal normal posterior and networks that fit the images.

        Args:
            image_shape: `(height, width, channels)`, or `(size,)` for vectors.
            latent_dim: size of a code.
            network: `"dense"` or `"conv"`; see `tfvae.networks`.
            hidden: units or filters of the encoder's hidden layers, mirrored by the decoder;
                `(512, 256)` for dense, `(32, 64)` for convolutional networks if `None`.
            activation: activation of the hidden layers.
            likelihood: `"bernoulli"` or `"normal"`.
            scale: of the normal likelihood; see `tfvae.layers.IndependentNormal`.
            mean: the mean image of the training data, `image_shape`. With it the encoder sees
                `x - mean` and the untrained decoder gives `mean`: ten epochs on binarised MNIST
                then end about 4 nats better.
            num_samples: draws of the posterior for each example, the K of an `objective`.
            dtype_policy: precision of the networks, such as `"mixed_bfloat16"` where the processor
                has it; densities stay in float32. Keras' own policy if `None`.
            **kwargs: for the constructor: `prior`, `beta`, `regularizer`, `objective`, `name`.

        Raises:
            ValueError: for an unknown network or likelihood, or a size that does not fit.
        """
        size = MultivariateNormalDiag.params_size(latent_dim)
        conversion = "sample" if num_samples == 1 else Samples(num_samples)
        posterior = MultivariateNormalDiag(latent_dim, conversion, name="posterior")
        with layers_of_policy(dtype_policy):
            layers = encoder_layers(image_shape, size, network, hidden, activation, mean)
            encoder = keras.Sequential([*layers, posterior], name="encoder")
            decoder = decoder_for_images(
                image_shape, latent_dim, network, hidden, activation, likelihood, scale, mean
            )
        return cls(encoder, decoder, **kwargs)

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        latent = self._build_networks(input_shape)
        if self.prior is None:
            self.prior = StandardNormal(latent)
        if self.prior.event_shape != latent:
            raise ValueError(
                f"The prior must have the shape of the encoder's codes, {latent}. "
                f"Received: a prior of shape {self.prior.event_shape}"
            )
        self.prior.attach(self.encoder, self.data_shape)
        if self.regularizer is None:
            self.regularizer = KLDivergenceRegularizer(self.prior, weight=self.beta)
        if not self.regularizer.built:
            self.regularizer.build((None, *latent))

    def call(self, x: Any, training: bool | None = None) -> tfd.Distribution:
        """Returns p(x|z) for a draw `z` of q(z|x), the first where the layer takes several."""
        q = self.encode(x, training)
        return self.decode(self._draws(q)[0], training)

    def example_terms(self, x: tf.Tensor, training: bool) -> ExampleTerms:
        q = self.encode(x, training)
        if self.objective is not None:
            return self._objective_terms(x, q, training)
        log_prob, p = self._log_likelihood(x, self._draws(q), training)
        nll = -tf.reduce_mean(log_prob, axis=0)
        if training:
            self.regularizer.advance(q)
        terms = self.regularizer.terms(q)
        return ExampleTerms(nll + self.regularizer.combine(terms), {"nll": nll, **terms}, p)

    def _objective_terms(self, x: tf.Tensor, q: tfd.Distribution, training: bool) -> ExampleTerms:
        z = self._draws(q)
        if z.shape[0] == 1 and not isinstance(self.objective, ELBO):
            message = (
                "With one draw every objective is the evidence lower bound: give the encoder's "
                "layer `convert_to_tensor_fn=Samples(K)`, or `VAE.for_images` `num_samples=K`. "
            )
            warnings.warn(f"{message}Received: {self.objective!r} and one draw", stacklevel=2)
        prior = self.prior.distribution()
        parts = {}

        def log_joint(z: tf.Tensor) -> tf.Tensor:
            parts["log_likelihood"], parts["p"] = self._log_likelihood(x, z, training)
            return parts["log_likelihood"] + prior.log_prob(z)

        bound = maximized(self.objective, q, z, log_joint)
        nll = -tf.reduce_mean(parts["log_likelihood"], axis=0)
        return ExampleTerms(-bound, {"nll": nll, "kl": kl_divergence(q, prior)}, parts["p"])

    def encode(self, x: Any, training: bool | None = False) -> tfd.Distribution:
        """The posterior q(z|x) of `x`, `[B, *data_shape]`: a distribution over codes."""
        q = self.encoder(self._as_data(x), training=training)
        if not isinstance(q, tfd.Distribution):
            raise TypeError(
                "The encoder of a VAE must output a distribution: end it in a distribution layer, "
                f"such as `tfvae.layers.MultivariateNormalDiag`. Received: {q!r}"
            )
        return q

    def code(self, x: Any) -> tf.Tensor:
        """The posterior's mean, `[B, *latent_shape]`; a flow's image of its base's mean."""
        return central_value(self.encode(x))

    def sample(
        self, n: int, seed: int | None = None, batch_size: int = EVALUATION_BATCH
    ) -> np.ndarray:
        """Generates examples: codes from the prior, decoded to the mean of p(x|z).

        A seed means one set of examples, in Python and in every export; example `i` is the same
        whatever `n` is.

        Args:
            n: number of examples.
            seed: an integer; drawn from Python's generator if `None`.
            batch_size: how many examples are held at a time.

        Returns:
            `[n, *data_shape]`.

        Raises:
            ValueError: if `n` is not a positive integer.
        """
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
            raise ValueError(f"`n` must be an integer of at least 1. Received: {n!r}")
        seed = python_random.getrandbits(31) if seed is None else seed

        def sample_batch(row_seeds: tf.Tensor) -> tf.Tensor:
            return self.decode(self.prior.draw(row_seeds)).mean()

        return self._map_batches(
            "sample", sample_batch, random.seeds(seed, n), batch_size=batch_size
        )

    # ---- bounds ---------------------------------------------------------------------------

    def elbo(
        self, x: Any, num_samples: int = 1, seed: int = 0, batch_size: int = 128
    ) -> np.ndarray:
        """The evidence lower bound of each example, with weight 1 whatever `beta` is.

        ELBO(x) = mean_k log p(x|z_k) - KL(q(z|x) || p(z)),   z_k ~ q(z|x); the divergence in closed
        form where TFP has one, from the same draws otherwise. All K are of one posterior: an
        encoder that is random itself, with variational weights, is called once for a batch.

        Args:
            x: data `[N, *data_shape]`.
            num_samples: number of draws `K`.
            seed: fixes the draws.
            batch_size: how many examples are held at a time.

        Returns:
            float32 `[N]`, in nats.
        """
        return self.elbo_terms(x, num_samples, seed, batch_size)["elbo"]

    def elbo_terms(
        self, x: Any, num_samples: int = 1, seed: int = 0, batch_size: int = 128
    ) -> dict[str, np.ndarray]:
        """The bound of `elbo` with its parts: `elbo`, `reconstruction` and `kl`, each `[N]`.

        `elbo = reconstruction - kl`, where `reconstruction` is the mean of log p(x|z).
        """

        def terms(batch: tf.Tensor) -> OfDraws:
            q, prior = plain(self.encode(batch)), self.prior.distribution()

            def of_draws(seed: tf.Tensor, draws: int) -> list[tf.Tensor]:
                z = q.sample(draws, seed=seed)
                kl = kl_divergence(as_tensor_like(q, z, is_draw=True), prior)
                log_likelihood, _ = self._log_likelihood(batch, z)
                return [tf.reduce_sum(log_likelihood, axis=0), draws * kl]

            return of_draws

        sums = estimate(self, "elbo", terms, SUM, x, num_samples, seed, batch_size)
        reconstruction, kl = (total / num_samples for total in sums)
        return {"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}

    def log_likelihood(
        self, x: Any, num_samples: int = 1000, seed: int = 0, batch_size: int = 128
    ) -> np.ndarray:
        """The importance-weighted estimate of log p(x), a lower bound in expectation.

        log p(x) ~ log (1/K) sum_k p(x|z_k) p(z_k) / q(z_k|x),   z_k ~ q(z|x). It rises with K
        towards log p(x). Draws are streamed in chunks, so memory does not grow with K.

        Args:
            x: data `[N, *data_shape]`.
            num_samples: number of importance samples `K`; papers report 5,000.
            seed: fixes the draws.
            batch_size: how many examples are held at a time.

        Returns:
            float32 `[N]`, in nats.

        Raises:
            ValueError: if `num_samples` is below 1 or `x` is outside the likelihood's support.

        Reference:
            Burda, Grosse and Salakhutdinov (2016), Importance Weighted Autoencoders,
            arXiv:1509.00519, equation 8.
        """

        def log_weights(batch: tf.Tensor) -> OfDraws:
            q, prior = plain(self.encode(batch)), self.prior.distribution()

            def log_sum(seed: tf.Tensor, draws: int) -> list[tf.Tensor]:
                z = q.sample(draws, seed=seed)
                log_likelihood, _ = self._log_likelihood(batch, z)
                log_ratio = prior.log_prob(z) - q.log_prob(z)
                return [tf.reduce_logsumexp(log_likelihood + log_ratio, axis=0)]

            return log_sum

        (log_sum,) = estimate(
            self, "log_likelihood", log_weights, LOG_SUM_EXP, x, num_samples, seed, batch_size
        )
        return log_sum - np.float32(math.log(num_samples))

    def anomaly_score(
        self, x: Any, num_samples: int = 16, seed: int = 0, batch_size: int = 128
    ) -> np.ndarray:
        """Minus `log_likelihood`, in nats: the higher, the stranger.

        A likelihood can rank data of another kind as more likely than its own: check it on both
        kinds before relying on it.

        Args:
            x: data `[N, *data_shape]`.
            num_samples: number of importance samples.
            seed: fixes the draws.
            batch_size: how many examples are held at a time.

        Returns:
            float32 `[N]`.

        Reference:
            Nalisnick et al. (2019), Do Deep Generative Models Know What They Don't Know?,
            arXiv:1810.09136.
        """
        return -self.log_likelihood(x, num_samples, seed, batch_size)

    def impute(
        self,
        x: Any,
        mask: Any,
        method: str = "gibbs",
        num_draws: int = 16,
        num_steps: int = 50,
        seed: int = 0,
        batch_size: int = 32,
    ) -> np.ndarray:
        """Draws completions of examples of which a part is missing.

        Args:
            x: data `[N, *data_shape]`, or one example; what is missing may be NaN.
            mask: booleans that broadcast to `x`: true where it is known.
            method: `"gibbs"`, `"metropolis"` or `"importance"`; see `tfvae.models.imputation`.
            num_draws: number of completions S.
            num_steps: steps of the chain behind each.
            seed: fixes the draws.
            batch_size: how many examples are filled in at a time.

        Returns:
            float32 `[S, N, *data_shape]`: `x` where it is known; their mean over S is the best
            guess, their spread says how sure it is.

        Raises:
            TypeError: if the mask is not boolean.
            ValueError: if it does not fit, or something known is not finite.
        """
        return impute(self, x, mask, method, num_draws, num_steps, seed, batch_size)

    def _draws(self, q: tfd.Distribution) -> tf.Tensor:
        """The draws that `q` carries, always `[S, B, *latent_shape]`."""
        z = tf.convert_to_tensor(q)
        return z if z.shape.rank > 1 + len(self.latent_shape) else z[None]

    def _log_likelihood(
        self, x: tf.Tensor, z: tf.Tensor, training: bool = False
    ) -> tuple[tf.Tensor, tfd.Distribution]:
        """log p(x|z) `[S, B]` for draws `[S, B, *latent_shape]`, and p(x|z) of the first draw.

        The decoder sees one batch of S * B codes, so that any decoder serves any number of draws.
        """
        draws = z.shape[0]
        p = self.decode(tf.reshape(z, [-1, *self.latent_shape]), training)
        x = x if draws == 1 else tf.tile(x, [draws] + [1] * (x.shape.rank - 1))
        return tf.reshape(p.log_prob(x), [draws, -1]), p

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        serialize = keras.saving.serialize_keras_object
        if self.objective is not None:
            config["objective"] = serialize(self.objective)
        if not self._regularizer_is_given:
            prior = serialize(self.prior) if self.prior else None
            return {**config, "prior": prior, "beta": scheduled_weight_config(self.beta)}
        # A prior of the regulariser's own is saved with it, and found there.
        is_own = self.prior is getattr(self.regularizer, "prior", None)
        return {
            **config,
            "prior": None if is_own else serialize(self.prior),
            "regularizer": serialize(self.regularizer),
        }
