"""Losses between data and the distribution that a model outputs."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.common.symbolic_scope import in_symbolic_scope
from tensorflow_probability import distributions as tfd

from tfvae.distributions import float_dtype
from tfvae.divergences import per_example


@keras.saving.register_keras_serializable(package="tfvae")
class NegativeLogLikelihood(keras.losses.Loss):
    """The negative log-likelihood -log p(y), in nats an example.

    For `compile(loss=NegativeLogLikelihood())` on a model whose last layer is a distribution layer.
    `lambda y, p: -p.log_prob(y)` does the same where the ranks of `y` and of the distribution's
    value agree; Keras squeezes one of them otherwise, which makes a bare tensor of the
    distribution. This loss leaves it whole and squeezes the target `[B, 1]` of a scalar
    distribution `[B]` instead. Several draws of the decoder's input are averaged.

    Args:
        reduction: as for every Keras loss; by default the mean over the batch.
        name: name of the loss.
        dtype: dtype of the loss.

    Raises:
        TypeError: if the prediction is not a distribution.

    Example:
        >>> from tfvae.layers import IndependentBernoulli
        >>> p = IndependentBernoulli(4)(tf.zeros([3, 4]))
        >>> round(float(NegativeLogLikelihood()(tf.ones([3, 4]), p)), 4)
        2.7726
    """

    def __init__(
        self,
        reduction: str = "sum_over_batch_size",
        name: str = "negative_log_likelihood",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=float_dtype(dtype))

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tf.Tensor:
        if isinstance(y_pred, tfd.Distribution):
            losses = negative_log_likelihood(y_true, y_pred)
        elif in_symbolic_scope():
            # A strategy builds its metrics from placeholders, which are no distributions.
            losses = tf.zeros_like(y_pred)
        else:
            raise TypeError(
                "NegativeLogLikelihood needs a model whose output is a distribution: end it in a "
                "distribution layer, such as `tfvae.layers.IndependentBernoulli`. "
                f"Received: {y_pred!r}"
            )
        return super().__call__(losses, losses, sample_weight)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the losses, `[B]`, which `__call__` has computed before Keras sees them."""
        del y_true
        return y_pred


def negative_log_likelihood(y: Any, p: tfd.Distribution) -> tf.Tensor:
    """Returns -log p(y) for each example, the mean over draws where there are several.

    Args:
        y: data, `[B, *event_shape]`, or `[B, 1]` for scalar events.
        p: a distribution of batch shape `[B]` or `[S, B]`.

    Returns:
        `[B]`, in nats.

    Example:
        >>> p = tfd.Bernoulli(logits=tf.zeros([5, 3]), dtype=tf.float32)
        >>> negative_log_likelihood(tf.ones([3, 1]), p).shape.as_list()
        [3]
    """
    y = tf.cast(y, p.dtype)
    event_rank, batch_rank = p.event_shape.rank, p.batch_shape.rank
    if event_rank == 0 and y.shape.rank == 2 and y.shape[-1] == 1 and p.batch_shape[-1] != 1:
        y = tf.squeeze(y, axis=-1)
    log_prob = p.log_prob(y)
    # Batch dimensions that the data lacks are draws of the decoder's input; they come first.
    draws = max(0, batch_rank - (y.shape.rank - event_rank))
    log_prob = tf.reduce_mean(log_prob, axis=list(range(draws)))
    return -per_example(log_prob)
