"""Convolutions with random weights, by the names of `tfp.layers`.

TFP has no local reparameterization of a convolution, and neither is there one here: neighbouring
outputs share their kernel, so noise that is drawn for each output alone is another model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.layers.estimators import flipout, reparameterization
from tfvae.layers.linear import Convolution
from tfvae.layers.mean_field import default_multivariate_normal_fn
from tfvae.layers.variational import VariationalLayer
from tfvae.layers.variational_weight import EXACT_KL, MEAN_FIELD, POINT, VariationalWeight


class _ConvolutionLayer(VariationalLayer):
    """Abstract base of the convolutions; a final class names its `rank` and its estimator."""

    rank: int

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str = "channels_last",
        dilation_rate: Any = 1,
        activation: Any = None,
        activity_regularizer: Any = None,
        kernel_posterior_fn: Callable[..., tfd.Distribution] = MEAN_FIELD,
        kernel_posterior_tensor_fn: Any = tfd.Distribution.sample,
        kernel_prior_fn: Callable[..., tfd.Distribution] | None = default_multivariate_normal_fn,
        kernel_divergence_fn: Callable[..., tf.Tensor] | None = EXACT_KL,
        bias_posterior_fn: Callable[..., tfd.Distribution] | None = POINT,
        bias_posterior_tensor_fn: Any = tfd.Distribution.sample,
        bias_prior_fn: Callable[..., tfd.Distribution] | None = None,
        bias_divergence_fn: Callable[..., tf.Tensor] | None = EXACT_KL,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Makes the layer: input `[B, *space, channels]`, output `[B, *new_space, filters]`.

        Args:
            filters: number of channels of the output.
            kernel_size: size of the window: an integer, or one for each axis of space.
            strides: steps of the window, likewise.
            padding: `"valid"`, `"same"`, or `"causal"` in one dimension; upper case will do.
            data_format: `"channels_last"`, or `"channels_first"` for `[B, channels, *space]`.
            dilation_rate: distance between the taps of the window; 1 where a stride is above 1.
            activation: applied to the output.
            activity_regularizer: a Keras regulariser of the output.
            kernel_posterior_fn: makes q(kernel), of shape `[*kernel_size, channels, filters]`. It
                and the arguments that follow are as for `DenseReparameterization`.
            kernel_posterior_tensor_fn: how a distribution becomes a tensor.
            kernel_prior_fn: makes p(kernel), or `None`.
            kernel_divergence_fn: maps `(q, p, draw)` to the cost in nats that is added to the
                loss, once a call. **Divide it by the size of the training set**:
                `ScaledKLDivergence(kl_weight=1 / N)` says why. `None` for no divergence.
            bias_posterior_fn: makes q(bias), of shape `[filters]`; `None` for no bias.
            bias_posterior_tensor_fn: how a distribution becomes a tensor.
            bias_prior_fn: makes p(bias), or `None`.
            bias_divergence_fn: as for the kernel.
            seed: fixes the draws.
            **kwargs: `name`, `dtype`, `trainable`.

        Raises:
            ValueError: if an argument is out of range, or `kernel_posterior_fn` is `None`; when
                the layer is called, if a posterior has another shape than the weight.
            TypeError: if a function is not callable or makes no distribution.
        """
        operation = Convolution(
            self.rank, filters, kernel_size, strides, padding, data_format, dilation_rate
        )
        kernel = VariationalWeight(
            "kernel",
            kernel_posterior_fn,
            kernel_posterior_tensor_fn,
            kernel_prior_fn,
            kernel_divergence_fn,
        )
        bias = VariationalWeight(
            "bias", bias_posterior_fn, bias_posterior_tensor_fn, bias_prior_fn, bias_divergence_fn
        )
        super().__init__(operation, kernel, bias, activation, activity_regularizer, seed, **kwargs)


@keras.saving.register_keras_serializable(package="tfvae")
class Conv1DReparameterization(_ConvolutionLayer):
    """Convolution of a sequence; the kernel is drawn once for the batch.

    For the arguments see `__init__`.

    Example:
        >>> layer = Conv1DReparameterization(4, kernel_size=3, padding="causal")
        >>> tuple(layer(tf.ones([2, 8, 1])).shape), len(layer.losses)
        ((2, 8, 4), 1)

    Reference:
        Blundell, Cornebise, Kavukcuoglu and Wierstra (2015), arXiv:1505.05424.
    """

    rank = 1
    estimator = staticmethod(reparameterization)


@keras.saving.register_keras_serializable(package="tfvae")
class Conv2DReparameterization(_ConvolutionLayer):
    """Convolution of an image; the kernel is drawn once for the batch.

    For the arguments see `__init__`.

    Example:
        >>> layer = Conv2DReparameterization(4, kernel_size=3, strides=2, padding="same")
        >>> tuple(layer(tf.ones([2, 8, 8, 1])).shape), len(layer.losses)
        ((2, 4, 4, 4), 1)

    Reference:
        Blundell, Cornebise, Kavukcuoglu and Wierstra (2015), arXiv:1505.05424.
    """

    rank = 2
    estimator = staticmethod(reparameterization)


@keras.saving.register_keras_serializable(package="tfvae")
class Conv3DReparameterization(_ConvolutionLayer):
    """Convolution of a volume; the kernel is drawn once for the batch.

    For the arguments see `__init__`.

    Example:
        >>> layer = Conv3DReparameterization(4, kernel_size=(1, 2, 3))
        >>> tuple(layer(tf.ones([2, 4, 4, 4, 1])).shape), len(layer.losses)
        ((2, 4, 3, 2, 4), 1)

    Reference:
        Blundell, Cornebise, Kavukcuoglu and Wierstra (2015), arXiv:1505.05424.
    """

    rank = 3
    estimator = staticmethod(reparameterization)


@keras.saving.register_keras_serializable(package="tfvae")
class Conv1DFlipout(_ConvolutionLayer):
    """Convolution of a sequence; the kernel's noise has signs of its own for each example.

    The posterior must be a product of normals. For the arguments see `__init__`.

    Example:
        >>> layer = Conv1DFlipout(4, kernel_size=3, dilation_rate=2)
        >>> tuple(layer(tf.ones([2, 8, 1])).shape), len(layer.losses)
        ((2, 4, 4), 1)

    Reference:
        Wen, Vicol, Ba, Tran and Grosse (2018), arXiv:1803.04386.
    """

    rank = 1
    estimator = staticmethod(flipout)


@keras.saving.register_keras_serializable(package="tfvae")
class Conv2DFlipout(_ConvolutionLayer):
    """Convolution of an image; the kernel's noise has signs of its own for each example.

    The posterior must be a product of normals. For the arguments see `__init__`.

    Example:
        >>> layer = Conv2DFlipout(4, kernel_size=3, activation="relu")
        >>> tuple(layer(tf.ones([2, 8, 8, 1])).shape), len(layer.losses)
        ((2, 6, 6, 4), 1)

    Reference:
        Wen, Vicol, Ba, Tran and Grosse (2018), arXiv:1803.04386.
    """

    rank = 2
    estimator = staticmethod(flipout)


@keras.saving.register_keras_serializable(package="tfvae")
class Conv3DFlipout(_ConvolutionLayer):
    """Convolution of a volume; the kernel's noise has signs of its own for each example.

    The posterior must be a product of normals. For the arguments see `__init__`.

    Example:
        >>> layer = Conv3DFlipout(4, kernel_size=2, bias_posterior_fn=None)
        >>> tuple(layer(tf.ones([2, 4, 4, 4, 1])).shape), len(layer.trainable_weights)
        ((2, 3, 3, 3, 4), 2)

    Reference:
        Wen, Vicol, Ba, Tran and Grosse (2018), arXiv:1803.04386.
    """

    rank = 3
    estimator = staticmethod(flipout)


Convolution1DReparameterization = Conv1DReparameterization
Convolution2DReparameterization = Conv2DReparameterization
Convolution3DReparameterization = Conv3DReparameterization
Convolution1DFlipout = Conv1DFlipout
Convolution2DFlipout = Conv2DFlipout
Convolution3DFlipout = Conv3DFlipout
