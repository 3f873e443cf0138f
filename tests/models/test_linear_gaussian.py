"""Probabilistic PCA: a VAE whose log p(x) is known in closed form.

The model is x = W z + mean + noise of deviation SIGMA, with z standard normal. Then, with
M = W'W + SIGMA^2 I,

    p(x)   = N(mean, W W' + SIGMA^2 I),
    p(z|x) = N(M^-1 W' (x - mean), SIGMA^2 M^-1).

Reference: Tipping and Bishop (1999), Probabilistic Principal Component Analysis.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tensorflow_probability import distributions as tfd

from tfvae import VAE, layers, objectives

D, L, N = 6, 2, 40
SIGMA = 0.7
RNG = np.random.default_rng(0)
MEAN = RNG.normal(size=D)
ORTHOGONAL = np.linalg.qr(RNG.normal(size=(D, L)))[0] * [2.0, 0.8]
GENERAL = RNG.normal(size=(D, L))


class Truth:
    """The closed forms for one W, in float64."""

    def __init__(self, w):
        self.w = w
        inverse = np.linalg.inv(w.T @ w + SIGMA**2 * np.eye(L))
        self.to_code = inverse @ w.T
        self.covariance = SIGMA**2 * inverse
        rng = np.random.default_rng(1)
        noise = SIGMA * rng.normal(size=(N, D))
        self.x = (rng.normal(size=(N, L)) @ w.T + MEAN + noise).astype("f")
        marginal = stats.multivariate_normal(MEAN, w @ w.T + SIGMA**2 * np.eye(D))
        self.log_prob = marginal.logpdf(np.float64(self.x))

    def code(self):
        return (self.x - MEAN) @ self.to_code.T


def dense(kernel, bias):
    return keras.layers.Dense(
        len(bias),
        kernel_initializer=lambda *args, **kwargs: keras.ops.convert_to_tensor(kernel, "float32"),
        bias_initializer=lambda *args, **kwargs: keras.ops.convert_to_tensor(bias, "float32"),
    )


def model(truth, posterior, **options):
    decoder = keras.Sequential(
        [
            keras.Input((L,)),
            dense(truth.w.T, MEAN),
            layers.IndependentNormal(D, "mean", scale=SIGMA),
        ]
    )
    return VAE(keras.Sequential([keras.Input((D,)), *posterior]), decoder, **options)


def diagonal(truth, shift=0.0, spread=1.0, draws=1, **options):
    """The best diagonal posterior, exact for orthogonal columns, moved and scaled if wanted."""
    scale = spread * np.sqrt(np.diag(truth.covariance))
    raw = np.log(np.expm1(scale - 1e-5))
    kernel = np.concatenate([truth.to_code, np.zeros((L, D))]).T
    bias = np.concatenate([shift - truth.to_code @ MEAN, raw])
    conversion = layers.Samples(draws) if draws > 1 else "sample"
    posterior = layers.MultivariateNormalDiag(L, conversion, seed=1)
    return model(truth, [dense(kernel, bias), posterior], **options)


def full(truth):
    scale_tril = np.linalg.cholesky(truth.covariance).astype("f")
    posterior = layers.DistributionLambda(
        lambda loc: tfd.MultivariateNormalTriL(loc, scale_tril), seed=1
    )
    return model(truth, [dense(truth.to_code.T, -truth.to_code @ MEAN), posterior])


@pytest.fixture(scope="module")
def orthogonal():
    return Truth(ORTHOGONAL)


@pytest.fixture(scope="module")
def general():
    return Truth(GENERAL)


EXACT = {
    "diagonal": lambda: (diagonal, Truth(ORTHOGONAL)),
    "full covariance": lambda: (full, Truth(GENERAL)),
}


@pytest.fixture(scope="module", params=EXACT)
def exact(request):
    """A model whose posterior is p(z|x), and the truth about it."""
    make, truth = EXACT[request.param]()
    return make(truth), truth


def test_the_fixture_is_the_posterior(exact):
    vae, truth = exact
    q = vae.encode(truth.x)
    np.testing.assert_allclose(q.mean(), truth.code(), atol=1e-5)
    covariance = np.broadcast_to(truth.covariance, (N, L, L))
    np.testing.assert_allclose(q.covariance(), covariance, rtol=1e-4, atol=1e-6)


def test_with_the_exact_posterior_one_draw_gives_log_p(exact):
    vae, truth = exact
    # Every importance weight is p(x): the estimate has no variance, and 2e-5 is float32 rounding.
    for num_samples in (1, 5):
        np.testing.assert_allclose(
            vae.log_likelihood(truth.x, num_samples), truth.log_prob, rtol=2e-5
        )


def test_with_the_exact_posterior_the_bound_touches_log_p(exact):
    vae, truth = exact
    runs = np.stack([vae.elbo(truth.x, 500, seed=seed) for seed in range(20)]).astype(np.float64)
    mean, standard_error = runs.mean(0), runs.std(0, ddof=1) / np.sqrt(20)
    # Seeds 0 to 19, 500 draws each: all 40 examples within 5 standard errors, their mean within 4.
    assert np.all(np.abs(mean - truth.log_prob) < 5 * standard_error)
    error = np.sqrt((standard_error**2).sum()) / N
    assert abs((mean - truth.log_prob).mean()) < 4 * error
    assert error < 0.005


def test_elbo_terms_are_the_closed_forms(orthogonal):
    vae = diagonal(orthogonal)
    terms = vae.elbo_terms(orthogonal.x, num_samples=3)
    np.testing.assert_array_equal(terms["elbo"], terms["reconstruction"] - terms["kl"])
    variance = np.diag(orthogonal.covariance)
    kl = 0.5 * (variance + orthogonal.code() ** 2 - 1 - np.log(variance)).sum(1)
    np.testing.assert_allclose(terms["kl"], kl, rtol=1e-4)


OBJECTIVES = [
    objectives.ELBO(),
    objectives.StickingTheLanding(),
    objectives.IWAE(),
    objectives.DReG(),
    objectives.MIWAE(2),
    objectives.PIWAE(2),
    objectives.CIWAE(0.5),
    objectives.Renyi(0.5),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_with_the_exact_posterior_every_objective_is_log_p(orthogonal, objective):
    vae = diagonal(orthogonal, draws=4, objective=objective)
    x = tf.constant(orthogonal.x)
    with tf.GradientTape() as tape:
        cost = vae.example_terms(x, training=True).cost
    np.testing.assert_allclose(-cost, orthogonal.log_prob, rtol=2e-5)
    gradients = tape.gradient(cost, vae.encoder.trainable_weights)
    size = max(np.abs(gradient).max() for gradient in gradients)
    # Those that leave out the derivative of the density have no noise here but rounding, which the
    # 40 examples and four draws add up.
    assert size < 2e-3 if objective.stop_density else size > 1.0


WRONG = {"moved": {"shift": 0.3}, "wide": {"spread": 1.5}, "narrow": {"spread": 0.6}}


@pytest.mark.parametrize("name", WRONG)
def test_with_a_wrong_posterior_the_bound_is_below_by_the_divergence(orthogonal, name):
    vae = diagonal(orthogonal, **WRONG[name])
    variance = np.diag(orthogonal.covariance)
    spread, shift = WRONG[name].get("spread", 1.0), WRONG[name].get("shift", 0.0)
    # KL(q || p(z|x)), the same for every x.
    gap = 0.5 * (spread**2 + shift**2 / variance - 1 - np.log(spread**2)).sum()
    below = orthogonal.log_prob - vae.elbo(orthogonal.x, 5000).astype(np.float64)
    # Seed 0, 40 examples of 5,000 draws each; four standard errors of the mean, taken from
    # the spread between the examples.
    standard_error = below.std(ddof=1) / np.sqrt(N)
    assert abs(below.mean() - gap) < 4 * standard_error
    assert gap > 10 * standard_error


def log_weights(truth, vae, draws, seed):
    """log p(x, z) - log q(z|x) for draws of q, `[draws, N]`, in NumPy alone."""
    q = vae.encode(truth.x)
    loc, scale = np.float64(q.mean()), np.float64(q.stddev())
    noise = np.random.default_rng(seed).normal(size=(draws, N, L))
    z = loc + scale * noise
    log_q = (-0.5 * noise**2 - np.log(scale)).sum(-1)
    log_prior = -0.5 * (z**2).sum(-1)
    residual = (truth.x - MEAN - z @ truth.w.T) / SIGMA
    constant = D * (np.log(SIGMA) + 0.5 * np.log(2 * np.pi))
    return log_prior - log_q - 0.5 * (residual**2).sum(-1) - constant


MIXED = {
    "wide": (lambda truth: diagonal(truth, spread=1.5), ORTHOGONAL),
    "diagonal for a general W": (diagonal, GENERAL),
}


@pytest.mark.parametrize("name", MIXED)
def test_the_importance_weighted_estimate_converges_to_log_p(name):
    make, w = MIXED[name]
    truth = Truth(w)
    vae = make(truth)
    num_samples = 5000
    estimate = vae.log_likelihood(truth.x, num_samples, seed=3).astype(np.float64)
    # The variance of a mean of weights w / p(x), from an independent sample in NumPy.
    weights = np.exp(log_weights(truth, vae, 20_000, seed=4) - truth.log_prob)
    standard_error = weights.std(axis=0) / np.sqrt(num_samples)
    # Seed 3, 5,000 draws: each of 40 examples within 5 standard errors and the rounding.
    assert np.all(np.abs(estimate - truth.log_prob) < 5 * standard_error + 1e-4)
    error = np.sqrt((standard_error**2).sum()) / N
    assert abs((estimate - truth.log_prob).mean()) < 4 * error
    assert error < 0.02


def test_the_estimate_rises_with_the_number_of_samples(orthogonal):
    vae = diagonal(orthogonal, spread=0.6)
    means, errors = [], []
    for num_samples in (1, 4, 16, 64, 256):
        runs = [vae.log_likelihood(orthogonal.x, num_samples, seed=seed) for seed in range(40)]
        means.append(np.mean(runs))
        errors.append(np.std(np.mean(runs, axis=1), ddof=1) / np.sqrt(40))
    # Seeds 0 to 39. One draw is the bound, in expectation; the first step up is beyond the noise.
    assert np.all(np.diff(means) > 0)
    assert means[1] - means[0] > 4 * errors[0]
    assert means[-1] < orthogonal.log_prob.mean() + 4 * errors[-1]
    bound = np.mean([vae.elbo(orthogonal.x, 16, seed=seed) for seed in range(10)])
    assert abs(means[0] - bound) < 5 * errors[0]


def test_the_chunks_of_draws_are_joined_to_one_estimate(orthogonal, monkeypatch):
    vae = diagonal(orthogonal, spread=1.5)
    rows = []
    decode = vae.decode

    def watched(z, training=False):
        rows.append(z.shape[0])
        return decode(z, training)

    monkeypatch.setattr(vae, "decode", watched)
    # 40 examples at a time: 102 draws fit in 4,096 rows, so that 250 draws are three chunks, as
    # equal as they can be.
    estimate = vae.log_likelihood(orthogonal.x, 250)
    assert set(rows) == {40 * 84, 40 * (250 - 2 * 84)}
    weights = np.exp(log_weights(orthogonal, vae, 20_000, seed=4) - orthogonal.log_prob)
    standard_error = weights.std(axis=0) / np.sqrt(250)
    assert np.all(np.abs(estimate - orthogonal.log_prob) < 5 * standard_error)


def test_estimates_repeat_with_their_seed_and_examples_keep_their_order(orthogonal):
    vae = diagonal(orthogonal, spread=1.5)
    x = orthogonal.x
    for method in (vae.elbo, vae.log_likelihood):
        first = method(x, 3, seed=1, batch_size=16)
        np.testing.assert_array_equal(first, method(x, 3, seed=1, batch_size=16))
        assert np.all(first != method(x, 3, seed=2, batch_size=16))
        assert (first.shape, first.dtype) == ((N,), np.float32)
        assert np.corrcoef(first, orthogonal.log_prob)[0, 1] > 0.5


def test_fitting_reaches_the_maximum_of_the_likelihood():
    # For data whose covariance is that of the model, the bound is at best the mean of log p(x).
    truth = Truth(ORTHOGONAL)
    vae = diagonal(truth, shift=0.2, spread=1.3)
    vae.decoder.trainable = False
    before = vae.elbo(truth.x, 2000).mean()
    vae.compile(keras.optimizers.Adam(0.01))
    data = tf.data.Dataset.from_tensors(np.repeat(truth.x, 20, axis=0)).repeat(400)
    vae.fit(data, steps_per_epoch=400, epochs=1, verbose=0)
    after = vae.elbo(truth.x, 2000).mean()
    assert truth.log_prob.mean() - before > 0.1
    assert truth.log_prob.mean() - after == pytest.approx(0.0, abs=0.02)
