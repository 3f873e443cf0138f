"""The divergence as a regulariser and as a layer: TFP's options, once, and the batch's mean."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae import layers, priors
from tfvae.divergences import monte_carlo_kl
from tfvae.layers import KLDivergenceAddLoss, KLDivergenceRegularizer, Samples
from tfvae.losses import NegativeLogLikelihood

# S, B and D differ from each other, so that no broadcast can hide a wrong axis.
S, B, D = 5, 4, 3
RNG = np.random.default_rng(2)
PARAMS = RNG.normal(size=(B, 2 * D)).astype("f")
PRIOR = tfd.MultivariateNormalDiag(tf.zeros(D), tf.ones(D))


def posterior(**options):
    return layers.MultivariateNormalDiag(D, **options)(PARAMS)


def exact():
    loc, raw = np.split(np.float64(PARAMS), 2, axis=1)
    scale = np.logaddexp(0, raw) + 1e-5
    return 0.5 * (scale**2 + loc**2 - 1 - 2 * np.log(scale)).sum(-1)


# ---- test points --------------------------------------------------------------------------------


def test_draws_are_averaged_and_the_batch_is_kept():
    q = posterior().tensor_distribution
    z = q.sample(S, seed=(1, 2))
    log_ratio = (q.log_prob(z) - PRIOR.log_prob(z)).numpy()
    assert log_ratio.shape == (S, B)
    for axis in ("draws", 0, [0], -2):
        np.testing.assert_allclose(monte_carlo_kl(q, PRIOR, z, axis), log_ratio.mean(0), rtol=1e-6)
    for axis in (None, [0, 1], [0, -1]):
        everywhere = np.full(B, log_ratio.mean())
        np.testing.assert_allclose(monte_carlo_kl(q, PRIOR, z, axis), everywhere, rtol=1e-6)


def test_a_single_draw_needs_no_axis():
    q = posterior().tensor_distribution
    z = q.sample(seed=(1, 2))
    expected = q.log_prob(z) - PRIOR.log_prob(z)
    for axis in ("draws", ()):
        np.testing.assert_allclose(monte_carlo_kl(q, PRIOR, z, axis), expected, rtol=1e-6)


def test_further_batch_dimensions_are_added():
    q = tfd.Normal(RNG.normal(size=(B, D)).astype("f"), 0.5)
    z = q.sample(S, seed=(1, 2))
    prior = tfd.Normal(0.0, 1.0)
    log_ratio = q.log_prob(z) - prior.log_prob(z)
    expected = tf.reduce_sum(tf.reduce_mean(log_ratio, axis=0), axis=-1)
    np.testing.assert_allclose(monte_carlo_kl(q, prior, z), expected, rtol=1e-6)
    # A mean over them, where one is asked for.
    expected = tf.reduce_mean(log_ratio, axis=[0, 2])
    np.testing.assert_allclose(monte_carlo_kl(q, prior, z, [0, 2]), expected, rtol=1e-6)


@pytest.mark.parametrize("axis", [(), 1, [1], 2, [0, 5]])
def test_draws_are_never_added_up(axis):
    q = posterior().tensor_distribution
    with pytest.raises(ValueError, match=r"the axes \[0\] of 2.*Received: reduce_axis="):
        monte_carlo_kl(q, PRIOR, q.sample(S, seed=(1, 2)), axis)


def test_test_points_are_those_of_the_function():
    q = posterior()
    points = q.tensor_distribution.sample(S, seed=(3, 4))
    cost = KLDivergenceRegularizer(PRIOR, test_points_fn=lambda d: points, weight=0.5)(q)
    np.testing.assert_allclose(cost, 0.5 * monte_carlo_kl(q, PRIOR, points), rtol=1e-6)


def test_many_test_points_approach_the_closed_form():
    q = posterior()
    cost = KLDivergenceRegularizer(PRIOR, test_points_fn=Samples(20_000))(q)
    points = q.sample(1000, seed=(1, 2))
    error = 5 * np.std(q.log_prob(points) - PRIOR.log_prob(points), axis=0) / np.sqrt(20_000)
    np.testing.assert_array_less(np.abs(cost - exact()), error)


def test_the_estimate_takes_the_draw_of_the_layer():
    q = posterior(seed=7)
    z = tf.convert_to_tensor(q)
    expected = q.log_prob(z) - PRIOR.log_prob(z)
    for options in ({"use_exact_kl": False}, {"exact": False}, {"test_points_reduce_axis": ()}):
        np.testing.assert_allclose(
            KLDivergenceRegularizer(PRIOR, **options)(q), expected, rtol=1e-6
        )


@pytest.mark.parametrize("options", [{}, {"use_exact_kl": True}, {"exact": True}, {"weight": None}])
def test_the_closed_form(options):
    np.testing.assert_allclose(
        KLDivergenceRegularizer(PRIOR, **options)(posterior()), exact(), 1e-5
    )


CONTRADICTIONS = [
    ({"exact": True, "use_exact_kl": False}, "two names of one choice"),
    ({"exact": False, "use_exact_kl": True}, "two names of one choice"),
    ({"use_exact_kl": True, "test_points_fn": Samples(2)}, "no test points"),
    ({"exact": True, "test_points_reduce_axis": 0}, "no test points"),
    ({"num_samples": 3, "test_points_fn": Samples(2)}, "give one of them"),
    ({"use_exact_kl": "auto"}, "`use_exact_kl` must be True, False or None"),
    ({"test_points_reduce_axis": "all"}, "`test_points_reduce_axis` must be 'draws'"),
    ({"test_points_fn": "middle"}, "`test_points_fn` must be one of"),
    ({"num_samples": 0}, "`num_samples` .* Received: 0"),
]


@pytest.mark.parametrize("cls", [KLDivergenceRegularizer, KLDivergenceAddLoss])
@pytest.mark.parametrize(("options", "message"), CONTRADICTIONS)
def test_contradictions(cls, options, message):
    with pytest.raises(ValueError, match=message):
        cls(PRIOR, **options)


def test_a_prior_that_nobody_would_train_is_refused():
    prior = tfd.MultivariateNormalDiag(tf.Variable(tf.zeros(D)), tf.ones(D))
    with pytest.raises(ValueError, match=r"does not train .* 1 variable\(s\)"):
        KLDivergenceRegularizer(prior)
    with pytest.raises(TypeError, match="`prior` must be a layer"):
        KLDivergenceRegularizer(0.0)


# ---- the layer ----------------------------------------------------------------------------------


@pytest.mark.parametrize("draws", [1, S])
def test_passes_the_distribution_on_and_adds_the_mean_once(draws):
    layer = KLDivergenceAddLoss(PRIOR, weight=0.5)
    q = posterior(convert_to_tensor_fn=Samples(draws))
    out = layer(q)
    assert out is q
    np.testing.assert_allclose(layer.losses, [0.5 * exact().mean()], rtol=1e-5)


def test_refuses_a_tensor():
    with pytest.raises(TypeError, match="regularises a distribution"):
        KLDivergenceAddLoss(PRIOR)(tf.zeros([B, D]))


def model(head, *regularising):
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(2 * D),
            head,
            *regularising,
            keras.layers.Dense(4),
            layers.IndependentNormal(4, scale=1.0),
        ]
    )


def test_equals_the_regulariser_of_the_layer():
    x = RNG.normal(size=(B, 6)).astype("f")
    behind = model(layers.MultivariateNormalDiag(D), KLDivergenceAddLoss(PRIOR))
    inside = model(
        layers.MultivariateNormalDiag(D, activity_regularizer=KLDivergenceRegularizer(PRIOR))
    )
    behind(x), inside(x)
    inside.layers[0].set_weights(behind.layers[0].get_weights())
    behind(x), inside(x)
    np.testing.assert_allclose(behind.losses, inside.losses, rtol=1e-6)


def test_what_it_owns_is_trained_saved_and_loaded(tmp_path):
    beta = keras.Variable(0.7, name="beta")
    layer = KLDivergenceAddLoss(priors.TrainableNormal(D), weight=beta, test_points_fn=Samples(2))
    trained = model(layers.MultivariateNormalDiag(D), layer)
    names = [weight.name for weight in layer.trainable_weights]
    assert sorted(names) == ["beta", "loc", "raw_scale"]
    assert {id(w) for w in layer.trainable_weights} < {id(w) for w in trained.trainable_weights}
    x, y = RNG.normal(size=(8, 6)).astype("f"), RNG.normal(size=(8, 4)).astype("f")
    before = [weight.numpy().copy() for weight in layer.trainable_weights]
    trained.compile("adam", NegativeLogLikelihood(), jit_compile=True)
    trained.fit(x, y, verbose=0)
    for old, new in zip(before, layer.trainable_weights, strict=True):
        assert not np.array_equal(old, new)
    trained.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for ours, theirs in zip(trained.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    kept = loaded.layers[2].regularizer
    assert kept.test_points_fn.num_samples == 2
    assert kept.exact is False


def test_in_a_functional_model_the_encoder_outputs_the_distribution():
    inputs = keras.Input((6,))
    q = layers.MultivariateNormalTriL(D)(keras.layers.Dense(9)(inputs))
    encoder = keras.Model(inputs, KLDivergenceAddLoss(priors.StandardNormal(D))(q))
    out = encoder(RNG.normal(size=(B, 6)).astype("f"))
    assert isinstance(out, tfd.MultivariateNormalTriL)
    expected = tf.reduce_mean(tfd.kl_divergence(out.tensor_distribution, PRIOR))
    np.testing.assert_allclose(encoder.losses, [expected], rtol=1e-5)
    decoder = keras.Sequential([layers.IndependentNormal(D, scale=1.0)])
    assert isinstance(
        keras.Model(inputs, decoder(encoder(inputs)))(tf.zeros([B, 6])), tfd.Independent
    )


def test_a_model_as_prior_is_trained(tmp_path):
    """TFP's idiom of a trainable prior: a variable, and a layer that makes a distribution of it."""
    prior = keras.Sequential([layers.VariableLayer(9), layers.MultivariateNormalTriL(D)])
    regularizer = KLDivergenceRegularizer(prior)
    trained = model(layers.MultivariateNormalDiag(D, activity_regularizer=regularizer))
    x, y = RNG.normal(size=(8, 6)).astype("f"), RNG.normal(size=(8, 4)).astype("f")
    trained.compile("sgd", NegativeLogLikelihood())
    trained.fit(x, y, verbose=0)
    (constant,) = [w for w in trained.trainable_weights if w.name == "constant"]
    assert np.abs(constant).max() > 0
    trained.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for ours, theirs in zip(trained.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
