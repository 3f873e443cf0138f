"""Densities of codes: priors fitted to the codes of a model that stays as it is.

Each function takes standardised codes and returns a layer of `tfvae.priors`, so that a fitted
density draws from seeds, is saved and is exported as every prior. What they draw themselves, first
weights and orders, comes from the generators that `tfvae.latent.seeding.seeded` sets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfvae import networks
from tfvae.distributions import float_dtype
from tfvae.layers.multivariate_normal import MultivariateNormalDiag
from tfvae.layers.normal import IndependentNormal
from tfvae.models.vae import VAE
from tfvae.priors import GaussianMixture, NormalizingFlow, Prior, SecondStage


@keras.saving.register_keras_serializable(package="tfvae")
class CodeDensity(keras.Model):
    """A prior as a Keras model, from codes to their log-densities: to fit it, and to save it.

    Args:
        prior: a layer of `tfvae.priors`.
        kind: how it was fitted, one of the kinds of `tfvae.latent.fit_sampler`.
        fingerprint: of the model whose codes it was fitted to.
        **kwargs: `name`, `dtype`.

    Example:
        >>> from tfvae.priors import StandardNormal
        >>> CodeDensity(StandardNormal(2))(tf.zeros((3, 2))).numpy().round(4).tolist()
        [-1.8379000425338745, -1.8379000425338745, -1.8379000425338745]
    """

    def __init__(self, prior: Prior, kind: str = "", fingerprint: str = "", **kwargs: Any) -> None:
        # A density has a density's precision, whatever Keras' policy is.
        super().__init__(dtype=float_dtype(kwargs.pop("dtype", None)), **kwargs)
        self.prior = prior
        self.kind = kind
        self.fingerprint = fingerprint
        self.built = True

    def call(self, z: Any) -> tf.Tensor:
        return self.prior().log_prob(z)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "prior": keras.saving.serialize_keras_object(self.prior),
            "kind": self.kind,
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> CodeDensity:
        prior = keras.saving.deserialize_keras_object(config["prior"], custom_objects)
        return cls(**{**config, "prior": prior})


def gaussian_mixture(
    codes: np.ndarray, num_components: int = 10, covariance: str = "full"
) -> Prior:
    """Fits a mixture of normals by expectation-maximisation, which scikit-learn does.

    Args:
        codes: standardised, `[N, D]`.
        num_components: at most N.
        covariance: `"full"` or `"diagonal"`.

    Raises:
        ImportError: without scikit-learn.
        ValueError: if there are fewer codes than components.
    """
    try:
        from sklearn import mixture
    except ImportError as error:
        raise ImportError(
            "A mixture is fitted by scikit-learn: install it with `pip install 'tfvae[sklearn]'`. "
            f"Received: {error}"
        ) from error
    prior = GaussianMixture(codes.shape[1], num_components, covariance)
    if len(codes) < num_components:
        raise ValueError(
            "A mixture needs at least as many codes as components. "
            f"Received: {len(codes)} codes, num_components={num_components}"
        )
    kind = "full" if covariance == "full" else "diag"
    fitted = mixture.GaussianMixture(num_components, covariance_type=kind)
    fitted.fit(codes.astype(np.float64))
    if covariance == "full":
        factors = np.linalg.cholesky(fitted.covariances_)
        scale = np.diagonal(factors, axis1=1, axis2=2)
        prior.lower.assign(np.tril(factors, k=-1))
    else:
        scale = np.sqrt(fitted.covariances_)
    prior.logits.assign(np.log(fitted.weights_))
    prior.loc.assign(fitted.means_)
    prior.raw_scale.assign(_raw_scale(scale))
    return prior


def _raw_scale(scale: np.ndarray) -> np.ndarray:
    """The inverse of `positive_scale`, which adds 1e-5 to a softplus."""
    rise = scale - 1e-5
    return rise + np.log(-np.expm1(-rise))


def flow(
    codes: np.ndarray,
    flow: str | None = None,
    num_layers: int = 4,
    hidden_units: Sequence[int] = (64, 64),
    epochs: int = 100,
    fit_batch_size: int = 128,
    learning_rate: float = 1e-3,
    verbose: Any = 0,
) -> Prior:
    """Fits a normalizing flow by maximum likelihood.

    Args:
        codes: standardised, `[N, D]`.
        flow: the `kind` of `tfvae.priors.NormalizingFlow`; coupling where codes have two numbers or
            more, if `None`.
        num_layers: of the flow.
        hidden_units: of its networks.
        epochs: passes over the codes.
        fit_batch_size: codes a step.
        learning_rate: of Adam at the start; it falls to zero along a cosine.
        verbose: as for `keras.Model.fit`.
    """
    size = codes.shape[1]
    flow = flow or ("coupling" if size > 1 else "autoregressive")
    prior = NormalizingFlow(size, flow, num_layers, hidden_units)
    model = CodeDensity(prior)
    # -log p(z), with no target.
    model.compile(
        _adam(learning_rate, len(codes), fit_batch_size, epochs),
        loss=lambda _, log_prob: -log_prob,
        jit_compile=False,
    )
    targets = np.zeros(len(codes), np.float32)
    model.fit(codes, targets, batch_size=fit_batch_size, epochs=epochs, verbose=verbose)
    return prior


def two_stage(
    codes: np.ndarray,
    latent_dim: int | None = None,
    hidden: Sequence[int] = (128, 128),
    num_samples: int = 100,
    epochs: int = 100,
    fit_batch_size: int = 128,
    learning_rate: float = 1e-3,
    verbose: Any = 0,
) -> Prior:
    """Fits a second VAE, of codes, with normal noise of one scale that is learned.

    Args:
        codes: standardised, `[N, D]`.
        latent_dim: size of the second code; D if `None`, as in the paper.
        hidden: units of the encoder's hidden layers, mirrored by the decoder.
        num_samples: importance samples behind a density.
        epochs: passes over the codes.
        fit_batch_size: codes a step.
        learning_rate: of Adam at the start; it falls to zero along a cosine.
        verbose: as for `keras.Model.fit`.
    """
    size = codes.shape[1]
    latent_dim = size if latent_dim is None else latent_dim
    to_posterior = networks.dense((size,), MultivariateNormalDiag.params_size(latent_dim), hidden)
    to_code = networks.dense((latent_dim,), size, tuple(reversed(hidden)))
    encoder = keras.Sequential(
        [keras.Input((size,)), *to_posterior.layers, MultivariateNormalDiag(latent_dim)]
    )
    decoder = keras.Sequential(
        [
            keras.Input((latent_dim,)),
            *to_code.layers,
            IndependentNormal(size, "mean", scale="shared"),
        ]
    )
    vae = VAE(encoder, decoder)
    vae.compile(_adam(learning_rate, len(codes), fit_batch_size, epochs))
    vae.fit(codes, batch_size=fit_batch_size, epochs=epochs, verbose=verbose)
    return SecondStage(size, encoder, decoder, num_samples)


def _adam(learning_rate: float, count: int, batch_size: int, epochs: int) -> keras.Optimizer:
    steps = epochs * math.ceil(count / batch_size)
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps))
