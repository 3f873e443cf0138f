"""Every regulariser against its formula, written anew in NumPy and float64."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tensorflow_probability import distributions as tfd

import tfvae
from tfvae import VAE, layers, priors, schedules
from tfvae.distributions import as_tensor_like
from tfvae.regularizers import (
    DIP,
    Capacity,
    FreeBits,
    KLDivergenceRegularizer,
    MaximumMeanDiscrepancy,
    Sum,
    TotalCorrelation,
)

B, D, N = 5, 4, 50
RNG = np.random.default_rng(0)
LOC = RNG.normal(size=(B, D))
SCALE = np.exp(0.5 * RNG.normal(size=(B, D)))
KL = 0.5 * (SCALE**2 + LOC**2 - 1) - np.log(SCALE)


def posterior(draws=1, loc=LOC, scale=SCALE):
    """A layer's output with this mean and scale."""
    conversion = layers.Samples(draws) if draws > 1 else "sample"
    params = np.concatenate([loc, np.log(np.expm1(scale - 1e-5))], axis=-1).astype("f")
    return layers.MultivariateNormalDiag(D, conversion, seed=1)(params)


def normal(shape=D):
    return priors.StandardNormal(shape)


# ---- capacity ---------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [0.0, 3.0, 100.0])
def test_capacity_is_the_distance_of_the_divergence(capacity):
    q = posterior()
    found = Capacity(normal(), capacity, weight=2.0)(q)
    np.testing.assert_allclose(found, [2 * abs(KL.sum(1).mean() - capacity)] * B, rtol=1e-5)
    found = Capacity(normal(), capacity, weight=2.0, per_example=True)(q)
    np.testing.assert_allclose(found, 2 * np.abs(KL.sum(1) - capacity), rtol=1e-5)


def test_capacity_without_a_capacity_is_the_weighted_divergence():
    q = posterior()
    capacity, kl = Capacity(normal(), 0.0, weight=3.0)(q), KLDivergenceRegularizer(normal(), 3.0)(q)
    np.testing.assert_allclose(np.mean(capacity), np.mean(kl), rtol=1e-6)


# ---- free bits --------------------------------------------------------------------------------


@pytest.mark.parametrize("per_example", [False, True])
@pytest.mark.parametrize("groups", [None, 1, 2, 4])
def test_free_bits_are_free_for_each_group(groups, per_example):
    for nats in (0.0, 0.4, 1.0, 9.0):
        regularizer = FreeBits(normal(), nats, groups, weight=2.0, per_example=per_example)
        expected = np.zeros(B)
        for group in np.split(np.arange(D), groups or D):
            kl = KL[:, group].sum(1)
            expected += np.maximum(nats, kl if per_example else kl.mean())
        np.testing.assert_allclose(regularizer(posterior()), 2 * expected, rtol=1e-5)
        np.testing.assert_allclose(regularizer.terms(posterior())["kl"], KL.sum(1), rtol=1e-5)


def test_a_group_below_its_free_nats_has_no_gradient():
    means = KL.mean(0)
    nats = float(np.sort(means)[1:3].mean())
    loc = tf.Variable(LOC.astype("f"))
    with tf.GradientTape() as tape:
        q = tfd.MultivariateNormalDiag(loc, SCALE.astype("f"))
        cost = tf.reduce_mean(FreeBits(normal(), nats)(q))
    expected = LOC / B * (means > nats)
    np.testing.assert_allclose(tape.gradient(cost, loc), expected, rtol=1e-5, atol=1e-7)
    assert (means > nats).sum() == 2


def test_the_divergence_by_element_needs_independent_elements():
    dependent = layers.MultivariateNormalTriL(D)(tf.zeros((B, 14)))
    with pytest.raises(ValueError, match=r"distribution of independent dimensions.*Received"):
        FreeBits(normal())(dependent)
    # As one group any posterior will do.
    expected = tfd.kl_divergence(dependent, normal()())
    np.testing.assert_allclose(
        FreeBits(normal(), 0.0, groups=1)(dependent), [np.mean(expected)] * B, rtol=1e-5
    )


def test_elements_without_a_closed_form_are_estimated_from_the_draws():
    params = RNG.normal(size=(B, 2 * D)).astype("f")
    q = layers.IndependentLogistic(D, layers.Samples(3), seed=1)(params)
    z = np.float64(tf.convert_to_tensor(q))
    loc, scale = np.float64(q.distribution.loc), np.float64(q.distribution.scale)
    log_ratio = stats.logistic.logpdf(z, loc, scale) - stats.norm.logpdf(z)
    expected = np.maximum(0.1, log_ratio.mean(0).mean(0)).sum()
    np.testing.assert_allclose(FreeBits(normal(), 0.1)(q), [expected] * B, rtol=1e-4)


# ---- total correlation ------------------------------------------------------------------------


def brute_force_terms(q, weights):
    """The three terms, one sum after the other, for weights `[B, B]` of q(z)."""
    z = np.float64(tf.convert_to_tensor(q)).reshape(-1, B, D)
    terms = np.zeros((4, B))
    for draw in z:
        for m in range(B):
            density = [
                [stats.norm.pdf(draw[m, j], LOC[n, j], SCALE[n, j]) for j in range(D)]
                for n in range(B)
            ]
            own = np.prod(density[m])
            aggregate = sum(weights[m, n] * np.prod(density[n]) for n in range(B))
            product = np.prod(
                [sum(weights[m, n] * density[n][j] for n in range(B)) for j in range(D)]
            )
            prior = np.prod(stats.norm.pdf(draw[m]))
            ratios = own / prior, own / aggregate, aggregate / product, product / prior
            terms[:, m] += np.log(ratios) / len(z)
    return terms


def stratified_weights():
    """The appendix's weights, entry by entry: 1/N, one of (N-M)/(NM), and 1/M, for M = B - 1."""
    weights = np.full((B, B), 1 / (B - 1))
    for m in range(B):
        weights[m, m] = 1 / N
        weights[m, (m + 1) % B] = (N - (B - 1)) / (N * (B - 1))
    return weights


SHARES = {
    "weighted": np.full((B, B), 1 / (N * B)),
    "stratified": stratified_weights(),
}


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("estimator", SHARES)
def test_total_correlation_is_the_brute_force_sum(estimator, draws):
    regularizer = TotalCorrelation(normal(), N, beta=6, alpha=0.5, gamma=2, estimator=estimator)
    q = posterior(draws)
    expected = brute_force_terms(q, SHARES[estimator])
    terms = regularizer.terms(q)
    assert tuple(terms) == regularizer.term_names
    np.testing.assert_allclose(np.stack(list(terms.values())), expected, rtol=1e-4, atol=1e-4)
    total = 0.5 * expected[1] + 6 * expected[2] + 2 * expected[3]
    np.testing.assert_allclose(regularizer(q), total, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("estimator", SHARES)
def test_the_three_terms_add_up_to_the_divergence(estimator):
    q = posterior(3)
    found = TotalCorrelation(normal(), N, 1.0, estimator=estimator)(q)
    kl = KLDivergenceRegularizer(normal(), exact=False)(q)
    np.testing.assert_allclose(found, kl, rtol=1e-4, atol=1e-4)


def test_the_stratified_estimate_is_unbiased_over_the_order_of_the_batch():
    np.testing.assert_allclose(stratified_weights().sum(1), 1.0)
    # The batch is the whole data: the mean over what follows the first example is q(z) itself.
    regularizer = TotalCorrelation(normal(), B, estimator="stratified")
    z = np.float64(tf.convert_to_tensor(posterior()))
    densities = stats.norm.pdf(z[0], LOC, SCALE).prod(1)
    estimates = []
    for turn in range(B - 1):
        order = [0, *np.roll(np.arange(1, B), turn)]
        plain = tfd.MultivariateNormalDiag(*(v[order].astype("f") for v in (LOC, SCALE)))
        q = as_tensor_like(plain, z[order].astype("f"), is_draw=True)
        information = regularizer.terms(q)["mutual_information"][0]
        estimates.append(densities[0] / np.exp(information))
    assert np.std(estimates) > 0.01 * np.mean(estimates)
    np.testing.assert_allclose(np.mean(estimates), densities.mean(), rtol=1e-4)


def test_an_independent_aggregate_has_no_total_correlation_and_no_information():
    # All posteriors alike: q(z) = q(z|x).
    q = posterior(loc=np.ones((B, D)), scale=np.full((B, D), 0.5))
    terms = TotalCorrelation(normal(), N, estimator="stratified").terms(q)
    for name in ("mutual_information", "total_correlation"):
        np.testing.assert_allclose(terms[name], np.zeros(B), atol=1e-5)
    np.testing.assert_allclose(terms["dimension_kl"], terms["kl"], rtol=1e-5)


@pytest.mark.parametrize("estimator", SHARES)
def test_a_batch_of_one_is_finite(estimator):
    q = posterior(loc=LOC[:1], scale=SCALE[:1])
    terms = TotalCorrelation(normal(), N, estimator=estimator).terms(q)
    # What is known of q(z) is q(z|x) / N.
    np.testing.assert_allclose(terms["mutual_information"], [np.log(N)], rtol=1e-5)


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match=r"`dataset_size` is the number .*and a batch of 5"):
        TotalCorrelation(normal(), B - 1)(posterior())


# ---- maximum mean discrepancy -----------------------------------------------------------------


def kernel_value(kernel, scales, a, b):
    square = ((a - b) ** 2).sum()
    total = 0.0
    for scale in scales:
        c = 2 * D * scale
        total += c / (c + square) if kernel == "imq" else np.exp(-square / c)
    return total


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_the_discrepancy_is_the_sum_over_pairs(kernel, draws):
    scales = (0.5, 2.0)
    regularizer = MaximumMeanDiscrepancy(normal(), 3.0, kernel, scales, seed=5)
    q = posterior(draws)
    z = np.float64(tf.convert_to_tensor(q)).reshape(draws, B, D)
    y = np.float64(normal()().sample((draws, B), seed=tf.constant([5, 0])))
    expected = 0.0
    for s in range(draws):
        for i in range(B):
            for j in range(B):
                between = kernel_value(kernel, scales, z[s, i], y[s, j])
                expected -= 2 * between / B**2 / draws
                if i != j:
                    within = kernel_value(kernel, scales, z[s, i], z[s, j])
                    within += kernel_value(kernel, scales, y[s, i], y[s, j])
                    expected += within / (B * (B - 1)) / draws
    np.testing.assert_allclose(regularizer(q), [3 * expected] * B, rtol=1e-3, atol=1e-5)


def test_the_discrepancy_of_the_prior_from_itself_is_zero_in_expectation():
    # Seed 1, 500 batches of 20; four standard errors. One from elsewhere is far beyond the noise.
    regularizer = MaximumMeanDiscrepancy(normal(), 1.0, seed=1)

    @tf.function
    def estimates(loc):
        def one(seed):
            z = loc + tf.random.stateless_normal([20, D], tf.stack([7, seed]))
            plain = tfd.MultivariateNormalDiag(tf.zeros([20, D]))
            return regularizer(as_tensor_like(plain, z, is_draw=True))[0]

        return tf.map_fn(one, tf.range(500), fn_output_signature=tf.float32)

    same, moved = estimates(0.0).numpy(), estimates(0.5).numpy()
    error = same.std(ddof=1) / np.sqrt(500)
    assert abs(same.mean()) < 4 * error
    assert moved.mean() > 10 * error


def test_a_batch_of_one_costs_nothing():
    q = posterior(loc=LOC[:1], scale=SCALE[:1])
    np.testing.assert_array_equal(MaximumMeanDiscrepancy(normal())(q), [0.0])


# ---- disentangled inferred prior --------------------------------------------------------------


@pytest.mark.parametrize("kind", ["i", "ii"])
def test_dip_is_the_distance_of_the_covariance_from_the_identity(kind):
    covariance = np.cov(LOC.T, bias=True)
    if kind == "ii":
        covariance = covariance + np.diag((SCALE**2).mean(0))
    diagonal = np.diag(covariance)
    off = (covariance**2).sum() - (diagonal**2).sum()
    on = ((diagonal - 1) ** 2).sum()
    regularizer = DIP(2.0, 3.0, kind)
    terms = regularizer.terms(posterior())
    np.testing.assert_allclose(terms["dip_off_diagonal"], [off] * B, rtol=1e-5)
    np.testing.assert_allclose(terms["dip_diagonal"], [on] * B, rtol=1e-5)
    np.testing.assert_allclose(regularizer(posterior()), [2 * off + 3 * on] * B, rtol=1e-5)


def test_dip_sees_the_covariance_of_the_posterior():
    tril = np.tril(RNG.normal(size=(B, D, D))) + 2 * np.eye(D)
    q = tfd.MultivariateNormalTriL(LOC.astype("f"), tril.astype("f"))
    covariance = np.cov(LOC.T, bias=True) + (tril @ tril.transpose(0, 2, 1)).mean(0)
    expected = ((covariance - np.eye(D)) ** 2).sum()
    np.testing.assert_allclose(DIP(1.0, 1.0, "ii")(q), [expected] * B, rtol=1e-4)
    flat = layers.IndependentNormal((2, 2), scale=0.5)(tf.reshape(LOC.astype("f"), (B, D)))
    covariance = np.cov(LOC.T, bias=True) + 0.25 * np.eye(D)
    expected = ((covariance - np.eye(D)) ** 2).sum()
    np.testing.assert_allclose(DIP(1.0, 1.0, "ii")(flat), [expected] * B, rtol=1e-4)


# ---- sums -------------------------------------------------------------------------------------


def test_a_sum_is_the_sum_of_its_parts_and_logs_each():
    prior = normal()
    parts = [KLDivergenceRegularizer(prior, 0.5), DIP(), FreeBits(prior, 0.3), DIP(kind="ii")]
    total = Sum(parts)
    q = posterior()
    np.testing.assert_allclose(total(q), sum(part(q).numpy() for part in parts), rtol=1e-6)
    names = ("kl", "dip_off_diagonal", "dip_diagonal", "kl_2", "kl_charged")
    assert total.term_names == (*names, "dip_off_diagonal_2", "dip_diagonal_2")
    terms = total.terms(q)
    assert tuple(terms) == total.term_names
    np.testing.assert_array_equal(terms["dip_diagonal_2"], parts[3].terms(q)["dip_diagonal"])
    assert total.prior is prior


def test_a_sum_needs_one_prior_that_is_trained():
    parts = [
        KLDivergenceRegularizer(priors.TrainableNormal(D)),
        FreeBits(priors.TrainableNormal(D)),
    ]
    with pytest.raises(ValueError, match=r"share a prior that is trained.*Received"):
        Sum(parts)


# ---- all of them ------------------------------------------------------------------------------


def info_vae():
    prior = priors.TrainableNormal(D)
    kl = KLDivergenceRegularizer(prior, schedules.LinearWarmup(2))
    return Sum([kl, MaximumMeanDiscrepancy(prior, 2.0, seed=1)])


ALL = {
    "capacity": lambda: Capacity(normal(), schedules.LinearWarmup(2, stop=3.0), 1.0),
    "free bits": lambda: FreeBits(priors.TrainableNormal(D), 0.1, groups=2),
    "total correlation": lambda: TotalCorrelation(normal(), 100, schedules.Cosine(2)),
    "stratified": lambda: TotalCorrelation(normal(), 100, estimator="stratified"),
    "discrepancy": lambda: MaximumMeanDiscrepancy(normal(), seed=1),
    "dip": lambda: DIP(kind="ii"),
    "sum": info_vae,
}


@pytest.mark.parametrize("name", ALL)
def test_trains_in_a_vae_is_saved_and_goes_on_alike(name, request, tmp_path):
    """Under XLA those that `test_properties.py` does not try there."""
    jit_compile = name in ("sum", "stratified", "dip")
    if not jit_compile:
        request.getfixturevalue("without_graphs")
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(1).uniform(size=(12, 6)).astype("f")
    regularizer = ALL[name]()
    encoder = [keras.Input((6,)), keras.layers.Dense(2 * D), layers.MultivariateNormalDiag(D)]
    decoder = [keras.Input((D,)), keras.layers.Dense(6), layers.IndependentNormal(6, scale=0.5)]
    vae = VAE(keras.Sequential(encoder), keras.Sequential(decoder), regularizer=regularizer)
    vae.compile(keras.optimizers.SGD(0.01), jit_compile=jit_compile)
    history = vae.fit(x, batch_size=5, epochs=2, verbose=0).history
    assert set(history) >= {"loss", "nll", *regularizer.term_names}
    assert np.all(np.isfinite(list(history.values())))
    vae.save(tmp_path / "model.keras")
    loaded = tfvae.load(tmp_path / "model.keras")
    # In the file tuples are lists.
    configs = [json.dumps(part.get_config()) for part in (loaded.regularizer, regularizer)]
    assert configs[0] == configs[1]
    assert len(loaded.trainable_weights) == len(vae.trainable_weights)
    again = loaded.evaluate(x, verbose=0, return_dict=True)
    assert again == pytest.approx(vae.evaluate(x, verbose=0, return_dict=True), rel=1e-5)


WRONG = {
    "no prior": (lambda: Capacity(None, 1.0), TypeError, "`prior` must be a layer"),
    "a negative capacity": (lambda: Capacity(normal(), -1.0), ValueError, "`capacity` must be"),
    "negative free nats": (lambda: FreeBits(normal(), -1.0), ValueError, "`nats` must be a finite"),
    "uneven groups": (
        lambda: FreeBits(normal(), groups=3)(posterior()),
        ValueError,
        "`groups` must divide",
    ),
    "no data": (lambda: TotalCorrelation(normal(), 0), ValueError, "`dataset_size` must be"),
    "another estimator": (
        lambda: TotalCorrelation(normal(), 9, estimator="exact"),
        ValueError,
        "`estimator` must be one of",
    ),
    "another kernel": (
        lambda: MaximumMeanDiscrepancy(normal(), kernel="linear"),
        ValueError,
        "`kernel` must be one of",
    ),
    "no scales": (
        lambda: MaximumMeanDiscrepancy(normal(), scales=()),
        ValueError,
        "`scales` must be positive",
    ),
    "another kind": (lambda: DIP(kind="iii"), ValueError, "`kind` must be one of"),
    "no parts": (lambda: Sum([]), ValueError, "`regularizers` must have at least one"),
    "a word as a part": (lambda: Sum(["kl"]), TypeError, "`regularizers` must be layers"),
}


@pytest.mark.parametrize("name", WRONG)
def test_refuses(name):
    make, error, message = WRONG[name]
    with pytest.raises(error, match=rf"{message}.*Received"):
        make()
