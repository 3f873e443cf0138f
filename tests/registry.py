"""The layers, regularisers, priors and models that `test_properties.py` tries, by name.

To add one, add a line to the dictionary of its kind: a constructor and how it stands in a model.
`likelihood` puts a distribution layer behind a Dense layer with the number of parameters that it
needs, `hidden` puts a layer of any other kind into a regression, `cost` makes a regulariser that
of a posterior, `latent` makes a prior that of a VAE, `itself` takes a model as it is. Fix the seeds
of what draws: two models that one entry makes must be equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability import math as tfm

from tfvae import VAE, Autoencoder, layers, objectives, priors, regularizers, schedules
from tfvae.flows import AutoregressiveNetwork
from tfvae.losses import NegativeLogLikelihood

L = 2


class Entry(NamedTuple):
    """One line of the registry.

    Attributes:
        make: makes what is tried.
        place: makes the model that it is tried in.
        shape: shape of an example that the model takes.
        loss: makes the model's loss; `None` for a model that brings its own.
    """

    make: Callable[[], keras.layers.Layer]
    place: Callable[[Any], keras.Model]
    shape: tuple[int, ...]
    loss: Callable[[], Any] | None


def likelihood(
    make: Callable[[], keras.layers.Layer],
    params: int,
    loss: Callable[[], Any] = NegativeLogLikelihood,
) -> Entry:
    def place(layer: keras.layers.Layer) -> keras.Model:
        return keras.Sequential([keras.Input((5,)), keras.layers.Dense(params), layer])

    return Entry(make, place, (5,), loss)


def hidden(make: Callable[[], keras.layers.Layer], shape: tuple[int, ...] = (5,)) -> Entry:
    def place(layer: keras.layers.Layer) -> keras.Model:
        head = [keras.layers.Flatten(), keras.layers.Dense(3)]
        return keras.Sequential([keras.Input(shape), layer, *head])

    return Entry(make, place, shape, lambda: keras.losses.MeanSquaredError())


def behind_posterior(*parts: keras.layers.Layer, **kwargs: Any) -> keras.Model:
    """A small VAE of plain layers: `kwargs` for the posterior, `parts` directly behind it."""
    return keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(2 * L),
            layers.MultivariateNormalDiag(L, seed=1, **kwargs),
            *parts,
            keras.layers.Dense(5),
            layers.IndependentNormal(5, "mean", scale=0.5),
        ]
    )


def cost(make: Callable[[], keras.layers.Layer]) -> Entry:
    def place(regularizer: Any) -> keras.Model:
        return behind_posterior(activity_regularizer=regularizer)

    return Entry(make, place, (5,), NegativeLogLikelihood)


def encoder(conversion: Any = "sample") -> keras.Model:
    posterior = layers.MultivariateNormalDiag(L, conversion, seed=1)
    return keras.Sequential([keras.Input((5,)), keras.layers.Dense(2 * L), posterior])


def decoder() -> keras.Model:
    head = layers.IndependentNormal(5, "mean", scale="shared")
    return keras.Sequential([keras.Input((L,)), keras.layers.Dense(5), head])


def latent(make: Callable[[], keras.layers.Layer], encode: Callable[[], Any] = encoder) -> Entry:
    return Entry(make, lambda prior: VAE(encode(), decoder(), prior=prior), (5,), None)


def second_stage() -> keras.layers.Layer:
    """A VAE of codes that stays as it is: the one that it is the prior of trains."""
    size = layers.MultivariateNormalDiag.params_size(1)
    posterior = layers.MultivariateNormalDiag(1, "mean", seed=2)
    likelihood = layers.IndependentNormal(L, "mean", scale="shared")
    return priors.SecondStage(
        L,
        keras.Sequential([keras.Input((L,)), keras.layers.Dense(size), posterior]),
        keras.Sequential([keras.Input((1,)), keras.layers.Dense(L), likelihood]),
        num_samples=5,
    )


def itself(make: Callable[[], keras.Model], shape: tuple[int, ...] = (5,)) -> Entry:
    return Entry(make, lambda model: model, shape, None)


# ---- what the entries need --------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="registry")
def normal_around(t: tf.Tensor) -> tfd.Distribution:
    return tfd.Independent(tfd.Normal(t, 0.5), 1)


@keras.saving.register_keras_serializable(package="registry")
def normal_of_weights(t: tf.Tensor) -> tfd.Distribution:
    loc, raw = tf.split(t, 2, axis=-1)
    return tfd.MultivariateNormalDiag(loc, tf.nn.softplus(raw))


@keras.saving.register_keras_serializable(package="registry")
def weights_distribution(
    kernel_size: int, bias_size: int = 0, dtype: Any = None
) -> keras.Sequential:
    """A trained normal over all weights, for `DenseVariational`."""
    size = 2 * (kernel_size + bias_size)
    variable = layers.VariableLayer(size, dtype, initializer=keras.initializers.Constant(0.1))
    return keras.Sequential([variable, layers.DistributionLambda(normal_of_weights, seed=1)])


def spherical_encoder() -> keras.Model:
    posterior = layers.VonMisesFisher(L, seed=1)
    size = layers.VonMisesFisher.params_size(L)
    return keras.Sequential([keras.Input((5,)), keras.layers.Dense(size), posterior])


def moved(layer: keras.layers.Layer) -> keras.layers.Layer:
    """The layer away from where it starts, where weights of zero hide those before them."""
    rng = np.random.default_rng(1)
    for weight in layer.trainable_weights:
        weight.assign_add(rng.normal(scale=0.3, size=weight.shape))
    return layer


@keras.saving.register_keras_serializable(package="registry")
def standard_normal() -> tfd.Distribution:
    return tfd.MultivariateNormalDiag(tf.zeros(L), tf.ones(L))


@keras.saving.register_keras_serializable(package="registry")
def variational_loss(y: tf.Tensor, p: Any) -> tf.Tensor:
    return p.variational_loss(y, kl_weight=0.1)


@keras.saving.register_keras_serializable(package="registry")
class Kernel(keras.layers.Layer):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.raw = self.add_weight(shape=(), initializer="zeros")
        self.built = True

    @property
    def kernel(self) -> Any:
        return tfm.psd_kernels.ExponentiatedQuadratic(tf.nn.softplus(self.raw))


def autoregressive_flow() -> keras.layers.Layer:
    made = AutoregressiveNetwork(2, event_shape=3, hidden_units=[8], activation="tanh")
    return layers.AutoregressiveTransform(made, seed=2)


def inverse_autoregressive_flow() -> keras.layers.Layer:
    return layers.InverseAutoregressiveFlow(
        3, 2, context_size=2, hidden_units=(8,), activation="tanh", seed=1
    )


def flow(make: Callable[[], keras.layers.Layer]) -> Entry:
    def place(layer: keras.layers.Layer) -> keras.Model:
        base = layers.MultivariateNormalDiag(3, seed=1)
        return keras.Sequential([keras.Input((5,)), keras.layers.Dense(6), base, layer])

    return Entry(make, place, (5,), NegativeLogLikelihood)


def added_loss(make: Callable[[], keras.layers.Layer]) -> Entry:
    return Entry(make, behind_posterior, (5,), NegativeLogLikelihood)


def convolution(cls: type, rank: int) -> Entry:
    return hidden(lambda: cls(2, 2, padding="same", seed=1), (*(3, 4, 2)[:rank], 2))


# ---- the registry -----------------------------------------------------------------------------

LAYERS = {
    "DistributionLambda": likelihood(
        lambda: layers.DistributionLambda(normal_around, seed=1), params=3
    ),
    "MultivariateNormalDiag": likelihood(
        lambda: layers.MultivariateNormalDiag(3, seed=1), params=6
    ),
    "MultivariateNormalDiag mean": likelihood(
        lambda: layers.MultivariateNormalDiag(3, "mean", seed=1), params=6
    ),
    "MultivariateNormalDiag 5 draws": likelihood(
        lambda: layers.MultivariateNormalDiag(3, layers.Samples(5), seed=1), params=6
    ),
    "MultivariateNormalTriL": likelihood(
        lambda: layers.MultivariateNormalTriL(3, seed=1), params=9
    ),
    "MultivariateNormalLowRank": likelihood(
        lambda: layers.MultivariateNormalLowRank(3, rank=1, seed=1), params=9
    ),
    "IndependentBernoulli": likelihood(
        lambda: layers.IndependentBernoulli((2, 2), seed=1), params=4
    ),
    "IndependentNormal": likelihood(lambda: layers.IndependentNormal((2, 2), seed=1), params=8),
    "IndependentNormal fixed": likelihood(
        lambda: layers.IndependentNormal((2, 2), scale=0.3, seed=1), params=4
    ),
    "IndependentNormal shared": likelihood(
        lambda: layers.IndependentNormal((2, 2), scale="shared", seed=1), params=4
    ),
    "IndependentLogistic": likelihood(lambda: layers.IndependentLogistic(3, seed=1), params=6),
    "IndependentLaplace": likelihood(lambda: layers.IndependentLaplace(3, seed=1), params=6),
    "IndependentStudentT": likelihood(
        lambda: layers.IndependentStudentT(3, seed=1), layers.IndependentStudentT.params_size(3)
    ),
    "IndependentGamma": likelihood(lambda: layers.IndependentGamma(3, seed=1), params=6),
    "IndependentBeta": likelihood(lambda: layers.IndependentBeta(3, seed=1), params=6),
    "IndependentContinuousBernoulli": likelihood(
        lambda: layers.IndependentContinuousBernoulli(3, seed=1), params=3
    ),
    "IndependentPoisson": likelihood(lambda: layers.IndependentPoisson(3, seed=1), params=3),
    "IndependentNegativeBinomial": likelihood(
        lambda: layers.IndependentNegativeBinomial(3, seed=1), params=6
    ),
    "IndependentZeroInflatedNegativeBinomial": likelihood(
        lambda: layers.IndependentZeroInflatedNegativeBinomial(3, seed=1), params=9
    ),
    "IndependentCategorical": likelihood(
        lambda: layers.IndependentCategorical(4, 2, seed=1), params=8
    ),
    "OneHotCategorical": likelihood(lambda: layers.OneHotCategorical(4, seed=1), params=4),
    "CategoricalMixtureOfOneHotCategorical": likelihood(
        lambda: layers.CategoricalMixtureOfOneHotCategorical(4, 2, seed=1), params=10
    ),
    "DiscretizedLogistic": likelihood(lambda: layers.DiscretizedLogistic(3, seed=1), params=6),
    "MixtureDiscretizedLogistic": likelihood(
        lambda: layers.MixtureDiscretizedLogistic(2, 3, seed=1),
        layers.MixtureDiscretizedLogistic.params_size(2, 3),
    ),
    "MixtureNormal": likelihood(
        lambda: layers.MixtureNormal(2, 3, seed=1), layers.MixtureNormal.params_size(2, 3)
    ),
    "MixtureLogistic": likelihood(
        lambda: layers.MixtureLogistic(2, 3, seed=1), layers.MixtureLogistic.params_size(2, 3)
    ),
    "MixtureSameFamily": likelihood(
        lambda: layers.MixtureSameFamily(2, layers.IndependentNormal(3, seed=2), seed=1),
        layers.MixtureSameFamily.params_size(2, layers.IndependentNormal.params_size(3)),
    ),
    "VonMisesFisher": likelihood(
        lambda: layers.VonMisesFisher(3, seed=1), layers.VonMisesFisher.params_size(3)
    ),
    "VariationalGaussianProcess": likelihood(
        lambda: layers.VariationalGaussianProcess(4, Kernel(), seed=1),
        params=2,
        loss=lambda: variational_loss,
    ),
    "AutoregressiveTransform": flow(autoregressive_flow),
    "PlanarFlow": likelihood(
        lambda: layers.PlanarFlow(3, 2, seed=1), layers.PlanarFlow.params_size(3, 2)
    ),
    "RadialFlow": likelihood(
        lambda: layers.RadialFlow(3, 1, seed=1), layers.RadialFlow.params_size(3, 1)
    ),
    "SylvesterFlow": likelihood(
        lambda: layers.SylvesterFlow(3, 1, num_units=2, seed=1),
        layers.SylvesterFlow.params_size(3, 1, num_units=2),
    ),
    "InverseAutoregressiveFlow": likelihood(
        inverse_autoregressive_flow,
        layers.InverseAutoregressiveFlow.params_size(3, context_size=2),
    ),
    "KLDivergenceAddLoss": added_loss(
        lambda: layers.KLDivergenceAddLoss(priors.TrainableNormal(L))
    ),
    "VariableLayer": hidden(lambda: layers.VariableLayer((6, 4), initializer="ones")),
    "DenseVariational": hidden(
        lambda: layers.DenseVariational(
            3, weights_distribution, weights_distribution, kl_weight=0.1, seed=1
        )
    ),
    "DenseReparameterization": hidden(lambda: layers.DenseReparameterization(3, seed=1)),
    "DenseLocalReparameterization": hidden(lambda: layers.DenseLocalReparameterization(3, seed=1)),
    "DenseFlipout": hidden(lambda: layers.DenseFlipout(3, seed=1)),
    "Conv1DReparameterization": convolution(layers.Conv1DReparameterization, 1),
    "Conv2DReparameterization": convolution(layers.Conv2DReparameterization, 2),
    "Conv3DReparameterization": convolution(layers.Conv3DReparameterization, 3),
    "Conv1DFlipout": convolution(layers.Conv1DFlipout, 1),
    "Conv2DFlipout": convolution(layers.Conv2DFlipout, 2),
    "Conv3DFlipout": convolution(layers.Conv3DFlipout, 3),
}

REGULARIZERS = {
    "KLDivergenceRegularizer": cost(
        lambda: regularizers.KLDivergenceRegularizer(priors.TrainableNormal(L), weight=0.5)
    ),
    "KLDivergenceRegularizer drawn": cost(
        lambda: regularizers.KLDivergenceRegularizer(
            standard_normal, weight=keras.Variable(0.5), exact=False
        )
    ),
    "KLDivergenceRegularizer scheduled": cost(
        lambda: regularizers.KLDivergenceRegularizer(
            priors.StandardNormal(L), weight=schedules.LinearWarmup(10, start=0.5)
        )
    ),
    "Capacity": cost(lambda: regularizers.Capacity(priors.StandardNormal(L), 3.0, weight=2.0)),
    "FreeBits": cost(lambda: regularizers.FreeBits(priors.StandardNormal(L), 0.01)),
    "MaximumMeanDiscrepancy": cost(
        lambda: regularizers.MaximumMeanDiscrepancy(priors.StandardNormal(L), seed=2)
    ),
    "DIP": cost(lambda: regularizers.DIP()),
    "TotalCorrelation": cost(
        lambda: regularizers.TotalCorrelation(priors.StandardNormal(L), dataset_size=100)
    ),
    "AdversarialTotalCorrelation": cost(
        lambda: regularizers.AdversarialTotalCorrelation(
            priors.StandardNormal(L), hidden_units=(8, 4), seed=2
        )
    ),
    "Sum": cost(
        lambda: regularizers.Sum(
            [regularizers.KLDivergenceRegularizer(priors.StandardNormal(L)), regularizers.DIP()]
        )
    ),
}

PRIORS = {
    "StandardNormal": latent(lambda: priors.StandardNormal(L)),
    "TrainableNormal": latent(lambda: priors.TrainableNormal(L)),
    "GaussianMixture": latent(lambda: priors.GaussianMixture(L, num_components=3)),
    "GaussianMixture full": latent(
        lambda: moved(priors.GaussianMixture(L, num_components=3, covariance="full"))
    ),
    "Affine": latent(
        lambda: priors.Affine(priors.TrainableNormal(L), shift=[0.1, -0.2], scale=[0.5, 2.0])
    ),
    "SecondStage": latent(second_stage),
    "NormalizingFlow": latent(
        lambda: moved(priors.NormalizingFlow(L, num_layers=2, hidden_units=(4,), activation="tanh"))
    ),
    "NormalizingFlow spline": latent(
        lambda: moved(
            priors.NormalizingFlow(
                L, "spline", num_layers=2, hidden_units=(4,), activation="tanh", num_bins=4
            )
        )
    ),
    "VampPrior": latent(lambda: priors.VampPrior(L, pseudo_inputs=3)),
    "SphericalUniform": latent(lambda: priors.SphericalUniform(L), spherical_encoder),
}

MODELS = {
    "VAE": itself(lambda: VAE(encoder(), decoder(), beta=0.5)),
    "VAE 5 draws": itself(lambda: VAE(encoder(layers.Samples(5)), decoder())),
    "VAE IWAE": itself(
        lambda: VAE(encoder(layers.Samples(5)), decoder(), objective=objectives.IWAE())
    ),
    "VAE DReG": itself(
        lambda: VAE(encoder(layers.Samples(5)), decoder(), objective=objectives.DReG())
    ),
    "VAE conv": itself(
        lambda: VAE.for_images((5, 4, 3), L, "conv", (3, 4), activation="tanh"), (5, 4, 3)
    ),
    "Autoencoder": itself(lambda: Autoencoder(encoder("mean"), decoder())),
    "Autoencoder RAE-L2": itself(
        lambda: Autoencoder(encoder("mean"), decoder(), 0.1, "l2", keras.Variable(0.1))
    ),
    "Autoencoder RAE-GP": itself(
        lambda: Autoencoder.for_images(
            (5, 4, 3),
            L,
            "conv",
            (3, 4),
            activation="tanh",
            code_weight=schedules.LinearWarmup(10, start=0.5),
            decoder_penalty="gradient",
            decoder_weight=0.1,
            seed=3,
        ),
        (5, 4, 3),
    ),
}

KINDS = {"layers": LAYERS, "regularizers": REGULARIZERS, "priors": PRIORS, "models": MODELS}
REGISTRY = {f"{kind}/{name}": entry for kind, part in KINDS.items() for name, entry in part.items()}
