"""Keras metrics of a posterior, batch by batch, for loops of one's own.

`VAE.compile(metrics=...)` calls a metric with the data and the likelihood, `metric(x, p)`; the
posterior is not there to be measured, and while the weights change between the batches of an epoch
a variance over them would mean little. In `fit` it is therefore a callback that measures,
`tfvae.callbacks.LatentDiagnostics`; these metrics say so if they are compiled into a model. What
`fit` does log of every batch, `kl` and `nll`, are the rate and the distortion.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions import plain
from tfvae.metrics.dimensions import THRESHOLD
from tfvae.regularizers.measures import element_kl, flatten


class ActiveUnits(keras.metrics.Metric):
    """The number of dimensions whose posterior mean varies, Var_x(E_q(z|x)[z]) > threshold.

    The variance is that over all examples since the last reset, joined from those of the batches.

    Args:
        event_shape: shape of a code, `vae.latent_shape`.
        threshold: in the square of a code's unit.
        name: of the metric.
        **kwargs: `dtype`.

    Example:
        >>> metric = ActiveUnits((2,))
        >>> for loc in ([[0.0, 1.0]], [[0.05, -1.0]]):
        ...     metric.update_state(tfd.MultivariateNormalDiag(loc, [1.0, 1.0]))
        >>> int(metric.result()), [round(float(a), 4) for a in metric.activity()]
        (1, [0.0006, 1.0])

    Reference:
        Burda, Grosse and Salakhutdinov (2016), Importance Weighted Autoencoders,
        arXiv:1509.00519, section 5.2.
        Chan, Golub and LeVeque (1983), Algorithms for Computing the Sample Variance, for the sums.
    """

    def __init__(
        self,
        event_shape: Any,
        threshold: float = THRESHOLD,
        name: str = "active_units",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.threshold = threshold
        size = math.prod(event_shape)
        self.count = self.add_variable((), "zeros", name="count")
        self.mean = self.add_variable((size,), "zeros", name="mean")
        self.squares = self.add_variable((size,), "zeros", name="squares")

    def update_state(self, q: Any, *others: Any, **weights: Any) -> None:
        """Adds a batch of posteriors, or an autoencoder's codes `[B, *event_shape]`.

        Raises:
            TypeError: if it is called as a compiled metric is.
        """
        _refuse_compiled(self, others or weights)
        mean = plain(q).mean() if isinstance(q, tfd.Distribution) else tf.convert_to_tensor(q)
        mean = tf.cast(flatten(mean, leading=1), self.dtype)
        number = tf.cast(tf.shape(mean)[0], self.dtype)
        batch_mean = tf.reduce_mean(mean, axis=0)
        distance = batch_mean - self.mean
        total = self.count + number
        within = tf.reduce_sum(tf.square(mean - batch_mean), axis=0)
        self.squares.assign(self.squares + within + distance**2 * self.count * number / total)
        self.mean.assign(self.mean + distance * number / total)
        self.count.assign(total)

    def activity(self) -> tf.Tensor:
        """The variance of each dimension's posterior mean, `[D]`."""
        return tf.math.divide_no_nan(self.squares.value, self.count.value)

    def result(self) -> tf.Tensor:
        return tf.reduce_sum(tf.cast(self.activity() > self.threshold, self.dtype))


class KLPerDimension(keras.metrics.Metric):
    """The divergence of each dimension, E_x KL(q(z_j|x) || p(z_j)), `[D]` in nats.

    Args:
        prior: a layer of `tfvae.priors` with independent dimensions.
        name: of the metric.
        **kwargs: `dtype`.

    Example:
        >>> from tfvae.priors import StandardNormal
        >>> metric = KLPerDimension(StandardNormal(2))
        >>> metric.update_state(tfd.MultivariateNormalDiag([[0.0, 2.0]], [[1.0, 1.0]]))
        >>> metric.result().numpy().tolist()
        [0.0, 2.0]
    """

    def __init__(self, prior: Any, name: str = "kl_per_dimension", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.prior = prior
        size = math.prod(prior.event_shape)
        self.count = self.add_variable((), "zeros", name="count")
        self.total = self.add_variable((size,), "zeros", name="total")

    def update_state(self, q: Any, *others: Any, **weights: Any) -> None:
        """Adds a batch of posteriors.

        Raises:
            TypeError: if it is called as a compiled metric is.
            ValueError: if the dimensions of the posterior may depend on each other.
        """
        _refuse_compiled(self, others or weights)
        kl = tf.cast(element_kl(q, self.prior.distribution()), self.dtype)
        self.total.assign(self.total + tf.reduce_sum(kl, axis=0))
        self.count.assign(self.count + tf.cast(tf.shape(kl)[0], self.dtype))

    def result(self) -> tf.Tensor:
        return tf.math.divide_no_nan(self.total.value, self.count.value)


def _refuse_compiled(metric: keras.metrics.Metric, others: Any) -> None:
    if others:
        raise TypeError(
            f"{type(metric).__name__} measures a posterior, `update_state(q)`; a compiled metric "
            "is given the data and the likelihood. In `fit` use "
            f"`tfvae.callbacks.LatentDiagnostics(x)`. Received: {1 + len(others)} arguments"
        )
