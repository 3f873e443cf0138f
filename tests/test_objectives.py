"""Objectives on a model of which everything is known: z ~ N(0, 1), x|z ~ N(W z + theta, SIGMA^2).

A batch is many replicas of one example, each with parameters of its own, so that one backward pass
gives as many independent gradients.
"""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats
from tensorflow_probability import distributions as tfd

import tfvae
from tfvae import VAE, layers
from tfvae.flows import AutoregressiveNetwork
from tfvae.objectives import (
    CIWAE,
    ELBO,
    IWAE,
    MIWAE,
    PIWAE,
    DReG,
    Objective,
    Renyi,
    StickingTheLanding,
    maximized,
)
from tfvae.regularizers import KLDivergenceRegularizer

X, W, THETA, SIGMA = 1.5, 0.8, 0.2, 0.6
POSTERIOR_VARIANCE = 1 / (1 + W**2 / SIGMA**2)
POSTERIOR_MEAN = POSTERIOR_VARIANCE * W * (X - THETA) / SIGMA**2
LOG_PX = stats.norm.logpdf(X, THETA, math.hypot(W, SIGMA))
# A posterior that is not the true one.
LOC, SCALE = POSTERIOR_MEAN - 0.3, 1.3 * math.sqrt(POSTERIOR_VARIANCE)


def np_log_mean_exp(v, axis=0):
    return special.logsumexp(v, axis=axis) - np.log(v.shape[axis])


def np_miwae(v, m):
    return np_log_mean_exp(v.reshape(-1, m, v.shape[1])).mean(0)


def np_iwae(v):
    return np_log_mean_exp(v)


# The objective, and its bounds for the model and for the posterior, in NumPy.
CASES = {
    "elbo": (ELBO, lambda v: v.mean(0), None),
    "sticking the landing": (StickingTheLanding, lambda v: v.mean(0), None),
    "iwae": (IWAE, np_iwae, None),
    "dreg": (DReG, np_iwae, None),
    "miwae": (lambda: MIWAE(2), lambda v: np_miwae(v, 2), None),
    "piwae": (lambda: PIWAE(2), np_iwae, lambda v: np_miwae(v, 2)),
    "ciwae": (lambda: CIWAE(0.3), lambda v: 0.3 * v.mean(0) + 0.7 * np_iwae(v), None),
    "renyi 0.5": (lambda: Renyi(0.5), lambda v: np_log_mean_exp(0.5 * v) / 0.5, None),
    "renyi -2": (lambda: Renyi(-2.0), lambda v: np_log_mean_exp(3 * v) / 3, None),
    "largest weight": (lambda: Renyi(-math.inf), lambda v: v.max(0), None),
}


@pytest.mark.parametrize("name", CASES)
def test_bounds_are_their_formulas(name):
    make, bound, _ = CASES[name]
    log_weights = np.random.default_rng(0).normal(scale=3.0, size=(6, 5)).astype("f")
    found = make().bound(tf.constant(log_weights))
    np.testing.assert_allclose(found, bound(np.float64(log_weights)), rtol=1e-5, atol=1e-5)
    shares = make().shares(tf.constant(log_weights))
    np.testing.assert_allclose(tf.reduce_sum(shares, 0), np.ones(5), rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_weights_beyond_the_range_of_float32_give_finite_numbers(name):
    log_weights = tf.constant([[-1e4], [0.0], [1e4], [0.0]])
    objective = CASES[name][0]()
    for values in (
        objective.bound(log_weights),
        objective.shares(log_weights),
        objective.posterior_shares(log_weights),
    ):
        assert np.all(np.isfinite(values))


def log_weights(noise, theta=THETA, loc=LOC, scale=SCALE):
    """log p(x, z) - log q(z) at z = loc + scale * noise, in NumPy."""
    z = loc + scale * noise
    log_q = stats.norm.logpdf(noise) - np.log(scale)
    return stats.norm.logpdf(z) + stats.norm.logpdf(X, W * z + theta, SIGMA) - log_q


@tf.function
def estimates(objective, noise, loc, scale):
    """The bound and the gradients by theta, loc and scale of each replica, `[B]` each."""
    replicas = noise.shape[1]
    theta, loc, scale = (tf.fill([replicas, 1], v) for v in (np.float32(THETA), loc, scale))
    with tf.GradientTape() as tape:
        tape.watch([theta, loc, scale])
        q = tfd.MultivariateNormalDiag(loc, scale)
        z = loc + scale * noise[..., tf.newaxis]

        def log_joint(z):
            log_prior = tfd.Normal(0.0, 1.0).log_prob(z)
            return tf.reduce_sum(log_prior + tfd.Normal(W * z + theta, SIGMA).log_prob(X), -1)

        bound = maximized(objective, q, z, log_joint)
    gradients = tape.gradient(bound, [theta, loc, scale])
    return bound, *(g[:, 0] for g in gradients)


def run(objective, draws, replicas, loc=LOC, scale=SCALE, seed=0):
    noise = np.random.default_rng(seed).normal(size=(draws, replicas)).astype("f")
    found = estimates(
        objective, tf.constant(noise), tf.constant(loc, tf.float32), np.float32(scale)
    )
    return [np.float64(value) for value in found], np.float64(noise)


def finite_difference(bound, noise, name, step=1e-4):
    """The derivative of a bound by a parameter for each replica: common noise, central steps."""
    value = {"theta": THETA, "loc": LOC, "scale": SCALE}[name]
    up, down = (bound(log_weights(noise, **{name: value + h})) for h in (step, -step))
    return (up - down) / (2 * step)


@pytest.mark.parametrize("name", CASES)
def test_gradients_have_the_mean_of_the_derivative_of_their_bound(name):
    make, bound, posterior_bound = CASES[name]
    replicas = 40_000
    (value, *gradients), noise = run(make(), 6, replicas)
    np.testing.assert_allclose(value, bound(log_weights(noise)), rtol=1e-4, atol=1e-4)
    fresh = np.random.default_rng(1).normal(size=(6, replicas))
    for parameter, found in zip(("theta", "loc", "scale"), gradients, strict=True):
        for_posterior = posterior_bound and parameter != "theta"
        expected = finite_difference(posterior_bound if for_posterior else bound, fresh, parameter)
        error = math.hypot(*(v.std(ddof=1) / math.sqrt(replicas) for v in (found, expected)))
        # Seeds 0 and 1, 40,000 replicas; four standard errors, which are small beside the mean.
        assert abs(found.mean() - expected.mean()) < 4 * error, parameter
        assert error < 0.2 * abs(expected.mean()), parameter


PATHWISE = [name for name in CASES if name not in ("sticking the landing", "dreg", "piwae")]


@pytest.mark.parametrize("name", PATHWISE)
def test_without_another_estimator_the_gradient_is_the_derivative_itself(name):
    make, bound, _ = CASES[name]
    (_, *gradients), noise = run(make(), 6, 50)
    for parameter, found in zip(("theta", "loc", "scale"), gradients, strict=True):
        expected = finite_difference(bound, noise, parameter)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def signal_to_noise(objective, draws, replicas=10_000):
    (_, _, by_loc, _), _ = run(objective, draws, replicas)
    return abs(by_loc.mean()) / by_loc.std()


def test_the_signal_of_iwae_falls_with_the_draws_and_that_of_dreg_rises():
    # Seed 0, 10,000 replicas: a ratio of r has the standard error sqrt((1 + r^2 / 2) / 10,000),
    # below 0.02; the factors 1.5 are far beyond.
    iwae = [signal_to_noise(IWAE(), draws) for draws in (2, 64)]
    dreg = [signal_to_noise(DReG(), draws) for draws in (2, 64)]
    assert iwae[0] > 1.5 * iwae[1]
    assert dreg[1] > 1.5 * dreg[0]
    # At the same 64 draws, bounds of fewer each have more signal.
    assert signal_to_noise(MIWAE(16), 64) > 1.5 * iwae[1]
    assert signal_to_noise(PIWAE(16), 64) > 1.5 * iwae[1]
    assert signal_to_noise(CIWAE(0.5), 64) > 1.5 * iwae[1]


def test_the_bound_rises_with_the_draws_towards_log_p():
    replicas = 20_000
    means, errors = [], []
    for draws in (1, 2, 8, 64):
        (value, *_), _ = run(IWAE(), draws, replicas, seed=draws)
        means.append(value.mean())
        errors.append(value.std() / math.sqrt(replicas))
    # Seeds 1, 2, 8, 64; each step up is beyond four standard errors of it.
    steps = np.diff(means)
    assert np.all(steps > 4 * np.hypot(errors[1:], errors[:-1]))
    assert means[-1] < LOG_PX + 4 * errors[-1]
    assert LOG_PX - means[-1] < 0.1 * (LOG_PX - means[0])


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("miwae", "piwae")])
def test_with_one_draw_every_bound_is_the_elbo(name):
    (value, *gradients), _ = run(CASES[name][0](), 1, 20)
    landing = name in ("sticking the landing", "dreg")
    (elbo, *expected), _ = run(StickingTheLanding() if landing else ELBO(), 1, 20)
    np.testing.assert_allclose(value, elbo, rtol=1e-5)
    for found, other in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(found, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_at_the_true_posterior(name):
    (value, by_theta, by_loc, by_scale), _ = run(
        CASES[name][0](), 4, 200, POSTERIOR_MEAN, math.sqrt(POSTERIOR_VARIANCE)
    )
    # Every weight is p(x): each bound is log p(x), without noise.
    np.testing.assert_allclose(value, np.full(200, LOG_PX), rtol=1e-5)
    assert by_theta.std() > 0.1
    for gradient in (by_loc, by_scale):
        if CASES[name][0]().stop_density:
            np.testing.assert_allclose(gradient, np.zeros(200), atol=2e-5)
        else:
            assert gradient.std() > 0.1


# ---- in a VAE ---------------------------------------------------------------------------------

N, D, L = 12, 5, 2
DATA = np.random.default_rng(0).normal(size=(N, D)).astype("f")


def make_vae(objective, draws=4, posterior=None, **options):
    keras.utils.set_random_seed(0)
    conversion = layers.Samples(draws) if draws > 1 else "sample"
    head = posterior or [layers.MultivariateNormalDiag(L, conversion, seed=1)]
    encoder = [keras.Input((D,)), keras.layers.Dense(2 * L), *head]
    decoder = [keras.Input((L,)), keras.layers.Dense(D), layers.IndependentNormal(D, scale=0.5)]
    vae = VAE(keras.Sequential(encoder), keras.Sequential(decoder), objective=objective)
    vae.compile(keras.optimizers.SGD(0.01), **options)
    return vae


def test_the_loss_of_a_vae_is_minus_the_bound_of_its_draws():
    vae = make_vae(IWAE())
    count = vae.encoder.layers[-1].seed_state.numpy()
    q = vae.encode(DATA)
    z = tf.convert_to_tensor(q)
    log_joint = np.stack([vae.decode(draw).log_prob(DATA) for draw in z])
    log_joint = np.float64(log_joint) + stats.norm.logpdf(z).sum(-1)
    expected = np_iwae(log_joint - np.float64(q.log_prob(z)))
    vae.encoder.layers[-1].seed_state.assign(count)
    found = vae.evaluate(DATA, batch_size=N, verbose=0, return_dict=True)
    assert set(found) == {"loss", "nll", "kl"}
    assert found["loss"] == pytest.approx(-expected.mean(), rel=1e-5)
    nll = np.mean([-vae.decode(draw).log_prob(DATA) for draw in z])
    assert found["nll"] == pytest.approx(nll, rel=1e-5)
    kl = 0.5 * (q.variance() + q.mean() ** 2 - 1 - tf.math.log(q.variance()))
    assert found["kl"] == pytest.approx(np.mean(np.sum(kl, 1)), rel=1e-5)


@pytest.mark.parametrize(("name", "xla"), [("dreg", True), ("piwae", False)])
def test_a_vae_trains_and_is_saved(name, xla, tmp_path):
    keras.utils.set_random_seed(0)  # the order of the examples
    vae = make_vae(CASES[name][0](), jit_compile=xla)
    losses = vae.fit(DATA, batch_size=6, epochs=10, verbose=0).history["loss"]
    assert losses[-1] < losses[0] - 1.0
    vae.save(tmp_path / "model.keras")
    loaded = tfvae.load(tmp_path / "model.keras")
    assert repr(loaded.objective) == repr(vae.objective)
    assert loaded.evaluate(DATA, verbose=0) == pytest.approx(vae.evaluate(DATA, verbose=0), 1e-5)


def test_a_flow_as_posterior_is_trained_by_what_stops_its_density():
    # Its parameters are a network's weights, which no stopped copy of the distribution would hold.
    made = AutoregressiveNetwork(2, hidden_units=[4], activation="tanh", seed=1)
    normal = layers.MultivariateNormalDiag(L, "mean", seed=1)
    flow = layers.AutoregressiveTransform(made, layers.Samples(4), seed=2)
    vae = make_vae(DReG(), posterior=[normal, flow])
    before = [kernel.numpy() for kernel in made.kernels]
    history = vae.fit(DATA, batch_size=6, epochs=2, verbose=0).history
    assert np.all(np.isfinite(history["loss"]))
    for kernel, old in zip(made.kernels, before, strict=True):
        assert np.abs(kernel.numpy() - old).max() > 1e-5


def test_networks_for_images_take_the_number_of_draws():
    vae = VAE.for_images((6,), latent_dim=L, hidden=(4,), num_samples=3, objective=IWAE())
    assert vae.encode(np.zeros((5, 6), "f")).shape == (3, 5, L)


@pytest.mark.parametrize("name", CASES)
def test_configuration_makes_the_same_objective(name):
    objective = CASES[name][0]()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(objective))
    assert type(again) is type(objective)
    assert repr(again) == repr(objective)


def test_one_draw_is_warned_of():
    with pytest.warns(UserWarning, match=r"one draw every objective .*Samples\(K\).*IWAE"):
        make_vae(IWAE(), draws=1, run_eagerly=True).evaluate(DATA, verbose=0)


def kl_regularized():
    return KLDivergenceRegularizer(tfvae.priors.StandardNormal(L))


def networks(**kwargs):
    head = layers.MultivariateNormalDiag(L, **kwargs)
    encoder = [keras.Input((D,)), keras.layers.Dense(2 * L), head]
    decoder = [keras.Input((L,)), layers.IndependentNormal(L, scale=0.5)]
    return keras.Sequential(encoder), keras.Sequential(decoder)


WRONG = {
    "a regulariser beside it": (
        lambda: VAE(*networks(), objective=IWAE(), regularizer=kl_regularized()),
        ValueError,
        "would count it twice",
    ),
    "a weight beside it": (
        lambda: VAE(*networks(), objective=IWAE(), beta=2.0),
        ValueError,
        "would count it twice",
    ),
    "a regularised latent": (
        lambda: VAE(*networks(activity_regularizer=kl_regularized()), objective=IWAE()),
        ValueError,
        "charged twice",
    ),
    "a word": (lambda: VAE(*networks(), objective="iwae"), TypeError, "`objective` must be one of"),
    "no groups": (lambda: MIWAE(0), ValueError, "`groups` must be an integer"),
    "uneven groups": (
        lambda: MIWAE(3).bound(tf.zeros((4, 2))),
        ValueError,
        "`groups` must divide the number of draws",
    ),
    "a beta above one": (lambda: CIWAE(1.5), ValueError, "`beta` must be a number from 0 to 1"),
    "order one": (lambda: Renyi(1.0), ValueError, "`alpha` must be a number other than 1"),
    "no number": (lambda: Renyi(math.nan), ValueError, "`alpha` must be a number other than 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_refuses(name):
    make, error, message = WRONG[name]
    with pytest.raises(error, match=rf"{message}.*Received"):
        make()


def test_an_objective_of_the_users_is_two_methods():
    class Median(Objective):
        """The median log-weight of an odd number of draws."""

        def bound(self, log_weights):
            return tf.sort(log_weights, axis=0)[log_weights.shape[0] // 2]

        def shares(self, log_weights):
            return tf.cast(log_weights == self.bound(log_weights), log_weights.dtype)

    (value, *_), noise = run(Median(), 5, 10)
    np.testing.assert_allclose(value, np.median(log_weights(noise), axis=0), rtol=1e-4)
