"""One pass of the encoder over data: what the measures of a latent need of each posterior."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae import random
from tfvae.data.checks import check_integer
from tfvae.distributions import as_tensor_like, plain
from tfvae.distributions.elements import elements
from tfvae.layers.seeded import unchanged_draws
from tfvae.models.examples import as_batch
from tfvae.regularizers.measures import element_kl, flatten

BATCH_SIZE = 128
# Where a posterior has no mean in closed form, as flows have none, this many draws give it.
_DRAWS_OF_A_MEAN = 256


class Posteriors(NamedTuple):
    """What an encoder says of N examples; the last three are `None` for an autoencoder.

    Attributes:
        mean: of q(z|x), or an autoencoder's codes, float64 `[N, D]`.
        mean_error: the variance of the mean's own error, `[N, D]`: zero in closed form.
        z: draws, `[S, N, *latent_shape]`.
        log_prob: log q(z|x) at them, `[S, N]`.
        kl: KL(q(z_j|x) || p(z_j)), `[N, D]`; `None` as well unless both have independent
            dimensions.
    """

    mean: np.ndarray
    mean_error: np.ndarray
    z: Any = None
    log_prob: Any = None
    kl: Any = None


# The axis of the examples in each of them.
_AXES = {"z": 1, "log_prob": 1}


def read_posteriors(
    model: Any, x: Any, num_samples: int = 1, seed: int = 0, batch_size: int = BATCH_SIZE
) -> Posteriors:
    """Encodes data and says what there is to say of the posteriors.

    Args:
        model: a built model of tfvae.
        x: data `[N, *data_shape]`.
        num_samples: number of draws `S`.
        seed: fixes the draws.
        batch_size: how many examples are held at a time.

    Raises:
        TypeError: if the model is none of tfvae.
        ValueError: if the data does not fit it, or `num_samples` is below 1.
    """
    x, _ = as_batch(model, x)
    num_samples = check_integer(num_samples, "num_samples", 1)

    def read(batch: tf.Tensor, key: tf.Tensor) -> dict[str, tf.Tensor]:
        q = model.encode(batch)
        if not isinstance(q, tfd.Distribution):
            codes = flatten(q, leading=1)
            return {"mean": codes, "mean_error": tf.zeros_like(codes)}
        q = plain(q)
        z = q.sample(num_samples, seed=key)
        found = {"z": z, "log_prob": sum_of_parts(q.log_prob(z)), **_mean(q, key)}
        prior = model.prior.distribution()
        if is_factorised(q) and is_factorised(prior):
            found["kl"] = element_kl(as_tensor_like(q, z, is_draw=True), prior)
        return found

    compiled = model._compiled(("posteriors", num_samples), read)
    keys = random.seeds(seed, -(-len(x) // batch_size))
    with unchanged_draws(model):
        parts = [
            compiled(tf.convert_to_tensor(x[start : start + batch_size]), tf.constant(key))
            for start, key in zip(range(0, len(x), batch_size), keys, strict=True)
        ]
    joined = {
        name: np.concatenate([part[name].numpy() for part in parts], axis=_AXES.get(name, 0))
        for name in parts[0]
    }
    return Posteriors(
        **{name: v if name == "z" else v.astype(np.float64) for name, v in joined.items()}
    )


def require_posterior(model: Any) -> None:
    """Raises `TypeError` for a model that has no posterior and no bound, as an autoencoder."""
    if not hasattr(model, "elbo_terms"):
        raise TypeError(
            "This is measured of a posterior q(z|x) and a prior, which a `tfvae.VAE` has. "
            f"Received: {type(model).__name__}"
        )


def is_factorised(distribution: tfd.Distribution) -> bool:
    """Whether `elements` can take it apart."""
    try:
        elements(distribution)
    except ValueError:
        return False
    return True


def sum_of_parts(log_prob: tf.Tensor) -> tf.Tensor:
    """Adds what follows the first two axes: further batch dimensions are independent parts."""
    return tf.reduce_sum(log_prob, axis=list(range(2, log_prob.shape.rank)))


def _mean(q: tfd.Distribution, key: tf.Tensor) -> dict[str, tf.Tensor]:
    try:
        mean = flatten(q.mean(), leading=1)
        return {"mean": mean, "mean_error": tf.zeros_like(mean)}
    except NotImplementedError:
        own_key = tf.random.experimental.stateless_fold_in(key, 1)
        draws = flatten(q.sample(_DRAWS_OF_A_MEAN, seed=own_key), leading=2)
        error = tf.math.reduce_variance(draws, axis=0) / (_DRAWS_OF_A_MEAN - 1)
        return {"mean": tf.reduce_mean(draws, axis=0), "mean_error": error}
