"""Dense layers with a random kernel and a random bias, by the names of `tfp.layers`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.layers.estimators import flipout, local_reparameterization, reparameterization
from tfvae.layers.linear import MatrixProduct
from tfvae.layers.mean_field import default_multivariate_normal_fn
from tfvae.layers.variational import VariationalLayer
from tfvae.layers.variational_weight import (
    EXACT_KL,
    MEAN_FIELD,
    POINT,
    VariationalWeight,
)


class _DenseLayer(VariationalLayer):
    """Abstract base of the dense layers with a posterior for the kernel and one for the bias."""

    def __init__(
        self,
        units: int,
        activation: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
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
        """Makes the layer: input `[B, ..., channels]`, output `[B, ..., units]`.

        To save the model every function must be registered with
        `keras.saving.register_keras_serializable`, as the defaults are; a lambda trains, and is
        refused when the model is saved.

        Args:
            units: size of the last axis of the output.
            activation: applied to the output.
            activity_regularizer: a Keras regulariser of the output.
            trainable: whether the weights are trained.
            kernel_posterior_fn: makes q(kernel) from `(dtype, shape, name, trainable,
                add_variable_fn)`; see `tfvae.layers.variational_weight`.
            kernel_posterior_tensor_fn: how a distribution becomes a tensor: a method of
                `tfd.Distribution` or its name, such as `"mean"` for a layer without noise, or a
                function. With local reparameterization and Flipout it also gets the distribution
                of the output's noise and that of the kernel's.
            kernel_prior_fn: makes p(kernel), from the same arguments; `None` for no divergence.
            kernel_divergence_fn: maps `(q, p, draw)` to the cost in nats that is added to the
                loss, once a call. **Divide it by the size of the training set**:
                `ScaledKLDivergence(kl_weight=1 / N)` says why. `None` for no divergence.
            bias_posterior_fn: as for the kernel; by default a point; `None` for no bias.
            bias_posterior_tensor_fn: as for the kernel.
            bias_prior_fn: as for the kernel; `None`, no divergence, by default.
            bias_divergence_fn: as for the kernel.
            seed: fixes the draws.
            **kwargs: `name`, `dtype`. Posteriors and divergences are in float32 at least.

        Raises:
            ValueError: if `units` is not a positive integer or `kernel_posterior_fn` is `None`;
                when the layer is called, if a posterior has another shape than the weight.
            TypeError: if a function is not callable or makes no distribution.
        """
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
        super().__init__(
            MatrixProduct(units),
            kernel,
            bias,
            activation,
            activity_regularizer,
            seed,
            trainable=trainable,
            **kwargs,
        )


@keras.saving.register_keras_serializable(package="tfvae")
class DenseReparameterization(_DenseLayer):
    """A dense layer whose kernel is drawn once for the batch: activation(x W + b), W ~ q.

    It takes any posterior. The examples of a batch share the draw and are correlated;
    `DenseFlipout` has less variance for twice the work. For the arguments see `__init__`.

    Example:
        >>> from tfvae.layers import ScaledKLDivergence
        >>> layer = DenseReparameterization(3, kernel_divergence_fn=ScaledKLDivergence(1 / 1000))
        >>> y = layer(tf.ones([4, 2]))
        >>> tuple(y.shape), len(layer.losses), bool(tf.reduce_all(y[0] == y[1]))
        ((4, 3), 1, True)

    Reference:
        Blundell, Cornebise, Kavukcuoglu and Wierstra (2015), Weight Uncertainty in Neural Networks,
        arXiv:1505.05424.
    """

    estimator = staticmethod(reparameterization)


@keras.saving.register_keras_serializable(package="tfvae")
class DenseLocalReparameterization(_DenseLayer):
    """A dense layer that draws its output: x W ~ N(x loc, x^2 scale^2) for normal W.

    The examples of a batch are independent, and so are the units of the output, given x. The
    posterior must be a product of normals. For the arguments see `__init__`.

    Raises:
        TypeError: when it is called, if the posterior is not a `tfd.Independent(tfd.Normal)`.

    Example:
        >>> from tfvae.layers import ScaledKLDivergence
        >>> layer = DenseLocalReparameterization(3, kernel_divergence_fn=ScaledKLDivergence(1e-3))
        >>> y = layer(tf.ones([4, 2]))
        >>> tuple(y.shape), len(layer.losses), bool(tf.reduce_any(y[0] == y[1]))
        ((4, 3), 1, False)

    Reference:
        Kingma, Salimans and Welling (2015), Variational Dropout and the Local Reparameterization
        Trick, arXiv:1506.02557, equation 6.
    """

    estimator = staticmethod(local_reparameterization)


@keras.saving.register_keras_serializable(package="tfvae")
class DenseFlipout(_DenseLayer):
    """A dense layer whose kernel's noise has signs of its own for each example.

    The output is activation(x loc + ((x o s) dW) o r + b), with dW ~ N(0, scale^2) drawn once for
    the batch and signs s and r drawn for each example and channel. The examples of a batch are
    uncorrelated, for twice the work of `DenseReparameterization`. The posterior must be a product
    of normals. For the arguments see `__init__`.

    Raises:
        TypeError: when it is called, if the posterior is not a `tfd.Independent(tfd.Normal)`.

    Example:
        >>> from tfvae.layers import ScaledKLDivergence
        >>> layer = DenseFlipout(30, kernel_divergence_fn=ScaledKLDivergence(1 / 1000))
        >>> y = layer(tf.ones([4, 2]))
        >>> tuple(y.shape), len(layer.losses), bool(tf.reduce_all(y[0] == y[1]))
        ((4, 30), 1, False)

    Reference:
        Wen, Vicol, Ba, Tran and Grosse (2018), Flipout: Efficient Pseudo-Independent Weight
        Perturbations on Mini-Batches, arXiv:1803.04386, section 3.1.
    """

    estimator = staticmethod(flipout)
