"""The total correlation by a discriminator: its value, its gradients and what it learns."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import tfvae
from tfvae import VAE, layers, priors, schedules
from tfvae.distributions import as_tensor_like
from tfvae.regularizers import AdversarialTotalCorrelation, KLDivergenceRegularizer
from tfvae.regularizers.adversarial_total_correlation import permute_dimensions
from tfvae.saving import load_checkpoint, save_checkpoint

B, D = 7, 3
RNG = np.random.default_rng(0)
PARAMS = RNG.normal(size=(B, 2 * D)).astype("f")


def cost(weight=2.0, hidden_units=(5, 4), **kwargs):
    keras.utils.set_random_seed(3)
    prior = priors.StandardNormal(D)
    return AdversarialTotalCorrelation(prior, weight, hidden_units, seed=5, **kwargs)


def posterior(draws=1):
    conversion = layers.Samples(draws) if draws > 1 else "sample"
    return layers.MultivariateNormalDiag(D, conversion, seed=1)


def logits(regularizer, z):
    """The discriminator's logit, in NumPy and float64."""
    *hidden, last = regularizer.discriminator.layers
    for dense in hidden:
        z = z @ np.float64(dense.kernel) + np.float64(dense.bias)
        z = np.where(z > 0, z, 0.2 * z)
    return (z @ np.float64(last.kernel) + np.float64(last.bias))[..., 0]


def test_codes_are_not_rounded_for_the_discriminator():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        regularizer, z = cost(), tf.constant(RNG.normal(size=(1, B, D)).astype("f"))
        seen = [regularizer._logits(z, trained=trained) for trained in (True, False)]
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-6)
    np.testing.assert_allclose(seen[0], logits(regularizer, np.float64(z)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("draws", [1, 3])
def test_the_terms_and_the_cost_are_the_formulas(draws):
    regularizer = cost(2.0)
    q = posterior(draws)(PARAMS)
    z = np.float64(tf.convert_to_tensor(q)).reshape(draws, B, D)
    y = np.float64(permute_dimensions(tf.constant(z, "float32"), tf.constant([5, 0])))
    own, others = logits(regularizer, z), logits(regularizer, y)
    cross_entropy = np.logaddexp(0, -own).mean(0) / 2 + np.logaddexp(0, others).mean(0) / 2
    kl = KLDivergenceRegularizer(priors.StandardNormal(D))(q)
    terms = regularizer.terms(q)
    assert tuple(terms) == regularizer.term_names
    np.testing.assert_allclose(terms["kl"], kl, rtol=1e-6)
    np.testing.assert_allclose(terms["total_correlation"], own.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(terms["discriminator"], cross_entropy, rtol=1e-5)
    total = regularizer.combine(terms)
    np.testing.assert_allclose(total, kl + 2.0 * own.mean(0), rtol=1e-4, atol=1e-6)


def gradients(weight):
    """Of the mean cost: with respect to the posterior's parameters and to the discriminator."""
    regularizer = cost(weight)
    params = tf.Variable(PARAMS)
    with tf.GradientTape() as tape:
        total = tf.reduce_mean(regularizer(posterior()(params)))
    weights = regularizer.trainable_weights
    assert len(weights) == 6
    of_params, *of_weights = tape.gradient(total, [params, *weights])
    return of_params.numpy(), [gradient.numpy() for gradient in of_weights]


def test_each_group_of_weights_has_the_gradient_of_its_own_loss():
    # The VAE's: of KL + weight * logit with a fixed discriminator, nothing of the cross-entropy.
    regularizer = cost()
    params = tf.Variable(PARAMS)
    with tf.GradientTape(persistent=True) as tape:
        q = posterior()(params)
        z = tf.convert_to_tensor(q)
        kl = tf.reduce_mean(KLDivergenceRegularizer(priors.StandardNormal(D))(q))
        logit = tf.reduce_mean(regularizer.discriminator(z))
        y = permute_dimensions(z[tf.newaxis], tf.constant([5, 0]))[0]
        log_own = tf.math.log_sigmoid(regularizer.discriminator(tf.stop_gradient(z)))
        log_other = tf.math.log_sigmoid(-regularizer.discriminator(tf.stop_gradient(y)))
        cross_entropy = -tf.reduce_mean(log_own + log_other) / 2
    of_kl, of_logit = tape.gradient(kl, params), tape.gradient(logit, params)
    # The discriminator's: of the cross-entropy of fixed codes, whatever the weight.
    expected = tape.gradient(cross_entropy, regularizer.trainable_weights)
    assert np.abs(of_logit).max() > 1e-3
    for weight in (0.0, 2.0, 50.0):
        of_params, of_weights = gradients(weight)
        np.testing.assert_allclose(of_params, of_kl + weight * of_logit, rtol=1e-4, atol=1e-6)
        for found, gradient in zip(of_weights, expected, strict=True):
            assert np.abs(gradient).max() > 1e-4
            np.testing.assert_allclose(found, gradient, rtol=1e-4, atol=1e-7)


def test_a_permutation_keeps_the_marginals_and_breaks_the_dependence():
    # Seed (1, 2); two draws of 4,000 codes whose elements are equal; four standard errors.
    n = 4000
    z = tf.repeat(tf.random.stateless_normal([2, n, 1], [3, 4]), 3, axis=2)
    permuted = permute_dimensions(z, tf.constant([1, 2])).numpy()
    np.testing.assert_array_equal(np.sort(permuted, axis=1), np.sort(z, axis=1))
    columns = np.concatenate([permuted[0], permuted[1], z[0, :, :1]], axis=1)
    correlation = np.corrcoef(columns.T)[np.triu_indices(7, 1)]
    assert np.abs(correlation).max() < 4 / np.sqrt(n)


def test_every_order_is_as_likely_as_another():
    # 6,000 permutations of three, seed (8, 9): counts of 1,000 with four standard errors.
    z = tf.repeat(tf.range(3.0)[tf.newaxis, :, tf.newaxis], 6000, axis=0)
    orders = permute_dimensions(z, tf.constant([8, 9])).numpy()[..., 0]
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 6
    assert np.abs(counts - 1000).max() < 4 * np.sqrt(6000 * 1 / 6 * 5 / 6)


def test_trained_on_gaussians_it_finds_their_total_correlation():
    """Which is -1/2 log det R for correlations R.

    Seeds 1 and 3. What is left after 600 steps of a discriminator of 32-32 units is its own error,
    0.03 nats in a few trials, and not the noise of 50,000 codes, whose standard error is 0.004.
    """
    correlations = np.array([[1, 0.8, 0.3], [0.8, 1, 0.5], [0.3, 0.5, 1]])
    chol = np.linalg.cholesky(correlations).T.astype("f")
    regularizer = cost(hidden_units=(32, 32))
    weights, steps = regularizer.trainable_weights, 600
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, steps))
    optimizer.build(weights)

    def codes(size, seed):
        z = tf.random.stateless_normal([size, D], [1, seed]) @ chol
        return as_tensor_like(tfd.MultivariateNormalDiag(tf.zeros([size, D])), z, is_draw=True)

    @tf.function
    def train():
        for step in tf.range(steps):
            with tf.GradientTape() as tape:
                total = tf.reduce_mean(regularizer(codes(256, step)))
            optimizer.apply(tape.gradient(total, weights), weights)

    untrained = regularizer.terms(codes(50000, -1))
    train()
    trained = regularizer.terms(codes(50000, -1))
    expected = -0.5 * np.log(np.linalg.det(correlations))
    assert expected == pytest.approx(0.6735, abs=1e-4)
    assert np.mean(trained["total_correlation"]) == pytest.approx(expected, abs=0.06)
    assert abs(np.mean(untrained["total_correlation"]) - expected) > 0.3
    assert np.mean(trained["discriminator"]) < np.log(2) - 0.1


# ---- in a VAE -----------------------------------------------------------------------------------

X = np.random.default_rng(1).uniform(size=(24, 6)).astype("f")


def make(weight=2.0, **options):
    regularizer = cost(weight)
    encoder = [keras.Input((6,)), keras.layers.Dense(2 * D), posterior()]
    likelihood = layers.IndependentNormal(6, scale=0.5, seed=2)
    decoder = [keras.Input((D,)), keras.layers.Dense(6), likelihood]
    vae = VAE(keras.Sequential(encoder), keras.Sequential(decoder), regularizer=regularizer)
    vae.compile(keras.optimizers.Adam(0.01), **options)
    return vae


def values(vae):
    variables = vae.variables + vae.optimizer.variables
    return [np.array(variable) for variable in variables]


def assert_equal(one, other):
    for a, b in zip(values(one), values(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_fit_trains_the_discriminator_and_evaluate_does_not():
    vae, single = (make(schedules.LinearWarmup(4, stop=3.0), steps_per_execution=k) for k in (3, 1))
    discriminator = vae.regularizer.discriminator
    before = discriminator.get_weights()
    options = {"batch_size": 8, "epochs": 2, "verbose": 0, "shuffle": False}
    history = vae.fit(X, **options).history
    single.fit(X, **options)
    assert_equal(vae, single)
    # The cost is the VAE's, without the discriminator's loss; the weight is that of each step.
    assert set(history) == {"loss", "nll", *vae.regularizer.term_names, "gamma"}
    trained = discriminator.get_weights()
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(before, trained, strict=True))
    found = vae.evaluate(X, verbose=0, return_dict=True)
    charged = found["kl"] + found["gamma"] * found["total_correlation"]
    assert found["gamma"] == 3.0
    assert found["loss"] == pytest.approx(found["nll"] + charged, rel=1e-5)
    for a, b in zip(discriminator.get_weights(), trained, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_resumed_training_goes_on_bit_for_bit(tmp_path):
    vae = make(run_eagerly=True)
    vae.fit(X, batch_size=8, verbose=0, shuffle=False)
    save_checkpoint(tmp_path, vae, {"step": 3})
    resumed = make(run_eagerly=True)
    load_checkpoint(tmp_path, resumed)
    vae.save(tmp_path / "model.keras")
    loaded = tfvae.load(tmp_path / "model.keras")
    loaded.run_eagerly = True
    for model in (vae, resumed, loaded):
        model.fit(X, batch_size=8, verbose=0, shuffle=False)
    # Its moments are among the optimizer's, and its noise is a weight.
    assert_equal(vae, resumed)
    assert_equal(vae, loaded)
    assert int(vae.optimizer.iterations) == 6


REFUSED = {
    "no prior": (lambda: AdversarialTotalCorrelation(None), TypeError, "`prior` must be a layer"),
    "a negative weight": (lambda: cost(-1.0), ValueError, "`weight` must be a finite"),
    "no units": (lambda: cost(hidden_units=(4, 0)), ValueError, "`hidden_units` must be an intege"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name):
    make, error, message = REFUSED[name]
    with pytest.raises(error, match=rf"{message}.*Received"):
        make()
