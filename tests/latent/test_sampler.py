"""Samplers fitted to the codes of trained models, on models whose aggregate posterior is known.

With the exact posterior N(A (x - mean), C) and data of the model itself, the codes A (x - mean)
are normal of covariance I - C; a posterior that is moved by m and spread by s makes the aggregate
posterior N(m, I - C + s^2 C).
"""

from __future__ import annotations

import sys

import keras
import numpy as np
import pytest
from scipy import special, stats

import tfvae
from tfvae import VAE, Autoencoder, latent, layers
from tfvae.latent.codes import draw_codes

SHIFT, SPREAD = 0.7, 2.0
N, L = 2000, 2

QUICK = {"epochs": 20, "fit_batch_size": 100}
KINDS = {
    "one normal": ("gaussian_mixture", {"num_components": 1}),
    "three normals": ("gaussian_mixture", {"num_components": 3}),
    "flow": ("flow", {"num_layers": 2, "hidden_units": (8,), "learning_rate": 1e-2, **QUICK}),
    # With its 100 draws all codes would share an error of up to 0.004 in their density.
    "two stages": (
        "two_stage",
        {"hidden": (16,), "learning_rate": 1e-2, "num_samples": 1000, **QUICK},
    ),
}


@pytest.fixture(scope="module")
def vae(truth):
    return truth.vae(SHIFT, SPREAD)


@pytest.fixture(scope="module")
def x(truth):
    return truth.data(N, seed=1)[1]


@pytest.fixture(scope="module")
def aggregate(truth):
    """The mean and the covariance of the aggregate posterior."""
    return np.full(L, SHIFT), np.eye(L) + (SPREAD**2 - 1) * truth.covariance


@pytest.fixture(scope="module", params=KINDS)
def sampler(request, vae, x):
    kind, options = KINDS[request.param]
    return latent.fit_sampler(vae, x, kind, seed=1, **options)


def moment_errors(mean, covariance, count):
    """The standard errors of the mean and of the covariance of normal draws."""
    variance = np.diag(covariance)
    products = np.outer(variance, variance) + covariance**2
    return np.sqrt(variance / count), np.sqrt(products / count)


def test_one_normal_has_the_moments_of_the_codes(vae, x, aggregate):
    fitted = latent.fit_sampler(vae, x, num_components=1, seed=1).prior
    mean, covariance = (np.float64(v) for v in (fitted().mean(), _covariance(fitted)))
    codes = draw_codes(vae, x, seed=1)
    np.testing.assert_allclose(mean, codes.mean(0), rtol=1e-5)
    np.testing.assert_allclose(covariance, np.cov(codes.T, ddof=0), rtol=1e-4)
    # 2,000 independent draws of the aggregate posterior, seed 1: four standard errors.
    of_mean, of_covariance = moment_errors(*aggregate, N)
    assert np.all(np.abs(mean - aggregate[0]) < 4 * of_mean)
    assert np.all(np.abs(covariance - aggregate[1]) < 4 * of_covariance)


def _covariance(affine):
    """Of a mixture of one normal, moved and scaled."""
    components = affine.base().components_distribution
    return np.diag(affine.scale) @ components.covariance()[0].numpy() @ np.diag(affine.scale)


def test_the_density_is_near_the_aggregate_posterior(sampler, aggregate):
    true = stats.multivariate_normal(*aggregate)
    z = true.rvs(4000, random_state=2).astype("f")
    excess = true.logpdf(z) - sampler.log_prob(z)
    error = excess.std(ddof=1) / np.sqrt(len(z))
    # KL(aggregate || fitted) by 4,000 draws, seed 2: not negative within four standard errors, and
    # small. Five free parameters of 2,000 codes cost 5 / 4,000 on average, more of them more; that
    # of two stages is the gap of its bound too.
    assert -4 * error < excess.mean() < 0.02 + 4 * error
    assert error < 0.005


def test_samples_have_the_moments_of_the_aggregate_posterior(sampler, aggregate):
    n = 20_000
    z = np.float64(sampler.sample_codes(n, seed=3, batch_size=n))
    # Seed 3: five standard errors of the 2,000 codes that it was fitted to and of the draws.
    of_mean, of_covariance = moment_errors(*aggregate, 1 / (1 / N + 1 / n))
    assert np.all(np.abs(z.mean(0) - aggregate[0]) < 5 * of_mean)
    assert np.all(np.abs(np.cov(z.T) - aggregate[1]) < 5 * of_covariance)


def test_samples_are_decoded_codes_and_do_not_depend_on_their_number(sampler, vae, truth):
    codes, images = sampler.sample_codes(300, seed=5), sampler.sample(300, seed=5)
    np.testing.assert_allclose(images, codes @ truth.weights.T + truth.mean, atol=1e-4)
    np.testing.assert_allclose(sampler.sample(7, seed=5), images[:7], atol=1e-5)
    assert np.abs(sampler.sample(7, seed=6) - images[:7]).min() > 0
    assert sampler.sample(2).shape == (2, 6)


def test_saved_and_loaded_it_is_the_same(sampler, vae, tmp_path):
    assert sampler.save(tmp_path) == tmp_path / "sampler.keras"
    loaded = latent.load_sampler(tmp_path, vae)
    assert loaded.kind == sampler.kind
    np.testing.assert_array_equal(loaded.sample(5, seed=0), sampler.sample(5, seed=0))
    z = sampler.sample_codes(5, seed=1)
    np.testing.assert_array_equal(loaded.log_prob(z), sampler.log_prob(z))


def test_it_becomes_the_prior_of_a_vae(x, tmp_path):
    model = VAE.for_images((6,), L, hidden=(4,), likelihood="normal")
    sampler = latent.fit_sampler(model, x[:100], num_components=3)
    vae = sampler.as_vae()
    images = vae.sample(5, seed=2)
    np.testing.assert_allclose(images, sampler.sample(5, seed=2), rtol=1e-5, atol=1e-6)
    vae.save(tmp_path / "model.keras")
    loaded = tfvae.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.sample(5, seed=2), images)


# ---- known mixtures ---------------------------------------------------------------------------


def identity(size):
    """An autoencoder whose codes are its data."""
    same = [keras.layers.Dense(size, kernel_initializer="identity") for _ in range(2)]
    likelihood = layers.IndependentNormal(size, "mean", scale=0.1)
    return Autoencoder(
        keras.Sequential([keras.Input((size,)), same[0]]),
        keras.Sequential([keras.Input((size,)), same[1], likelihood]),
    )


SHARES = np.array([0.3, 0.7])
LOC = np.array([[-3.0, 100.0], [2.0, 130.0]])
FACTORS = np.array([[[0.5, 0.0], [3.0, 4.0]], [[1.0, 0.0], [-5.0, 2.0]]])


def mixture_data(count, seed):
    rng = np.random.default_rng(seed)
    component = (rng.random(count) < SHARES[1]).astype(int)
    noise = rng.normal(size=(count, 2))
    return component, LOC[component] + np.einsum("nij,nj->ni", FACTORS[component], noise)


def test_a_known_mixture_is_recovered_in_the_units_of_the_codes():
    count = 3000
    model, (component, z) = identity(2), mixture_data(count, seed=4)
    fitted = latent.fit_sampler(model, z.astype("f"), num_components=2)
    prior = fitted.prior
    parts = prior.base().components_distribution
    order = np.argsort(parts.mean()[:, 0])
    scale = prior.scale.numpy()
    mean = (scale * parts.mean().numpy() + prior.shift.numpy())[order]
    covariance = (np.outer(scale, scale) * parts.covariance().numpy())[order]
    shares = special.softmax(prior.base.logits.numpy())[order]
    # Seed 4, five standard errors; the components hardly overlap.
    assert abs(shares[0] - SHARES[0]) < 5 * np.sqrt(SHARES.prod() / count)
    for k in range(2):
        true = FACTORS[k] @ FACTORS[k].T
        of_mean, of_covariance = moment_errors(LOC[k], true, np.sum(component == k))
        assert np.all(np.abs(mean[k] - LOC[k]) < 5 * of_mean)
        assert np.all(np.abs(covariance[k] - true) < 5 * of_covariance)
    _, fresh = mixture_data(4000, seed=5)
    parts = [stats.multivariate_normal(m, f @ f.T) for m, f in zip(LOC, FACTORS, strict=True)]
    true = special.logsumexp([p.logpdf(fresh) for p in parts], axis=0, b=SHARES[:, None])
    excess = true - fitted.log_prob(fresh)
    error = excess.std(ddof=1) / np.sqrt(len(fresh))
    # Eleven free parameters of 3,000 codes cost 11 / 6,000 nats on average.
    assert -4 * error < excess.mean() < 0.01


def test_codes_that_are_maps_keep_their_shape_and_a_dead_element_its_value(maps_vae, maps):
    fitted = latent.fit_sampler(maps_vae, maps, num_components=2, covariance="diagonal")
    assert fitted.sample(3, seed=0).shape == (3, 4, 4, 1)
    z = fitted.sample_codes(3, seed=0)
    assert z.shape == (3, 2, 2, 3)
    assert fitted.log_prob(z).shape == (3,)
    data = np.random.default_rng(0).normal(size=(50, 3)).astype("f")
    data[:, 1] = 7.0
    z = latent.fit_sampler(identity(3), data, num_components=2).sample_codes(4, seed=0)
    # Scikit-learn's floor of a variance, 1e-6, is all the noise that it gets.
    np.testing.assert_allclose(z[:, 1], 7.0, atol=0.01)


def test_draws_of_the_posterior_differ_between_batches_and_seeds(vae, x, truth):
    noise = draw_codes(vae, x, batch_size=500) - truth.code(x)
    assert np.abs(noise[:500] - noise[500:1000]).min() > 0
    assert np.abs(noise - draw_codes(vae, x, batch_size=500, seed=1) + truth.code(x)).min() > 0


# ---- seeds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gaussian_mixture", "flow"])
def test_a_seed_makes_the_same_sampler_and_leaves_the_generators_alone(vae, x, kind):
    options = {"num_components": 3} if kind == "gaussian_mixture" else {"epochs": 1}
    np.random.seed(7)
    expected = np.random.random()
    np.random.seed(7)
    first, again, other = (
        latent.fit_sampler(vae, x[:300], kind, seed=seed, **options).sample(4, seed=0)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).min() > 0
    assert np.random.random() == expected


def test_under_mixed_precision_a_flow_is_fitted_in_float32(vae, x):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        sampler = latent.fit_sampler(vae, x[:200], "flow", seed=1, epochs=1)
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(sampler.log_prob(draw_codes(vae, x[:5]))).all()


# ---- errors -----------------------------------------------------------------------------------


def ones(count):
    return np.ones((count, 6), "f")


WRONG = {
    "another kind": (lambda vae, x: latent.fit_sampler(vae, x, "kde"), ValueError, "`kind` must"),
    "an option of another kind": (
        lambda vae, x: latent.fit_sampler(vae, x, "flow", num_components=3),
        TypeError,
        "The options of kind='flow' are flow, num_layers, hidden_units",
    ),
    "no model": (lambda vae, x: latent.fit_sampler(None, x), TypeError, "a built model"),
    "data of another shape": (
        lambda vae, x: latent.fit_sampler(vae, x[:, :3]),
        ValueError,
        "`x` must be examples",
    ),
    "no draws": (
        lambda vae, x: latent.fit_sampler(vae, x, num_draws=0),
        ValueError,
        "`num_draws` must be an integer",
    ),
    "fewer codes than components": (
        lambda vae, x: latent.fit_sampler(vae, x[:5], num_components=6),
        ValueError,
        "at least as many codes as components",
    ),
    "one code": (lambda vae, x: latent.fit_sampler(vae, x[:1]), ValueError, "several codes"),
    "the same code": (
        lambda vae, x: latent.fit_sampler(identity(6), ones(20)),
        ValueError,
        "several codes that differ",
    ),
    "no covariance": (
        lambda vae, x: latent.fit_sampler(vae, x, covariance="tied"),
        ValueError,
        "`covariance` must be one of",
    ),
    "no samples": (lambda vae, x: fitted(vae, x).sample(0), ValueError, "`n` must be an integer"),
    "codes of another shape": (
        lambda vae, x: fitted(vae, x).log_prob(np.zeros((3, 5))),
        ValueError,
        "Codes of this model",
    ),
    "a VAE of an autoencoder": (
        lambda vae, x: fitted(identity(6), x).as_vae(),
        TypeError,
        "Only a VAE has a posterior",
    ),
    "another ending": (
        lambda vae, x: fitted(vae, x).save("sampler.pkl"),
        ValueError,
        "saved as .keras files",
    ),
}


def fitted(model, x):
    return latent.fit_sampler(model, x[:100], num_components=1)


@pytest.mark.parametrize("name", WRONG)
def test_refuses(name, vae, x):
    make, error, message = WRONG[name]
    with pytest.raises(error, match=rf"(?s){message}.*Received"):
        make(vae, x)


def test_refuses_the_file_of_another_model_or_of_none(truth, vae, x, tmp_path):
    path = fitted(vae, x).save(tmp_path / "s.keras")
    for other in (truth.vae(SHIFT + 0.1, SPREAD), identity(L)):
        with pytest.raises(ValueError, match=r"another model, or on other weights.*Received"):
            latent.load_sampler(path, other)
    identity(2).save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"holds no sampler, but a Autoencoder.*Received"):
        latent.load_sampler(tmp_path / "model.keras", vae)
    # Encoding and sampling count draws, which are no part of a model.
    vae(x[:2])
    assert latent.load_sampler(path, vae).sample(1, seed=0).shape == (1, 6)


def test_without_scikit_learn_it_says_what_to_install(vae, x, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"pip install 'tfvae\[sklearn\]'.*Received"):
        fitted(vae, x)
