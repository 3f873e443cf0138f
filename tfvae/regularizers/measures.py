"""What several regularisers measure: divergences by element, draws, and means over the batch."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions import plain, value_is_draw
from tfvae.distributions.elements import elements


def draws(q: tfd.Distribution, seed: Any = None) -> tf.Tensor:
    """The draws that `q` carries, or a new one, always `[S, B, *event]`."""
    z = tf.convert_to_tensor(q) if value_is_draw(q) else plain(q).sample(seed=seed)
    rank = q.batch_shape.rank + q.event_shape.rank
    return z if z.shape.rank > rank else z[tf.newaxis]


def flatten(values: tf.Tensor, leading: int) -> tf.Tensor:
    """Joins all axes after the first `leading` ones."""
    size = values.shape[leading:].num_elements()
    # TFP loses sight of a size of 1, which it might have broadcast.
    last = -1 if size is None else size
    return tf.reshape(values, tf.concat([tf.shape(values)[:leading], [last]], axis=0))


def element_kl(q: tfd.Distribution, prior: tfd.Distribution) -> tf.Tensor:
    """Returns KL(q_j || p_j) for each element j of a code.

    In closed form where TFP has one, otherwise the mean of log q_j(z_j) - log p_j(z_j) over the
    draws that `q` carries.

    Args:
        q: a posterior of independent elements, with batch shape `[B]`.
        prior: a prior of independent elements.

    Returns:
        `[B, E]` for E elements, in nats.

    Raises:
        ValueError: if the elements of either may depend on each other.

    Example:
        >>> q = tfd.MultivariateNormalDiag([[0.0, 2.0]], [[1.0, 1.0]])
        >>> element_kl(q, tfd.MultivariateNormalDiag([0.0, 0.0], [1.0, 1.0])).numpy().tolist()
        [[0.0, 2.0]]
    """
    parts, prior_parts = elements(q), elements(prior)
    try:
        kl = tfd.kl_divergence(parts, prior_parts)
    except NotImplementedError:
        z = draws(q)
        kl = tf.reduce_mean(parts.log_prob(z) - prior_parts.log_prob(z), axis=0)
    return flatten(kl, leading=1)


def batch_mean(values: tf.Tensor) -> tf.Tensor:
    """The mean over the batch in the place of each example, so that its own mean is the same."""
    return tf.broadcast_to(tf.reduce_mean(values, axis=0, keepdims=True), tf.shape(values))


def for_each_example(value: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """A number of the whole batch in the place of each example of draws `[S, B, ...]`: `[B]`."""
    return tf.fill(tf.shape(z)[1:2], value)
