"""Draws by rows: the right distributions, and a row's draw is the row's own."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfvae import random
from tfvae.distributions.discretized_logistic import DiscretizedLogistic
from tfvae.distributions.low_rank_normal import MultivariateNormalLowRank
from tfvae.export.draws import draw

TRIL = np.float32([[1.0, 0.0], [0.8, 0.5]])
LOGITS = np.float32([0.3, -1.0, 1.2])


def each(n, value):
    """The same parameter for each of n rows."""
    return np.repeat(np.float32(value)[None], n, axis=0)


# A distribution of n equal rows.
FAMILIES = {
    "normal": lambda n: tfd.Normal(each(n, [0.5, -2.0]), each(n, [1.0, 3.0])),
    "independent": lambda n: tfd.Independent(tfd.Normal(each(n, [0.5, -2.0]), 1.0), 1),
    "diagonal": lambda n: tfd.MultivariateNormalDiag(each(n, [1.0, -1.0]), each(n, [0.5, 2.0])),
    "triangular": lambda n: tfd.MultivariateNormalTriL(each(n, [1.0, -1.0]), each(n, TRIL)),
    "low rank": lambda n: MultivariateNormalLowRank(
        each(n, [1.0, -1.0]), each(n, [0.5, 1.5]), each(n, [[1.0], [0.7]])
    ),
    "bernoulli": lambda n: tfd.Bernoulli(logits=each(n, [-1.0, 2.0]), dtype=tf.float32),
    "categorical": lambda n: tfd.Categorical(logits=each(n, LOGITS)),
    "one-hot": lambda n: tfd.OneHotCategorical(logits=each(n, LOGITS)),
    "laplace": lambda n: tfd.Laplace(each(n, [0.0, 3.0]), each(n, [1.0, 0.2])),
    "logistic": lambda n: tfd.Logistic(each(n, [0.0, 3.0]), each(n, [1.0, 0.2])),
    "levels": lambda n: DiscretizedLogistic(each(n, [0.2, 0.9]), each(n, [0.3, 0.1]), num_levels=8),
    "quantized": lambda n: tfd.QuantizedDistribution(
        tfd.Logistic(each(n, [1.0, 3.0]), 1.5), 0.0, 4.0
    ),
    "mixture": lambda n: tfd.MixtureSameFamily(
        tfd.Categorical(logits=each(n, LOGITS)),
        tfd.Normal(each(n, [-3.0, 0.0, 4.0]), each(n, [0.1, 1.0, 0.5])),
    ),
    "vector mixture": lambda n: tfd.MixtureSameFamily(
        tfd.Categorical(logits=each(n, LOGITS[:2])),
        tfd.MultivariateNormalDiag(
            each(n, [[0.0, 5.0], [1.0, -5.0]]), each(n, [[1.0, 1.0], [2.0, 0.1]])
        ),
    ),
    "flow": lambda n: tfd.TransformedDistribution(
        tfd.MultivariateNormalDiag(each(n, [1.0, -1.0]), each(n, [0.5, 2.0])), tfb.Shift(10.0)
    ),
}
NUM_ROWS, NUM_DRAWS = 40, 500


def values_of(name, stream=5):
    """20,000 draws, `[S * N, ...]`."""
    drawn = draw(FAMILIES[name](NUM_ROWS), random.seeds(11, NUM_ROWS), NUM_DRAWS, stream).numpy()
    return drawn.reshape(NUM_ROWS * NUM_DRAWS, *drawn.shape[2:])


@pytest.mark.parametrize("name", FAMILIES)
def test_moments_are_those_of_the_distribution(name):
    values, oracle = values_of(name), FAMILIES[name](1)
    try:
        mean, stddev = oracle.mean()[0].numpy(), oracle.stddev()[0].numpy()
    except NotImplementedError:
        # Categories and levels: TFP's own sampler is the oracle.
        sample = oracle.sample(200_000, seed=(1, 2)).numpy()[:, 0]
        mean, stddev = sample.mean(axis=0), sample.std(axis=0)
    # Five standard errors of the mean; of the standard deviation for tails as Laplace's.
    error = stddev / np.sqrt(len(values))
    np.testing.assert_array_less(np.abs(values.mean(axis=0) - mean), 5 * error + 1e-3)
    np.testing.assert_allclose(values.std(axis=0), stddev, rtol=0.06, atol=1e-3)


@pytest.mark.parametrize("name", ["normal", "laplace", "logistic", "mixture"])
def test_distribution_functions_agree(name):
    values = values_of(name)
    uniform = FAMILIES[name](1).cdf(values[:, None]).numpy().reshape(len(values), -1)
    for column in uniform.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("name", ["triangular", "low rank"])
def test_draws_are_correlated_as_the_factor_says(name):
    expected = FAMILIES[name](1).covariance()[0]
    # Five standard errors of a covariance, sqrt((a b + c^2) / n) with variances up to 5.
    np.testing.assert_allclose(np.cov(values_of(name).T), expected, atol=0.2)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_row_does_not_depend_on_its_batch(name):
    seeds = random.seeds(3, 4)
    together = draw(FAMILIES[name](4), seeds, 6)
    alone = draw(FAMILIES[name](1), seeds[2:3], 6)
    # The bits of the noise are equal; Eigen rounds the end of a tensor differently.
    np.testing.assert_allclose(together[:, 2], alone[:, 0], rtol=1e-6, atol=1e-6)


def test_streams_are_independent():
    first, second = (values_of("normal", stream) for stream in (0, 1))
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    correlation = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    assert abs(correlation) < 5 / np.sqrt(first.size)


def test_a_mixture_takes_a_stream_for_the_choice_and_one_for_the_components():
    seeds = random.seeds(11, 1)
    choice = random.uniform(seeds, 3, stream=5).numpy()[0]
    components = random.normal(seeds, 3, stream=6).numpy()[0]
    chosen = np.argmax(LOGITS - np.log(-np.log(choice)))
    expected = ([-3.0, 0.0, 4.0] + np.float32([0.1, 1.0, 0.5]) * components)[chosen]
    found = draw(FAMILIES["mixture"](1), seeds, stream=5)
    np.testing.assert_allclose(found[0, 0], expected, rtol=1e-6)


def test_refuses_a_family_without_a_rule_by_name():
    poisson = tfd.Independent(tfd.Poisson([[3.0]]), 1)
    with pytest.raises(NotImplementedError, match="no draw by rows from a Poisson"):
        draw(poisson, random.seeds(0, 1))
