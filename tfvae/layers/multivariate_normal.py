"""Multivariate normal distributions: the usual posteriors q(z|x)."""

from __future__ import annotations

from typing import Any

import keras
from tensorflow_probability import distributions as tfd

from tfvae.distributions import positive_scale
from tfvae.layers.distribution_layer import DistributionLayer
from tfvae.layers.parameters import event_size as size_of
from tfvae.layers.parameters import split_parameters


@keras.saving.register_keras_serializable(package="tfvae")
class MultivariateNormalDiag(DistributionLayer):
    """A multivariate normal with independent components, the posterior of the standard VAE.

    The parameters `[..., 2 * event_size]` are the mean followed by raw scales; the scale is
    `tfvae.distributions.positive_scale(raw)`: softplus with a floor of 1e-5 and a smooth ceiling of
    1e9, positive and finite whatever the parameters.

    Args:
        event_size: the number of dimensions.
        convert_to_tensor_fn: how the distribution becomes a tensor: by default one draw, with
            `Samples(S)` several, `"mean"` for none.
        validate_args: whether TFP checks the parameters at every call.
        activity_regularizer: the latent's cost in nats, `[B]`, such as
            `tfvae.regularizers.KLDivergenceRegularizer`.
        seed: fixes the draws.
        **kwargs: `name`, `dtype`, `trainable`.

    Example:
        >>> q = MultivariateNormalDiag(2)(tf.zeros([3, 4]))
        >>> isinstance(q, tfd.MultivariateNormalDiag), tuple(q.shape)
        (True, (3, 2))

    Reference:
        Kingma and Welling (2014), Auto-Encoding Variational Bayes, arXiv:1312.6114, appendix C.2.
    """

    def __init__(
        self,
        event_size: int,
        convert_to_tensor_fn: Any = tfd.Distribution.sample,
        validate_args: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            {"event_size": event_size, "validate_args": validate_args},
            convert_to_tensor_fn,
            **kwargs,
        )

    @staticmethod
    def new(
        params: Any, event_size: int, validate_args: bool = False, name: str | None = None
    ) -> tfd.MultivariateNormalDiag:
        """Makes the distribution from parameters `[..., 2 * event_size]`."""
        loc, raw = split_parameters(params, event_size, 2)
        return tfd.MultivariateNormalDiag(
            loc,
            positive_scale(raw),
            validate_args=validate_args,
            name=name or "MultivariateNormalDiag",
        )

    @staticmethod
    def params_size(event_size: int, name: str | None = None) -> int:
        """Number of parameters: a mean and a raw scale for each dimension."""
        return 2 * size_of(event_size)
