"""A dense layer with one posterior for kernel and bias, made by a Keras model.

A posterior that correlates the weights, or is a network of its own, needs more than a function:
here it is whatever maps the layer's input to a distribution over the vector of all weights. Made of
Keras layers it is a part of the layer, and its distribution is made anew from its weights at every
call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.layers.distribution_layer import deserialize_callable, serialize_callable
from tfvae.layers.linear import MatrixProduct
from tfvae.layers.loss_weight import as_weight, weight_config
from tfvae.layers.seeded import SeededLayer
from tfvae.layers.variational import posterior_dtype
from tfvae.layers.variational_weight import ScaledKLDivergence


@keras.saving.register_keras_serializable(package="tfvae")
class DenseVariational(SeededLayer):
    """A dense layer whose kernel and bias have one joint posterior, made by a Keras model.

    w = [vec(kernel), bias] ~ q is drawn once for the batch; the output is
    activation(x kernel + bias), and kl_weight * KL(q(w) || p(w)) is added to the loss, once a call.

    Args:
        units: size of the last axis of the output.
        make_posterior_fn: maps `(kernel_size, bias_size, dtype)`, two numbers of elements and a
            `tf.DType`, to a function of the layer's input that returns a `tfd.Distribution` over
            vectors of `kernel_size + bias_size` elements. A Keras layer or model, such as a
            `keras.Sequential` of `VariableLayer` and `DistributionLambda`, is built with the layer,
            and its weights are seen, trained and saved. Weights of anything else are not seen. To
            save the model the function must be registered with
            `keras.saving.register_keras_serializable`; what it returns is made anew at loading, and
            may hold lambdas.
        make_prior_fn: the same for the prior, whose weights are trained too: set
            `trainable = False` on what it returns to fix them.
        kl_weight: factor of the divergence: a number or a `keras.Variable`; 1 if `None`. **Divide
            by the size of the training set, `kl_weight=1 / N`**, where the loss is a mean over
            examples, as Keras' losses are by default; see `ScaledKLDivergence`.
        kl_use_exact: whether to use TFP's closed form of the divergence; otherwise
            log q(w) - log p(w) at the draw of this pass.
        activation: applied to the output.
        use_bias: whether there is a bias.
        activity_regularizer: a Keras regulariser of the output.
        seed: fixes the draws of distributions that carry no draw of their own; a distribution
            layer draws with its own seed.
        **kwargs: `name`, `dtype`, `trainable`. The posterior is in float32 at least.

    Raises:
        ValueError: if `units` is not a positive integer, `kl_weight` is negative, or, when it is
            called, if the posterior has another shape.
        TypeError: if a function is not callable, or does not make a distribution.

    Example:
        >>> from tfvae.layers import DistributionLambda, VariableLayer
        >>> def posterior(kernel_size, bias_size=0, dtype=None):
        ...     n = kernel_size + bias_size
        ...     normal = lambda t: tfd.MultivariateNormalDiag(t[:n], tf.nn.softplus(t[n:]))
        ...     return keras.Sequential([VariableLayer(2 * n, dtype), DistributionLambda(normal)])
        >>> def prior(kernel_size, bias_size=0, dtype=None):
        ...     normal = lambda t: tfd.MultivariateNormalDiag(t, tf.ones_like(t))
        ...     return keras.Sequential(
        ...         [VariableLayer(kernel_size + bias_size, dtype), DistributionLambda(normal)]
        ...     )
        >>> layer = DenseVariational(3, posterior, prior, kl_weight=1 / 1000)
        >>> tuple(layer(tf.ones([4, 2])).shape), len(layer.losses)
        ((4, 3), 1)
        >>> [tuple(weight.shape) for weight in layer.trainable_weights]
        [(18,), (9,)]

    Reference:
        Blundell, Cornebise, Kavukcuoglu and Wierstra (2015), Weight Uncertainty in Neural Networks,
        arXiv:1505.05424, equations 1 and 2.
    """

    def __init__(
        self,
        units: int,
        make_posterior_fn: Callable[..., Any],
        make_prior_fn: Callable[..., Any],
        kl_weight: Any = None,
        kl_use_exact: bool = False,
        activation: Any = None,
        use_bias: bool = True,
        activity_regularizer: Any = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, activity_regularizer=activity_regularizer, **kwargs)
        self.operation = MatrixProduct(units)
        self.make_posterior_fn = deserialize_callable(make_posterior_fn)
        self.make_prior_fn = deserialize_callable(make_prior_fn)
        for name in ("make_posterior_fn", "make_prior_fn"):
            if not callable(getattr(self, name)):
                raise TypeError(
                    f"`{name}` must be a function of (kernel_size, bias_size, dtype). "
                    f"Received: {getattr(self, name)!r}"
                )
        # An attribute of the layer, so that a variable is among its weights.
        self.kl_weight = as_weight(1.0 if kl_weight is None else kl_weight, "kl_weight")
        self.kl_use_exact = bool(kl_use_exact)
        self.activation = keras.activations.get(activation)
        self.use_bias = bool(use_bias)

    def build(self, input_shape: Any) -> None:
        channels, units = self.operation.kernel_shape(input_shape)
        sizes = (channels * units, units if self.use_bias else 0)
        dtype = tf.as_dtype(posterior_dtype(self))
        # Lifted out of a graph that is being traced: a tensor that the functions make and close
        # over must outlive it.
        with tf.init_scope():
            self.posterior = self.make_posterior_fn(*sizes, dtype)
            self.prior = self.make_prior_fn(*sizes, dtype)
            for part in (self.posterior, self.prior):
                if isinstance(part, keras.layers.Layer) and not part.built:
                    part.build(input_shape)
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: channels})
        self.built = True

    def call(self, inputs: Any) -> tf.Tensor:
        inputs = tf.cast(tf.convert_to_tensor(inputs), self.compute_dtype)
        channels, units = self.operation.kernel_shape(inputs.shape)
        q, p = self.posterior(inputs), self.prior(inputs)
        for name, made in (("make_posterior_fn", q), ("make_prior_fn", p)):
            if not isinstance(made, tfd.Distribution):
                raise TypeError(
                    f"What `{name}` makes must return a `tfd.Distribution`, for example a model "
                    f"that ends in a distribution layer. Received: {made!r}"
                )
        # A distribution layer has drawn already; a plain distribution has no value.
        weights = tf.convert_to_tensor(q) if tf.is_tensor(q) else q.sample(seed=self.next_seed())
        size = channels * units + (units if self.use_bias else 0)
        if not weights.shape.is_compatible_with((size,)):
            raise ValueError(
                "The posterior must be over one vector of all the weights of the layer, shape "
                f"({size},), and give one draw of it. Received: shape {weights.shape} from {q!r}"
            )
        self.add_loss(ScaledKLDivergence(self.kl_weight, self.kl_use_exact)(q, p, weights))
        outputs = self.operation(inputs, tf.reshape(weights[: channels * units], [channels, units]))
        if self.use_bias:
            outputs += tf.cast(weights[channels * units :], outputs.dtype)
        return self.activation(outputs)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return self.operation.output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **self.operation.get_config(),
            "make_posterior_fn": serialize_callable(self.make_posterior_fn, "make_posterior_fn"),
            "make_prior_fn": serialize_callable(self.make_prior_fn, "make_prior_fn"),
            "kl_weight": weight_config(self.kl_weight),
            "kl_use_exact": self.kl_use_exact,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
        }
