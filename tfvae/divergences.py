"""Kullback-Leibler divergences, one number in nats for each example of the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions import plain, value_is_draw


def check_exact(exact: Any) -> None:
    """Raises `ValueError` unless `exact` is `True`, `False` or `"auto"`."""
    if not (isinstance(exact, bool) or exact == "auto"):
        raise ValueError(f"`exact` must be True, False or 'auto'. Received: {exact!r}")


def per_example(values: tf.Tensor, reduce_draws: bool = False) -> tf.Tensor:
    """Reduces `[B, ...]`, or `[S, B, ...]` with `reduce_draws`, to `[B]`.

    The mean is taken over draws, which estimate one number, and the sum over further batch
    dimensions, which are independent parts of the same latent.
    """
    if reduce_draws:
        values = tf.reduce_mean(values, axis=0)
    if values.shape.rank is None or values.shape.rank < 1:
        raise ValueError(
            "The latent distribution has no batch dimension, so there is no cost for each "
            f"example. Received: values of shape {values.shape}"
        )
    return tf.reduce_sum(values, axis=list(range(1, values.shape.rank)))


def monte_carlo_kl(
    q: tfd.Distribution, prior: tfd.Distribution, z: Any, reduce_axis: Any = "draws"
) -> tf.Tensor:
    """Estimates KL(q || prior) by the mean of log q(z) - log prior(z) over given points.

    Args:
        q: the posterior, with batch shape `[B]` or more.
        prior: a distribution whose batch shape broadcasts against that of `q`.
        z: points, drawn from `q` if the estimate is to be unbiased, `[..., B, event]`.
        reduce_axis: axes of the log-ratios that the mean is taken over: `"draws"`, those that
            stand before the batch; an axis or several, of which those of the draws must be part;
            `None`, all of them. A mean over the batch is the cost of each of its examples.

    Returns:
        `[B]`, in nats.

    Raises:
        ValueError: if an axis does not exist or draws would be added up, or if `q` has no batch
            dimension.
    """
    z = tf.convert_to_tensor(z)
    log_ratio = plain(q).log_prob(z) - plain(prior).log_prob(z)
    rank = log_ratio.shape.rank
    draws = set(range(rank - q.batch_shape.rank))
    if isinstance(reduce_axis, str):
        axes = draws
    elif reduce_axis is None:
        axes = set(range(rank))
    else:
        given = np.ravel(reduce_axis).astype(int).tolist()
        axes = {axis + rank if axis < 0 else axis for axis in given}
    if not axes <= set(range(rank)) or not draws <= axes:
        raise ValueError(
            f"The mean must be taken over the draws, the axes {sorted(draws)} of {rank}: their sum "
            "would count the divergence once a draw. Leave the argument out, or name these axes. "
            f"Received: reduce_axis={reduce_axis!r}, points of shape {z.shape}"
        )
    mean = tf.reduce_mean(log_ratio, axis=sorted(axes), keepdims=True)
    kl = per_example(tf.squeeze(mean, axis=sorted(draws)) if draws else mean)
    return tf.broadcast_to(kl, tf.shape(log_ratio)[len(draws) : len(draws) + 1])


def kl_divergence(
    q: tfd.Distribution,
    prior: tfd.Distribution,
    *,
    exact: bool | str = "auto",
    num_samples: int = 1,
    seed: Any = None,
    reduce_axis: Any = "draws",
) -> tf.Tensor:
    """Returns KL(q || prior) = E_q[log q(z) - log prior(z)] for each example.

    Args:
        q: the posterior, with batch shape `[B]`; further batch dimensions are independent parts
            of the latent, and their divergences are added.
        prior: a distribution whose batch shape broadcasts against that of `q`.
        exact: `True` for TFP's registered closed form, `False` for Monte Carlo, `"auto"` for the
            closed form where there is one.
        num_samples: number of draws of the Monte Carlo estimate. With 1, the draw or draws that
            `q` carries are used, if it carries any: those that the decoder saw.
        seed: seed of further draws, int32 `[2]`.
        reduce_axis: the axes of the Monte Carlo estimate's mean; see `monte_carlo_kl`.

    Returns:
        `[B]`, in nats.

    Raises:
        NotImplementedError: if `exact=True` and TFP has no closed form for the pair.
        ValueError: if `q` has no batch dimension.

    Example:
        >>> q = tfd.MultivariateNormalDiag(tf.ones([3, 2]), tf.ones([3, 2]))
        >>> prior = tfd.MultivariateNormalDiag(tf.zeros(2), tf.ones(2))
        >>> kl_divergence(q, prior).numpy().tolist()
        [1.0, 1.0, 1.0]
    """
    if exact is not False:
        try:
            return per_example(tfd.kl_divergence(plain(q), plain(prior)))
        except NotImplementedError as error:
            if exact is True:
                raise NotImplementedError(
                    f"TFP has no closed form of the divergence between {type(q).__name__} and "
                    f"{type(prior).__name__}: use exact='auto' or exact=False. Received: exact=True"
                ) from error
    own_draw = num_samples == 1 and value_is_draw(q)
    z = tf.convert_to_tensor(q) if own_draw else plain(q).sample(num_samples, seed=seed)
    return monte_carlo_kl(q, prior, z, reduce_axis)
