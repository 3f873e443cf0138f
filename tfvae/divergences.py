"""Kullback-Leibler divergences, one number in nats for each example of the batch."""

from __future__ import annotations

from typing import Any

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


def kl_divergence(
    q: tfd.Distribution,
    prior: tfd.Distribution,
    *,
    exact: bool | str = "auto",
    num_samples: int = 1,
    seed: Any = None,
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
    log_ratio = plain(q).log_prob(z) - plain(prior).log_prob(z)
    single_draw = own_draw and z.shape.rank == q.batch_shape.rank + q.event_shape.rank
    return per_example(log_ratio, reduce_draws=not single_draw)
