"""Multivariate normal distributions: the usual posteriors q(z|x)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from tfvae.distributions import MultivariateNormalDiag as DiagDistribution
from tfvae.distributions import MultivariateNormalLowRank as LowRankDistribution
from tfvae.distributions import positive_scale
from tfvae.layers.distribution_layer import DistributionLayer
from tfvae.layers.parameters import event_size as size_of
from tfvae.layers.parameters import positive_integer, reshape_last_axis, split_parameters

# A low-rank factor, relative to the independent noise; above it float32 could not invert.
FACTOR_BOUND = 10.0


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
        return DiagDistribution(
            loc,
            positive_scale(raw),
            validate_args=validate_args,
            name=name or "MultivariateNormalDiag",
        )

    @staticmethod
    def params_size(event_size: int, name: str | None = None) -> int:
        """Number of parameters: a mean and a raw scale for each dimension."""
        return 2 * size_of(event_size)


@keras.saving.register_keras_serializable(package="tfvae")
class MultivariateNormalTriL(DistributionLayer):
    """A multivariate normal with a full covariance, from `[..., d + d * (d + 1) / 2]`.

    The parameters are the mean, followed by the lower triangle of a Cholesky factor in the order of
    `tfp.bijectors.FillTriangular`; the factor's diagonal is `positive_scale` of its parameters.
    Support: all numbers.

    Args:
        event_size: the number of dimensions d.
        convert_to_tensor_fn: how the distribution becomes a tensor.
        validate_args: whether TFP checks the parameters at every call.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.

    Example:
        >>> q = MultivariateNormalTriL(2)(tf.zeros([3, 5]))
        >>> isinstance(q, tfd.MultivariateNormalTriL), tuple(q.covariance().shape)
        (True, (3, 2, 2))
    """

    def __init__(
        self,
        event_size: int,
        convert_to_tensor_fn: Any = tfd.Distribution.sample,
        validate_args: bool = False,
        **kwargs: Any,
    ) -> None:
        arguments = {
            "event_size": positive_integer(event_size, "event_size"),
            "validate_args": validate_args,
        }
        super().__init__(arguments, convert_to_tensor_fn, **kwargs)

    @staticmethod
    def new(
        params: Any, event_size: int, validate_args: bool = False, name: str | None = None
    ) -> tfd.MultivariateNormalTriL:
        """Makes the distribution from `[..., d + d * (d + 1) / 2]`."""
        (params,) = split_parameters(params, MultivariateNormalTriL.params_size(event_size))
        raw = tfp.math.fill_triangular(params[..., event_size:])
        # Not `tf.linalg.set_diag`: XLA cannot compile its gradient for a batch of unknown size.
        on_diagonal = tf.eye(event_size, dtype=tf.bool)
        return tfd.MultivariateNormalTriL(
            params[..., :event_size],
            tf.where(on_diagonal, positive_scale(raw), raw),
            validate_args=validate_args,
            name=name or "MultivariateNormalTriL",
        )

    @staticmethod
    def params_size(event_size: int, name: str | None = None) -> int:
        """Number of parameters: a mean and a lower triangle."""
        event_size = positive_integer(event_size, "event_size")
        return event_size + event_size * (event_size + 1) // 2


@keras.saving.register_keras_serializable(package="tfvae")
class MultivariateNormalLowRank(DistributionLayer):
    """A multivariate normal with a few directions of correlation, from `[..., d * (2 + rank)]`.

    The covariance is `S (I + W W') S`, with `S = diag(scale)`: between `MultivariateNormalDiag` and
    `MultivariateNormalTriL`, at a cost that grows with d only, for decoders of many elements and
    posteriors of many dimensions. The parameters are the mean, raw scales, and the factor W row by
    row; the scale is `positive_scale(raw)`, W is `10 tanh(raw / 10)`. The divergence from a prior
    of independent components has a closed form. Support: all numbers.

    Args:
        event_size: the number of dimensions d.
        rank: the number of columns of W, at least 1.
        convert_to_tensor_fn: how the distribution becomes a tensor.
        validate_args: whether TFP checks the parameters at every call.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.

    Example:
        >>> q = MultivariateNormalLowRank(4, rank=1)(tf.zeros([3, 12]))
        >>> tuple(q.shape), tuple(q.covariance().shape)
        ((3, 4), (3, 4, 4))

    Reference:
        Tomczak, Swaroop and Turner (2020), Efficient Low Rank Gaussian Variational Inference for
        Neural Networks, NeurIPS, for the family.
    """

    def __init__(
        self,
        event_size: int,
        rank: int,
        convert_to_tensor_fn: Any = tfd.Distribution.sample,
        validate_args: bool = False,
        **kwargs: Any,
    ) -> None:
        arguments = {
            "event_size": positive_integer(event_size, "event_size"),
            "rank": positive_integer(rank, "rank"),
            "validate_args": validate_args,
        }
        super().__init__(arguments, convert_to_tensor_fn, **kwargs)

    @staticmethod
    def new(
        params: Any,
        event_size: int,
        rank: int,
        validate_args: bool = False,
        name: str | None = None,
    ) -> LowRankDistribution:
        """Makes the distribution from `[..., d * (2 + rank)]`."""
        size = MultivariateNormalLowRank.params_size(event_size, rank)
        (params,) = split_parameters(params, size)
        raw_factor = reshape_last_axis(params[..., 2 * event_size :], [event_size, rank])
        return LowRankDistribution(
            params[..., :event_size],
            positive_scale(params[..., event_size : 2 * event_size]),
            FACTOR_BOUND * tf.tanh(raw_factor / FACTOR_BOUND),
            validate_args=validate_args,
            name=name or "MultivariateNormalLowRank",
        )

    @staticmethod
    def params_size(event_size: int, rank: int, name: str | None = None) -> int:
        """Number of parameters: a mean, a raw scale and a row of the factor for each dimension."""
        return positive_integer(event_size, "event_size") * (2 + positive_integer(rank, "rank"))
