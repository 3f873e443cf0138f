"""How much the code says of the data: the rate, taken apart by the aggregate posterior.

    E_x KL(q(z|x) || p(z)) = I_q(x; z) + KL(q(z) || p(z)),      q(z) = (1/N) sum_n q(z|x_n).

For the N examples themselves, drawn with equal probability, both sides are equal, and the mutual
information is at most log N: which of the examples it was is all there is to know. As an estimate
for the distribution that the examples come from it is therefore too low, in expectation, and near
log N it says no more than that the information is at least that.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions import plain
from tfvae.layers.seeded import unchanged_draws
from tfvae.metrics.posteriors import (
    BATCH_SIZE,
    Posteriors,
    read_posteriors,
    require_posterior,
    sum_of_parts,
)
from tfvae.metrics.rate_distortion import rate
from tfvae.models.examples import as_batch

# Numbers in a chunk of pairs of codes and examples: 8 MiB, and a few times that for its densities.
_NUMBERS_AT_ONCE = 2**21


def mutual_information(
    model: Any, x: Any, num_samples: int = 1, seed: int = 0, batch_size: int = BATCH_SIZE
) -> float:
    """The information between data and code, I_q(x; z) = E_x KL(q(z|x) || q(z)), estimated by

        (1/N) sum_i [log q(z_i|x_i) - log (1/N) sum_n q(z_i|x_n)],      z_i ~ q(z|x_i).

    For the N examples it is unbiased and at most log N. For the distribution that they come from
    its expectation is a lower bound, the nearer the further it is below log N: take more examples
    where it is close. All N^2 pairs are evaluated, in chunks.

    Args:
        model: a built `tfvae.VAE`, with any posterior that has a density.
        x: data `[N, *data_shape]`.
        num_samples: number of draws for each example.
        seed: fixes the draws.
        batch_size: how many examples are held at a time.

    Returns:
        The estimate, in nats.

    Raises:
        TypeError: if the model has no posterior.
        ValueError: if the data does not fit the model.

    Example:
        >>> from tfvae.models import VAE
        >>> vae = VAE.for_images((4,), latent_dim=2, hidden=(4,))
        >>> x = np.random.default_rng(0).random((50, 4), "float32")
        >>> bool(0.0 <= mutual_information(vae, x, num_samples=20) <= np.log(50))
        True

    Reference:
        Hoffman and Johnson (2016), ELBO Surgery: Yet Another Way to Carve up the Variational
        Evidence Lower Bound, NIPS Workshop on Advances in Approximate Bayesian Inference.
        Poole, Ozair, van den Oord, Alemi and Tucker (2019), On Variational Bounds of Mutual
        Information, arXiv:1905.06922, for the bound.
    """
    require_posterior(model)
    posteriors = read_posteriors(model, x, num_samples, seed, batch_size)
    return mutual_information_of(model, x, posteriors, batch_size)


def mutual_information_of(model: Any, x: Any, posteriors: Posteriors, batch_size: int) -> float:
    """As `mutual_information`, with the draws of a pass that is done."""
    z = posteriors.z.reshape(-1, *model.latent_shape)
    log_q_z = log_aggregate_posterior(model, x, z, batch_size)
    return float(np.mean(posteriors.log_prob.ravel() - log_q_z))


def log_aggregate_posterior(
    model: Any, x: Any, z: np.ndarray, batch_size: int = BATCH_SIZE
) -> np.ndarray:
    """The density of codes under the mixture of posteriors, log (1/N) sum_n q(z|x_n).

    Args:
        model: as for `mutual_information`.
        x: data `[N, *data_shape]`.
        z: codes `[M, *latent_shape]`.
        batch_size: how many examples are held at a time.

    Returns:
        float64 `[M]`, in nats.
    """
    x, _ = as_batch(model, x)
    size = math.prod(model.latent_shape) * min(batch_size, len(x))
    with unchanged_draws(model):
        q = plain(model.encode(x[:1]))
    if not isinstance(q, tfd.MultivariateNormalDiag):
        # A flow may hold a matrix for each pair.
        size *= math.prod(model.latent_shape)
    rows = max(1, min(len(z), _NUMBERS_AT_ONCE // size))
    number = -(-len(z) // rows)
    # The last chunk is filled up with codes that are there already.
    chunks = np.resize(z, (number, rows, *z.shape[1:]))

    def log_sums(batch: tf.Tensor, chunks: tf.Tensor) -> tf.Tensor:
        q = plain(model.encode(batch))
        shape = tf.concat([tf.shape(chunks)[1:2], tf.shape(batch)[:1], chunks.shape[2:]], axis=0)

        def log_sum(z: tf.Tensor) -> tf.Tensor:
            # log q(z_i|x_n) at [i, n]
            log_prob = sum_of_parts(q.log_prob(tf.broadcast_to(z[:, tf.newaxis], shape)))
            return tf.reduce_logsumexp(log_prob, axis=1)

        # One after another: each is as large as the memory for it.
        return tf.map_fn(log_sum, chunks, parallel_iterations=1)

    compiled = model._compiled("log_aggregate_posterior", log_sums)
    total = np.full(number * rows, -np.inf)
    with unchanged_draws(model):
        for start in range(0, len(x), batch_size):
            batch = tf.convert_to_tensor(x[start : start + batch_size])
            part = compiled(batch, tf.constant(chunks)).numpy().astype(np.float64)
            total = np.logaddexp(total, part.ravel())
    return total[: len(z)] - math.log(len(x))


def marginal_kl(
    model: Any, x: Any, num_samples: int = 1, seed: int = 0, batch_size: int = BATCH_SIZE
) -> float:
    """How far the codes of all data are from the prior, KL(q(z) || p(z)) = R - I_q(x; z).

    Where it is large, `sample` decodes codes that the decoder was not trained on. It is too high by
    what `mutual_information` is too low.

    Args:
        model: as for `mutual_information`.
        x: as for `mutual_information`.
        num_samples: as for `mutual_information`.
        seed: fixes the draws.
        batch_size: as for `mutual_information`.

    Returns:
        The estimate, in nats; near zero its error can make it negative.

    Raises:
        TypeError: if the model has no posterior.
        ValueError: if the data does not fit the model.

    Reference:
        Hoffman and Johnson (2016), as for `mutual_information`.
    """
    information = mutual_information(model, x, num_samples, seed, batch_size)
    return rate(model, x, num_samples, seed, batch_size) - information
