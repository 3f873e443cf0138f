"""Draws from a distribution whose every row has a seed of its own.

TFP draws a batch from one seed, so a row's draw depends on its place in the batch, and none of
TensorFlow's random ops has a TFLite builtin. Here the noise comes from `tfvae.random` and each
family says how it turns noise into a draw. What has neither a rule nor a quantile function is
refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae import random
from tfvae.distributions import plain
from tfvae.distributions.central import TRANSFORMED
from tfvae.distributions.discretized_logistic import DiscretizedLogistic

# A prior draws its code from the first streams of a seed; the other draws that the same seed
# stands for must not repeat that noise.
POSTERIOR_STREAM = 2**16
LIKELIHOOD_STREAM = 2**17

# TFP makes an instance of the base class where a part cannot cross the border of a function.
INDEPENDENT, MIXTURE, QUANTIZED = (
    family.__mro__[1]
    for family in (
        tfd.Independent,
        tfd.MixtureSameFamily,
        tfd.QuantizedDistribution,
    )
)


class Noise:
    """Random numbers for `num_draws` draws of every row, in a new stream at each request.

    Args:
        row_seeds: int32 `[N, 2]`, a seed for each row.
        num_draws: draws `S` of each row.
        stream: the first of the seeds' streams to use.
    """

    def __init__(self, row_seeds: Any, num_draws: int, stream: int) -> None:
        self._row_seeds, self._num_draws, self._stream = row_seeds, num_draws, stream

    def uniform(self, shape: Sequence[int]) -> tf.Tensor:
        """Numbers in the open interval (0, 1), `[S, N, *shape]`."""
        return self._next(random.uniform, shape)

    def normal(self, shape: Sequence[int]) -> tf.Tensor:
        """Standard normal numbers, `[S, N, *shape]`."""
        return self._next(random.normal, shape)

    def _next(self, generator: Callable, shape: Sequence[int]) -> tf.Tensor:
        columns = generator(self._row_seeds, self._num_draws * math.prod(shape), self._stream)
        self._stream += 1
        if self._num_draws == 1:
            return tf.reshape(columns, [-1, *shape])[None]
        rows = tf.reshape(columns, [-1, self._num_draws, *shape])
        return tf.transpose(rows, [1, 0, *range(2, 2 + len(shape))])


def draw(
    distribution: tfd.Distribution, row_seeds: Any, num_draws: int = 1, stream: int = 0
) -> tf.Tensor:
    """Draws from a distribution of `N` rows, each row from its own seed.

    Args:
        distribution: a distribution with batch shape `[N, ...]`, all but `N` known.
        row_seeds: int32 `[N, 2]`, a seed for each row.
        num_draws: draws `S` of each row.
        stream: the first of the seeds' streams to use.

    Returns:
        `[S, N, ...]`, of the distribution's dtype.

    Raises:
        NotImplementedError: if the distribution's family has no rule here.

    Example:
        >>> q = tfd.MultivariateNormalDiag(tf.zeros([3, 2]), tf.ones([3, 2]))
        >>> seeds = random.seeds(0, 3)
        >>> together, alone = draw(q, seeds, 4), draw(q[1:2], seeds[1:2], 4)
        >>> together.shape.as_list(), bool(tf.reduce_all(together[:, 1] == alone[:, 0]))
        ([4, 3, 2], True)
    """
    return _draw(plain(distribution), Noise(row_seeds, num_draws, stream))


@singledispatch
def _draw(distribution: tfd.Distribution, noise: Noise) -> tf.Tensor:
    if distribution.event_shape.rank == 0:
        try:
            return distribution.quantile(noise.uniform(_row_shape(distribution)))
        except NotImplementedError:
            pass
    raise NotImplementedError(f"there is no draw by rows from a {type(distribution).__name__}")


def _row_shape(distribution: tfd.Distribution) -> list[int]:
    """The batch shape of one row."""
    return distribution.batch_shape[1:].as_list()


@_draw.register(INDEPENDENT)
def _(distribution: tfd.Independent, noise: Noise) -> tf.Tensor:
    return _draw(distribution.distribution, noise)


@_draw.register
def _(distribution: tfd.Normal, noise: Noise) -> tf.Tensor:
    return distribution.loc + distribution.scale * noise.normal(_row_shape(distribution))


@_draw.register
def _(distribution: tfd.MultivariateNormalLinearOperator, noise: Noise) -> tf.Tensor:
    # The base of the diagonal, the triangular and the low-rank normal.
    shape = [*_row_shape(distribution), *distribution.event_shape]
    return distribution.loc + distribution.scale.matvec(noise.normal(shape))


@_draw.register
def _(distribution: tfd.MultivariateNormalDiagPlusLowRankCovariance, noise: Noise) -> tf.Tensor:
    parameters, rows = distribution.parameters, _row_shape(distribution)
    diag = distribution.cov_operator.base_operator.diag_part()
    factor = distribution.cov_operator.u
    own = tf.sqrt(diag) * noise.normal([*rows, diag.shape[-1]])
    shared = tf.linalg.matvec(factor, noise.normal([*rows, factor.shape[-1]]))
    return parameters["loc"] + own + shared


@_draw.register
def _(distribution: tfd.Bernoulli, noise: Noise) -> tf.Tensor:
    below = noise.uniform(_row_shape(distribution)) < distribution.probs_parameter()
    return tf.cast(below, distribution.dtype)


@_draw.register
def _(distribution: tfd.Categorical, noise: Noise) -> tf.Tensor:
    return tf.cast(_winner(distribution.logits_parameter(), noise), distribution.dtype)


@_draw.register
def _(distribution: tfd.OneHotCategorical, noise: Noise) -> tf.Tensor:
    logits = distribution.logits_parameter()
    return tf.one_hot(_winner(logits, noise), logits.shape[-1], dtype=distribution.dtype)


def _winner(logits: tf.Tensor, noise: Noise) -> tf.Tensor:
    """The class that wins with Gumbel noise added: a draw from the categorical distribution."""
    gumbel = -tf.math.log(-tf.math.log(noise.uniform(logits.shape[1:].as_list())))
    return tf.argmax(logits + gumbel, axis=-1, output_type=tf.int32)


@_draw.register(MIXTURE)
def _(distribution: tfd.MixtureSameFamily, noise: Noise) -> tf.Tensor:
    logits = distribution.mixture_distribution.logits_parameter()
    chosen = tf.one_hot(_winner(logits, noise), logits.shape[-1])
    candidates = _draw(distribution.components_distribution, noise)
    event_rank = distribution.event_shape.rank
    chosen = tf.reshape(chosen, tf.concat([tf.shape(chosen), [1] * event_rank], axis=0))
    return tf.reduce_sum(tf.cast(chosen, candidates.dtype) * candidates, axis=-1 - event_rank)


@_draw.register(TRANSFORMED)
def _(distribution: tfd.TransformedDistribution, noise: Noise) -> tf.Tensor:
    return distribution.bijector.forward(_draw(plain(distribution.distribution), noise))


@_draw.register
def _(distribution: DiscretizedLogistic, noise: Noise) -> tf.Tensor:
    smooth = _draw(tfd.Logistic(distribution.loc, distribution.scale), noise)
    steps = distribution.num_levels - 1
    return tf.round(tf.clip_by_value(smooth, 0.0, 1.0) * steps) / steps


@_draw.register(QUANTIZED)
def _(distribution: tfd.QuantizedDistribution, noise: Noise) -> tf.Tensor:
    value = tf.math.ceil(_draw(distribution.distribution, noise))
    if distribution.high is not None:
        value = tf.minimum(value, distribution.high)
    return value if distribution.low is None else tf.maximum(value, distribution.low)
