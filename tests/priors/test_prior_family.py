"""Priors that are learned: their densities against NumPy, their draws against their densities."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats
from tensorflow_probability import distributions as tfd

import tfvae
from tfvae import VAE, layers, priors, random
from tfvae.losses import negative_log_likelihood
from tfvae.objectives import IWAE
from tfvae.priors.flow import KINDS

D, L = 5, 2
X = np.random.default_rng(0).uniform(size=(12, D)).astype("f")


def softplus(raw):
    return np.logaddexp(0, np.float64(raw)) + 1e-5


def perturb(prior, scale=0.7):
    """Moves every weight away from where it starts."""
    rng = np.random.default_rng(1)
    for weight in prior.trainable_weights:
        weight.assign(weight + scale * rng.normal(size=weight.shape))
    return prior


def vae_with(prior, posterior=None, draws=1, **options):
    keras.utils.set_random_seed(0)
    conversion = layers.Samples(draws) if draws > 1 else "sample"
    head = posterior or layers.MultivariateNormalDiag(L, conversion, seed=1)
    size = type(head).params_size(head.arguments["event_size"])
    encoder = [keras.Input((D,)), keras.layers.Dense(size), head]
    decoder = [keras.Input((L,)), keras.layers.Dense(D), layers.IndependentNormal(D, scale=0.5)]
    return VAE(keras.Sequential(encoder), keras.Sequential(decoder), prior=prior, **options)


def test_a_second_model_of_one_encoder_keeps_the_pseudo_inputs():
    first = attached_vamp()
    first.prior.pseudo_inputs.assign_add(tf.ones((3, D)))
    kept = first.prior.pseudo_inputs.numpy()
    second = VAE(first.encoder, first.decoder, prior=first.prior)
    np.testing.assert_array_equal(second.prior.pseudo_inputs, kept)
    assert len(second.prior.weights) == 1
    with pytest.raises(ValueError, match="make another one for another encoder"):
        vae_with(first.prior)


def attached_vamp(**options):
    """A VampPrior of three components and the model that it is part of."""
    rng = np.random.default_rng(2)
    values = rng.normal(size=(3, D)).astype("f")
    return vae_with(priors.VampPrior(L, pseudo_inputs=values, **options))


# ---- mixtures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [3, (2, 3)], ids=str)
def test_a_mixture_has_the_density_of_its_weights(shape):
    prior = perturb(priors.GaussianMixture(shape, num_components=4))
    z = np.random.default_rng(3).normal(size=(7, *prior.event_shape)).astype("f")
    loc, scale = prior.loc.numpy(), softplus(prior.raw_scale.numpy())
    log_parts = stats.norm.logpdf(z[:, None], loc, scale).reshape(7, 4, -1).sum(-1)
    log_shares = special.log_softmax(np.float64(prior.logits.numpy()))
    expected = special.logsumexp(log_parts + log_shares, axis=1)
    np.testing.assert_allclose(prior().log_prob(z), expected, rtol=1e-5)
    assert len(prior.trainable_weights) == 3


def test_a_mixture_of_full_covariances_has_the_density_of_its_weights():
    prior = perturb(priors.GaussianMixture(3, num_components=2, covariance="full"))
    z = np.random.default_rng(3).normal(size=(7, 3)).astype("f")
    log_parts = [
        stats.multivariate_normal(m, f @ f.T).logpdf(z)
        for m, f in zip(np.float64(prior.loc.numpy()), factors(prior), strict=True)
    ]
    log_shares = special.log_softmax(np.float64(prior.logits.numpy()))
    expected = special.logsumexp(np.transpose(log_parts) + log_shares, axis=1)
    np.testing.assert_allclose(prior().log_prob(z), expected, rtol=1e-4)


def factors(prior):
    """The triangular factors of a mixture's covariances, from its weights."""
    diagonal = [np.diag(scale) for scale in softplus(prior.raw_scale.numpy())]
    if prior.covariance == "diagonal":
        return np.stack(diagonal)
    return np.stack(diagonal) + np.tril(np.float64(prior.lower.numpy()), k=-1)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_draws_of_a_mixture_follow_its_density(covariance):
    prior = perturb(priors.GaussianMixture(2, num_components=3, covariance=covariance))
    n = 20_000
    z = np.float64(prior.draw(random.seeds(1, n)))
    loc, factor = np.float64(prior.loc.numpy()), factors(prior)
    shares = special.softmax(np.float64(prior.logits.numpy()))
    mean = shares @ loc
    second = np.einsum("k,kij->ij", shares, factor @ np.transpose(factor, (0, 2, 1)))
    second += np.einsum("k,ki,kj->ij", shares, loc, loc)
    variance = np.diag(second) - mean**2
    assert np.all(np.abs(z.mean(0) - mean) < 4 * np.sqrt(variance / n))
    # Seed 1, four standard errors; the cross moment sees that a row has one component.
    for i, j in ((0, 0), (1, 1), (0, 1)):
        product = z[:, i] * z[:, j]
        assert abs(product.mean() - second[i, j]) < 4 * product.std() / np.sqrt(n)


def test_the_vamp_prior_is_the_mean_of_the_posteriors_of_its_pseudo_inputs():
    vae = attached_vamp()
    params = vae.encoder.layers[0](vae.prior.pseudo_inputs).numpy()
    loc, scale = np.float64(params[:, :L]), softplus(params[:, L:])
    z = np.random.default_rng(3).normal(size=(7, L)).astype("f")
    log_parts = stats.norm.logpdf(z[:, None], loc, scale).sum(-1)
    expected = special.logsumexp(log_parts, axis=1) - np.log(3)
    np.testing.assert_allclose(vae.prior().log_prob(z), expected, rtol=1e-5)
    n = 20_000
    drawn = np.float64(vae.prior.draw(random.seeds(1, n)))
    variance = (scale**2 + loc**2).mean(0) - loc.mean(0) ** 2
    # Seed 1, four standard errors.
    assert np.all(np.abs(drawn.mean(0) - loc.mean(0)) < 4 * np.sqrt(variance / n))


def test_the_vamp_prior_trains_its_pseudo_inputs_and_through_them_the_encoder():
    vae = attached_vamp()
    vae.decoder.trainable = False
    with tf.GradientTape() as tape:
        cost = -tf.reduce_sum(vae.prior().log_prob(tf.ones((4, L))))
    wanted = [vae.prior.pseudo_inputs, *vae.encoder.trainable_weights]
    assert all(np.abs(g).max() > 1e-3 for g in tape.gradient(cost, wanted))
    # The encoder is the model's: the prior owns the pseudo-inputs alone.
    assert vae.prior.weights == [vae.prior.pseudo_inputs]
    assert sum(w is vae.prior.pseudo_inputs for w in vae.trainable_weights) == 1


def test_pseudo_inputs_stay_within_their_bounds():
    vae = attached_vamp(bounds=(-0.1, 0.1))
    vae.compile(keras.optimizers.SGD(0.1))
    vae.fit(X, batch_size=6, epochs=1, verbose=0)
    values = vae.prior.pseudo_inputs.numpy()
    assert np.abs(values).max() == np.float32(0.1)


# ---- flows ------------------------------------------------------------------------------------


def flow(kind, size=3, **options):
    keras.utils.set_random_seed(0)
    return priors.NormalizingFlow(size, kind, num_layers=3, hidden_units=(6,), **options)


@pytest.mark.parametrize("kind", KINDS)
def test_a_flow_starts_near_the_standard_normal(kind):
    z = np.random.default_rng(0).normal(size=(4, 7, 3)).astype("f")
    found = flow(kind)().log_prob(z)
    np.testing.assert_allclose(found, stats.norm.logpdf(z).sum(-1), atol=0.2)


@pytest.mark.parametrize("kind", KINDS)
def test_the_density_of_a_flow_is_the_change_of_variables_of_its_draws(kind):
    # Steep splines, as weights of this size make them, cost float32 its digits.
    prior = perturb(flow(kind, activation="tanh"), 0.2 if kind == "spline" else 0.7)
    seeds = random.seeds(5, 6)
    noise = random.normal(seeds, 3)
    with tf.GradientTape() as tape:
        tape.watch(noise)
        z = prior.bijector().forward(noise)
    np.testing.assert_allclose(prior.draw(seeds), z, rtol=1e-6, atol=1e-6)
    jacobian = np.float64(tape.batch_jacobian(z, noise))
    expected = stats.norm.logpdf(noise).sum(-1) - np.linalg.slogdet(jacobian)[1]
    # Another tensor of the same values: the bijectors remember what they have mapped.
    found = prior().log_prob(tf.constant(z.numpy()))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert np.abs(np.linalg.slogdet(jacobian)[1]).min() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_the_density_of_a_flow_integrates_to_one(kind):
    prior = perturb(flow(kind, size=2, activation="tanh"), 0.3)
    axis = np.linspace(-16, 16, 400, dtype="f")
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    density = np.exp(np.float64(prior().log_prob(grid)))
    assert density.sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_of_a_flow_is_trained(kind):
    prior = perturb(flow(kind, activation="tanh"))
    z = np.random.default_rng(0).normal(size=(20, 3)).astype("f")
    with tf.GradientTape() as tape:
        cost = -tf.reduce_sum(prior().log_prob(z))
    gradients = tape.gradient(cost, prior.trainable_weights)
    # Three layers of two networks' layers, each a kernel and a bias.
    assert len(gradients) == 12
    assert all(np.abs(gradient).max() > 1e-4 for gradient in gradients)


def test_splines_end_at_their_bound():
    prior = perturb(flow("spline", 2, bound=2.0), 2.0)
    inside = np.random.default_rng(4).uniform(-2, 2, size=(20, 2)).astype("f")
    moved = prior.bijector().forward(inside).numpy()
    assert np.abs(moved).max() <= 2.0
    assert np.abs(moved - inside).max() > 0.5
    outside = np.float32([[2.5, -3.0], [-2.1, 7.0]])
    np.testing.assert_array_equal(prior.bijector().forward(outside), outside)
    np.testing.assert_allclose(prior().log_prob(outside), stats.norm.logpdf(outside).sum(-1), 1e-6)


# ---- the sphere -------------------------------------------------------------------------------


def test_the_uniform_prior_on_the_sphere():
    prior = priors.SphericalUniform(3)
    z = prior.draw(random.seeds(0, 10_000)).numpy()
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1.0, rtol=1e-5)
    # Seed 0, four standard errors: each coordinate has the variance 1/3 and the fourth moment 1/5.
    assert np.all(np.abs(z.mean(0)) < 4 * np.sqrt(1 / 3 / 10_000))
    assert np.all(np.abs((z**2).mean(0) - 1 / 3) < 4 * np.sqrt((1 / 5 - 1 / 9) / 10_000))
    np.testing.assert_allclose(prior().log_prob(z[:4]), np.full(4, -np.log(4 * np.pi)), rtol=1e-5)
    q = layers.VonMisesFisher(3)(tf.constant([[0.0, 2.0, 0.0, 5.0]]))
    kappa = np.float64(q.concentration)
    expected = kappa / np.tanh(kappa) - 1 + np.log(kappa / np.sinh(kappa))
    np.testing.assert_allclose(tfd.kl_divergence(q, prior()), expected, rtol=1e-4)


# ---- in a VAE ---------------------------------------------------------------------------------

FAMILY = {
    "mixture": lambda: vae_with(priors.GaussianMixture(L, 3)),
    "vamp": lambda: vae_with(priors.VampPrior(L, 4)),
    "vamp and objective": lambda: vae_with(priors.VampPrior(L, 4), draws=3, objective=IWAE()),
    "coupling": lambda: vae_with(flow("coupling", L)),
    "autoregressive": lambda: vae_with(flow("autoregressive", L)),
    "spline": lambda: vae_with(flow("spline", L, num_bins=4)),
    "sphere": lambda: vae_with(priors.SphericalUniform(L), layers.VonMisesFisher(L, seed=1)),
}


@pytest.mark.parametrize("name", FAMILY)
def test_trains_generates_and_is_saved(name, request, tmp_path):
    """In graphs those that `test_properties.py` does not try in them."""
    if name not in ("autoregressive", "vamp and objective"):
        request.getfixturevalue("without_graphs")
    vae = FAMILY[name]()
    vae.compile(keras.optimizers.Adam(0.01))
    before = [weight.numpy() for weight in vae.prior.trainable_weights]
    history = vae.fit(X, batch_size=6, epochs=2, verbose=0).history
    assert np.all(np.isfinite(list(history.values())))
    moved = [
        np.abs(weight.numpy() - old).max()
        for weight, old in zip(vae.prior.trainable_weights, before, strict=True)
    ]
    assert all(change > 1e-5 for change in moved)
    vae.save(tmp_path / "model.keras")
    loaded = tfvae.load(tmp_path / "model.keras")
    assert loaded.prior.get_config() == vae.prior.get_config()
    z = vae.prior.draw(random.seeds(0, 5))
    np.testing.assert_array_equal(loaded.prior.draw(random.seeds(0, 5)), z)
    np.testing.assert_allclose(loaded.prior().log_prob(z), vae.prior().log_prob(z), rtol=1e-6)
    np.testing.assert_array_equal(loaded.sample(3, seed=0), vae.sample(3, seed=0))
    assert negative_log_likelihood(X, loaded(X)).shape == (12,)


@pytest.mark.parametrize("name", [name for name in FAMILY if name != "vamp and objective"])
def test_a_draw_does_not_depend_on_its_batch(name):
    prior, seeds = FAMILY[name]().prior, random.seeds(7, 6)
    together = prior.draw(seeds).numpy()
    apart = np.concatenate([prior.draw(seeds[i : i + 1]) for i in range(6)])
    np.testing.assert_allclose(together, apart, rtol=1e-6, atol=1e-7)


WRONG = {
    "no components": (lambda: priors.GaussianMixture(2, 0), ValueError, "`num_components` must be"),
    "no pseudo-inputs": (lambda: priors.VampPrior(2, 0), ValueError, "`pseudo_inputs` must be"),
    "no covariance": (
        lambda: priors.GaussianMixture(2, 3, covariance="tied"),
        ValueError,
        "`covariance` must be one of",
    ),
    "a full covariance of matrices": (
        lambda: priors.GaussianMixture((2, 2), 3, covariance="full"),
        ValueError,
        "A full covariance is that of a vector",
    ),
    "no interval": (
        lambda: priors.VampPrior(2, 3, bounds=(1, 0)),
        ValueError,
        "`bounds` must be a lower and an upper one",
    ),
    "no model": (lambda: priors.VampPrior(2, 3)(), ValueError, "needs the encoder of a model"),
    "pseudo-inputs of another shape": (
        lambda: vae_with(priors.VampPrior(L, np.zeros((3, D + 1)))),
        ValueError,
        "`pseudo_inputs` must have the shape of data",
    ),
    "draws of a posterior with a covariance": (
        lambda: vae_with(priors.VampPrior(L, 3), layers.MultivariateNormalTriL(L)).prior.draw(
            random.seeds(0, 1)
        ),
        NotImplementedError,
        "posteriors of independent normal elements",
    ),
    "another kind": (
        lambda: priors.NormalizingFlow(2, "radial"),
        ValueError,
        "`kind` must be one of",
    ),
    "coupling of one": (lambda: priors.NormalizingFlow(1), ValueError, "at least 2 elements"),
    "splines of one": (
        lambda: priors.NormalizingFlow(1, "spline"),
        ValueError,
        "at least 2 elements",
    ),
    "splines without an end": (
        lambda: priors.NormalizingFlow(2, "spline", bound=np.inf),
        ValueError,
        "`bound` must be a positive number",
    ),
    "no bins": (
        lambda: priors.NormalizingFlow(2, "spline", num_bins=0),
        ValueError,
        "`num_bins` must be integers",
    ),
    "a flow of matrices": (
        lambda: priors.NormalizingFlow((2, 2)),
        ValueError,
        "The codes of a flow are vectors",
    ),
    "no layers": (
        lambda: priors.NormalizingFlow(2, num_layers=0),
        ValueError,
        "`num_layers`, `hidden_units` and `num_bins` must be integers",
    ),
    "a sphere of one": (
        lambda: priors.SphericalUniform(1),
        ValueError,
        "The codes on a sphere are vectors",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_refuses(name):
    make, error, message = WRONG[name]
    with pytest.raises(error, match=rf"{message}.*Received"):
        make()
