"""The likelihoods beyond TFP's layers: against SciPy, their total probability, their support."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tensorflow_probability import distributions as tfd

from tfvae import layers

RNG = np.random.default_rng(5)
B, EVENT = 3, (2, 2)


def softplus(x):
    return np.logaddexp(0.0, np.float64(x))


def scale(raw):
    return 1e-5 + softplus(raw)


def concentration(raw):
    return 1e-3 + softplus(raw) / (1 + softplus(raw) / 1e4)


def continuous_bernoulli(x, logits):
    """Loaiza-Ganem and Cunningham (2019), equation 7, for logits other than 0."""
    return x * logits - np.log(np.expm1(logits) / logits)


def negative_binomial(x, raw_mean, raw_count):
    mean, count = scale(raw_mean), concentration(raw_count)
    return stats.nbinom.logpmf(x, count, count / (count + mean))


def zero_inflated(x, raw_mean, raw_count, logits):
    kept = -np.logaddexp(0.0, logits) + negative_binomial(x, raw_mean, raw_count)
    return np.where(x == 0, np.logaddexp(-np.logaddexp(0.0, -logits), kept), kept)


def categorical(x, *logits):
    normalised = np.stack(logits) - np.logaddexp.reduce(logits)
    return np.take_along_axis(normalised, x[None].astype(int), axis=0)[0]


def rounded_logistic(x, loc, log_scale):
    """Salimans et al. (2017), equation 2, for data in [-1, 1]."""
    bounded = -np.logaddexp(-np.logaddexp(np.float64(log_scale), -7), -7)
    variable = stats.logistic(loc, np.exp(bounded))
    y = 2 * np.float64(x) - 1
    low = np.where(x < 0.001, -np.inf, y - 1 / 255)
    high = np.where(x > 0.999, np.inf, y + 1 / 255)
    # From the tail that is smaller, where the difference keeps its digits.
    above = variable.sf(low) - variable.sf(high)
    return np.log(np.where(y > loc, above, variable.cdf(high) - variable.cdf(low)))


def mixture_of_rounded(x, *parameters):
    logits, locs, log_scales = np.split(np.stack(parameters), 3)
    weights = logits - np.logaddexp.reduce(logits)
    parts = [
        w + rounded_logistic(x, m, s) for w, m, s in zip(weights, locs, log_scales, strict=True)
    ]
    return np.logaddexp.reduce(parts)


COUNTS = np.arange(0.0, 400.0)
LEVELS = np.arange(256) / 255
LINE = np.linspace(-400.0, 400.0, 800_001)
# Dense where a density with a small concentration is steep.
POSITIVE = np.logspace(-12, 4, 400_001)
UNIT = stats.logistic.cdf(np.linspace(-60.0, 34.0, 400_001))

# Name: how a layer is made, parameters an element, log-density, points of the support, whether it
# is continuous, the support, and values outside of it.
FAMILIES = {
    "IndependentLogistic": (
        layers.IndependentLogistic, 2,
        lambda x, m, s: stats.logistic.logpdf(x, m, scale(s)), LINE, True, None, (),
    ),
    "IndependentLaplace": (
        layers.IndependentLaplace, 2,
        lambda x, m, s: stats.laplace.logpdf(x, m, scale(s)), LINE, True, None, (),
    ),
    "IndependentStudentT": (
        layers.IndependentStudentT, 3,
        lambda x, d, m, s: stats.t.logpdf(x, 2 + concentration(d), m, scale(s)),
        LINE, True, None, (),
    ),
    "IndependentGamma": (
        layers.IndependentGamma, 2,
        lambda x, a, b: stats.gamma.logpdf(x, concentration(a), scale=1 / scale(b)),
        POSITIVE, True, (0.0, math.inf), (-0.5,),
    ),
    "IndependentBeta": (
        layers.IndependentBeta, 2,
        lambda x, a, b: stats.beta.logpdf(x, concentration(a), concentration(b)),
        UNIT, True, (0.0, 1.0), (-0.5, 1.5),
    ),
    "IndependentContinuousBernoulli": (
        layers.IndependentContinuousBernoulli, 1, continuous_bernoulli,
        np.linspace(0.0, 1.0, 20_001), True, (0.0, 1.0), (-0.5, 1.5),
    ),
    "IndependentPoisson": (
        layers.IndependentPoisson, 1, lambda x, r: stats.poisson.logpmf(x, np.exp(np.float64(r))),
        COUNTS, False, (0.0, math.inf), (-1.0, 0.5),
    ),
    "IndependentNegativeBinomial": (
        layers.IndependentNegativeBinomial, 2, negative_binomial,
        COUNTS, False, (0.0, math.inf), (-1.0, 0.5),
    ),
    "IndependentZeroInflatedNegativeBinomial": (
        layers.IndependentZeroInflatedNegativeBinomial, 3, zero_inflated,
        COUNTS, False, (0.0, math.inf), (-1.0, 0.5),
    ),
    "DiscretizedLogistic": (
        layers.DiscretizedLogistic, 2,
        rounded_logistic, LEVELS, False, (0.0, 1.0), (-1.0, 0.3, 2.0),
    ),
    "MixtureDiscretizedLogistic": (
        lambda event, **options: layers.MixtureDiscretizedLogistic(3, event, **options), 9,
        mixture_of_rounded, LEVELS, False, (0.0, 1.0), (-1.0, 0.3, 2.0),
    ),
}  # fmt: skip


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param]


def parameters(count, batch=B, event=EVENT):
    return RNG.normal(size=(batch, count, *event)).astype("f")


def flat(params):
    return params.reshape(len(params), -1)


def test_log_prob_is_scipys(family):
    make, count, log_density, points, *_ = family
    params = parameters(count)
    middle = points[np.abs(points) < 20]
    x = RNG.choice(middle, size=(B, *EVENT)).astype("f")
    p = make(EVENT)(flat(params))
    expected = log_density(x, *np.moveaxis(params, 1, 0)).sum((1, 2))
    np.testing.assert_allclose(p.log_prob(x), expected, rtol=2e-4, atol=2e-4)
    assert p.event_shape == EVENT
    assert p.batch_shape == (B,)


def test_total_probability_mean_and_spread(family):
    make, count, _, points, continuous, *_ = family
    p = make((), dtype="float64")(np.float64(flat(parameters(count, event=()))))
    prob = p.prob(points[:, None]).numpy()

    def total(values):
        return np.trapezoid(values, points, axis=0) if continuous else values.sum(axis=0)

    np.testing.assert_allclose(total(prob), 1.0, atol=1e-4)
    mean = total(prob * points[:, None])
    np.testing.assert_allclose(p.mean(), mean, rtol=2e-3, atol=2e-3)
    # The tails of a Student's t with 2.5 degrees of freedom hold more variance than the grid does.
    if not isinstance(p.distribution, tfd.StudentT):
        variance = total(prob * np.square(points[:, None] - mean))
        np.testing.assert_allclose(p.variance(), variance, rtol=2e-3, atol=1e-6)


def test_draws_have_the_moments_and_the_support(family):
    make, count, *_, support, _ = family
    p = make(())(flat(parameters(count, event=())))
    draws = p.sample(4000, seed=(1, 2)).numpy()
    error = 5 * p.stddev().numpy() / math.sqrt(4000)
    # A fifth standard error is passed once in a million draws of a normal.
    if not isinstance(p.distribution, tfd.StudentT):
        np.testing.assert_array_less(np.abs(draws.mean(0) - p.mean().numpy()), error)
    assert np.isfinite(draws).all()
    if support is not None:
        assert support[0] <= draws.min()
        assert draws.max() <= support[1]


@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_extreme_parameters_leave_finite_gradients(family, extreme):
    make, count, _, points, *_ = family
    inside = points[len(points) // 2]
    params = tf.fill([1, count], extreme)
    with tf.GradientTape() as tape:
        tape.watch(params)
        log_prob = make(())(params).log_prob(tf.constant([inside], tf.float32))
    assert np.isfinite(log_prob).all()
    assert np.isfinite(tape.gradient(log_prob, params)).all()


def test_support(family):
    make, count, _, points, _, support, outside = family
    layer = make((), validate_args=True)
    assert layer.support == support
    p = layer(tf.zeros([1, count]))
    # In the middle of a grid of a positive or a bounded variable, none of them on its border.
    assert np.isfinite(p.log_prob([np.float32(points[len(points) // 2])])).all()
    for value in outside:
        with pytest.raises(tf.errors.InvalidArgumentError):
            p.log_prob([np.float32(value)])


def test_without_checks_data_outside_raises_nothing(family):
    make, count, *_, outside = family
    p = make(())(tf.zeros([1, count]))
    for value in outside:
        assert p.log_prob([np.float32(value)]).shape == (1,)


@pytest.mark.parametrize("name", ["IndependentPoisson", "IndependentNegativeBinomial"])
def test_counts_convert_to_their_mean(name):
    params = flat(parameters(getattr(layers, name).params_per_element))
    layer = getattr(layers, name)(EVENT)
    p = layer(params)
    np.testing.assert_array_equal(tf.convert_to_tensor(p), p.mean())
    drawn = getattr(layers, name)(EVENT, convert_to_tensor_fn="sample", seed=1)(params)
    counts = tf.convert_to_tensor(drawn).numpy()
    np.testing.assert_array_equal(counts, counts.round())


# ---- categories ---------------------------------------------------------------------------------


def test_categories_side_by_side():
    logits = RNG.normal(size=(B, *EVENT, 5)).astype("f")
    x = RNG.integers(0, 5, (B, *EVENT))
    layer = layers.IndependentCategorical(5, EVENT)
    p = layer(flat(logits))
    expected = categorical(x, *np.moveaxis(np.float64(logits), -1, 0)).sum((1, 2))
    np.testing.assert_allclose(p.log_prob(x.astype("f")), expected, rtol=1e-5)
    np.testing.assert_array_equal(p.mode(), logits.argmax(-1))
    total = sum(p.distribution.prob(np.float32(k)) for k in range(5))
    np.testing.assert_allclose(total, 1.0, rtol=1e-6)
    assert layer.support == (0.0, 4.0)
    assert layers.IndependentCategorical.params_size(5, EVENT) == 20
    assert p.dtype == tf.float32


@pytest.mark.parametrize("value", [-1.0, 0.5, 5.0])
def test_categories_outside_are_refused(value):
    p = layers.IndependentCategorical(5, validate_args=True)(tf.zeros([1, 5]))
    assert p.prob([4.0]).numpy().tolist() == [pytest.approx(0.2)]
    with pytest.raises(tf.errors.InvalidArgumentError, match="categories"):
        p.log_prob([value])


def test_one_hot_is_checked():
    p = layers.OneHotCategorical(3, validate_args=True)(tf.zeros([1, 3]))
    np.testing.assert_allclose(p.prob([[0.0, 1.0, 0.0]]), [1 / 3], rtol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError):
        p.log_prob([[1.0, 1.0, 0.0]])


def test_one_hot_mixture_sums_to_one():
    params = RNG.normal(size=(B, 10)).astype("f")
    p = layers.CategoricalMixtureOfOneHotCategorical(4, 2)(params)
    prob = p.prob(np.eye(4, dtype="f")[:, None])
    np.testing.assert_allclose(tf.reduce_sum(prob, axis=0), 1.0, rtol=1e-6)
    np.testing.assert_allclose(tf.transpose(prob), p.mean(), rtol=1e-5)
    np.testing.assert_allclose(tf.exp(p.log_mean()), p.mean(), rtol=1e-5)


# ---- what is said to the user -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.IndependentCategorical(1), "`num_categories` .* at least 2. Received: 1"),
        (lambda: layers.OneHotCategorical(0), "`event_size` .* Received: 0"),
        (lambda: layers.MixtureDiscretizedLogistic(0), "`num_components` .* Received: 0"),
        (lambda: layers.IndependentGamma(2)(tf.zeros([3, 5])), r"size 4.* Received: .*\(3, 5\)"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- a model of each ----------------------------------------------------------------------------


def test_a_model_is_saved_and_loaded(family, tmp_path):
    make, count, _, points, *_ = family
    head = make(EVENT)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4 * count), head])
    inputs = RNG.normal(size=(B, 3)).astype("f")
    y = np.full((B, *EVENT), points[len(points) // 2], "f")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    # The first draw of the loaded model is the one that the saved model would have made next.
    p, q = loaded(inputs), model(inputs)
    np.testing.assert_allclose(p.log_prob(y), q.log_prob(y), rtol=1e-6)
    np.testing.assert_array_equal(p, q)
