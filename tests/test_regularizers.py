"""The divergence in a model's loss: the analytic KL, counted once, whatever the model's shape."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import tfvae
from tfvae import layers, priors
from tfvae.losses import NegativeLogLikelihood
from tfvae.regularizers import KLDivergenceRegularizer, LatentRegularizer

INPUTS, D = 5, 3
X = np.random.default_rng(0).normal(size=(64, INPUTS)).astype("f")
PRIOR_LOC, PRIOR_SCALE = np.float32([0.3, -1.0, 0.0]), np.float32([0.5, 1.0, 2.0])
# Float32: the roundings of a sum of nine terms and of a mean of 64.
FLOAT32 = 2e-6


def numpy_kl(loc, scale, prior_loc=0.0, prior_scale=1.0):
    """KL(N(loc, scale) || N(prior_loc, prior_scale)) for each row, in float64."""
    loc, scale, prior_loc, prior_scale = map(np.float64, (loc, scale, prior_loc, prior_scale))
    ratio = (scale / prior_scale) ** 2
    return 0.5 * (ratio + ((loc - prior_loc) / prior_scale) ** 2 - 1 - np.log(ratio)).sum(-1)


def posterior(dense, x):
    """Mean and scale, in float64, of the posterior whose parameters a Dense layer computes."""
    params = np.float64(x) @ np.float64(dense.kernel) + np.float64(dense.bias)
    return params[:, :D], np.logaddexp(0, params[:, D:]) + 1e-5


def trained_prior():
    prior = priors.TrainableNormal(D)
    prior.loc.assign(PRIOR_LOC)
    prior.raw_scale.assign(np.log(np.expm1(np.float64(PRIOR_SCALE) - 1e-5)))
    return prior


# ---- the models -------------------------------------------------------------------------------


def parts(regularizer, draws):
    """An encoder's Dense layer, its posterior, and a decoder."""
    keras.utils.set_random_seed(0)
    conversion = "sample" if draws == 1 else layers.Samples(draws)
    return [
        keras.layers.Dense(2 * D, bias_initializer="random_normal"),
        layers.MultivariateNormalDiag(D, conversion, activity_regularizer=regularizer, seed=1),
        keras.layers.Dense(INPUTS),
        layers.IndependentNormal(INPUTS, scale=0.5),
    ]


class Subclassed(keras.Model):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x):
        for part in self.inner:
            x = part(x)
        return x


def chain(parts, x):
    for part in parts:
        x = part(x)
    return x


def functional(parts):
    inputs = keras.Input((INPUTS,))
    return keras.Model(inputs, chain(parts, inputs))


def sequential(parts):
    return keras.Sequential([keras.Input((INPUTS,)), *parts])


def nested(parts):
    """A Functional encoder in a Sequential model in a subclassed one."""
    inputs = keras.Input((INPUTS,))
    encoder = keras.Model(inputs, chain(parts[:2], inputs))
    return Subclassed([keras.Sequential([encoder]), *parts[2:]])


STRUCTURES = {
    "functional": functional,
    "sequential": sequential,
    "subclassed": Subclassed,
    "nested": nested,
}


# ---- the closed form --------------------------------------------------------------------------


@pytest.mark.parametrize("draws", [1, 5])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_loss_holds_the_analytic_divergence_once(structure, draws):
    made = parts(KLDivergenceRegularizer(priors.StandardNormal(D)), draws)
    model = STRUCTURES[structure](made)
    for batch in (1, 7, 64):
        model(X[:batch])
        (added,) = model.losses
        expected = numpy_kl(*posterior(made[0], X[:batch])).mean()
        np.testing.assert_allclose(added, expected, rtol=FLOAT32, err_msg=f"batch {batch}")


@pytest.mark.parametrize("structure", STRUCTURES)
def test_what_evaluate_reports_is_the_likelihood_plus_one_divergence(structure):
    made = parts(KLDivergenceRegularizer(priors.StandardNormal(D)), 1)
    model = STRUCTURES[structure](made)
    model(X[:1])
    made[1].convert_to_tensor_fn = "mean"
    model.compile(loss=NegativeLogLikelihood())
    kl = numpy_kl(*posterior(made[0], X)).mean()
    nll = -np.mean(model(X).log_prob(X))
    # 7 divides neither 64 nor the batch: the last batch has one example, and counts as one.
    assert model.evaluate(X, X, batch_size=7, verbose=0) == pytest.approx(nll + kl, rel=3e-6)


def test_the_symbolic_call_of_a_functional_model_adds_nothing():
    made = parts(KLDivergenceRegularizer(priors.StandardNormal(D)), 1)
    model = functional(made)
    for _ in range(3):
        model(X)
    assert len(model.losses) == 1


WEIGHTS = {
    "zero": lambda: 0.0,
    "float": lambda: 0.5,
    "integer": lambda: 4,
    "variable": lambda: keras.Variable(0.25, trainable=False),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_the_weight_is_a_factor(kind):
    weight = WEIGHTS[kind]()
    made = parts(KLDivergenceRegularizer(priors.StandardNormal(D), weight=weight), 5)
    model = functional(made)
    model(X)
    expected = float(weight) * numpy_kl(*posterior(made[0], X)).mean()
    np.testing.assert_allclose(model.losses, [expected], rtol=FLOAT32)


def test_a_weight_can_be_learned():
    weight = keras.Variable(0.25)
    regularizer = KLDivergenceRegularizer(priors.StandardNormal(D), weight=weight)
    model = functional(parts(regularizer, 1))
    assert any(weight is variable for variable in model.trainable_variables)
    with tf.GradientTape() as tape:
        model(X)
        (cost,) = model.losses
    np.testing.assert_allclose(tape.gradient(cost, weight.value), cost / 0.25, rtol=FLOAT32)


def fixed_prior():
    return tfd.MultivariateNormalDiag(PRIOR_LOC, PRIOR_SCALE)


PRIORS = {"layer": trained_prior, "distribution": fixed_prior, "function": lambda: fixed_prior}


@pytest.mark.parametrize("kind", PRIORS)
def test_every_kind_of_prior(kind):
    made = parts(KLDivergenceRegularizer(PRIORS[kind]()), 5)
    model = functional(made)
    model(X)
    expected = numpy_kl(*posterior(made[0], X), PRIOR_LOC, PRIOR_SCALE).mean()
    np.testing.assert_allclose(model.losses, [expected], rtol=FLOAT32)


def test_a_trainable_prior_is_trained_towards_the_posterior():
    prior = trained_prior()
    made = parts(KLDivergenceRegularizer(prior), 1)
    model = functional(made)
    with tf.GradientTape() as tape:
        model(X)
        (cost,) = model.losses
    by_loc, by_raw = tape.gradient(cost, prior.trainable_weights)
    loc, scale = posterior(made[0], X)
    precision = 1 / np.float64(PRIOR_SCALE) ** 2
    moved = PRIOR_LOC - loc
    np.testing.assert_allclose(by_loc, (moved * precision).mean(0), rtol=1e-5)
    by_scale = (1 / PRIOR_SCALE - (scale**2 + moved**2) / np.float64(PRIOR_SCALE) ** 3).mean(0)
    # The derivative of softplus where softplus is s: 1 - exp(-s).
    np.testing.assert_allclose(by_raw, by_scale * -np.expm1(-PRIOR_SCALE), rtol=1e-4)
    assert {id(w) for w in prior.trainable_weights} <= {id(w) for w in model.trainable_weights}


def test_trained_weights_of_the_prior_and_the_factor_are_saved(tmp_path):
    regularizer = KLDivergenceRegularizer(trained_prior(), weight=keras.Variable(0.25))
    made = parts(regularizer, 5)
    model = functional(made)
    model(X)
    model.save(tmp_path / "model.keras")
    loaded = tfvae.load(tmp_path / "model.keras")
    loaded(X)
    expected = 0.25 * numpy_kl(*posterior(made[0], X), PRIOR_LOC, PRIOR_SCALE).mean()
    np.testing.assert_allclose(loaded.losses, [expected], rtol=FLOAT32)
    assert len(loaded.trainable_weights) == len(model.trainable_weights) == 4 + 2 + 1


def test_parts_of_the_latent_are_added():
    regularizer = KLDivergenceRegularizer(priors.StandardNormal(D))
    params = np.random.default_rng(1).normal(size=(7, 4, 2 * D)).astype("f")
    layer = layers.MultivariateNormalDiag(D, activity_regularizer=regularizer)
    layer(params)
    scale = np.logaddexp(0, np.float64(params[..., D:])) + 1e-5
    expected = numpy_kl(params[..., :D], scale).sum(1).mean()
    np.testing.assert_allclose(layer.losses, [expected], rtol=FLOAT32)


# ---- Monte Carlo ------------------------------------------------------------------------------


def test_monte_carlo_is_unbiased_within_its_standard_error():
    # Seed 1; S = 5 draws for B = 4 examples, 2,000 calls; four standard errors.
    calls = 2000
    made = parts(KLDivergenceRegularizer(trained_prior(), exact=False), 5)
    model = functional(made)

    @tf.function
    def added(_):
        model(X[:4])
        return tf.add_n(model.losses)

    costs = tf.map_fn(added, tf.zeros(calls)).numpy().astype(np.float64)
    expected = numpy_kl(*posterior(made[0], X[:4]), PRIOR_LOC, PRIOR_SCALE).mean()
    standard_error = costs.std(ddof=1) / np.sqrt(calls)
    assert abs(costs.mean() - expected) < 4 * standard_error
    assert standard_error < 0.01 * expected


def test_monte_carlo_uses_the_draws_that_the_decoder_sees():
    regularizer = KLDivergenceRegularizer(priors.StandardNormal(D), exact=False)
    made = parts(regularizer, 5)
    q = chain(made[:2], X[:4])
    z = tf.convert_to_tensor(q).numpy()
    loc, scale = posterior(made[0], X[:4])
    log_ratio = (-0.5 * ((z - loc) / scale) ** 2 - np.log(scale) + 0.5 * z**2).sum(-1)
    np.testing.assert_allclose(regularizer(q), log_ratio.mean(0), rtol=1e-4)
    np.testing.assert_allclose(made[1].losses, [log_ratio.mean()], rtol=1e-5)


def test_more_samples_than_the_decoder_sees():
    regularizer = KLDivergenceRegularizer(priors.StandardNormal(D), exact=False, num_samples=4000)
    made = parts(regularizer, 1)
    tf.random.set_seed(0)
    kl = regularizer(chain(made[:2], X[:4]))
    loc, scale = posterior(made[0], X[:4])
    z = loc + scale * np.random.default_rng(0).normal(size=(10_000, 4, D))
    log_ratio = (-0.5 * ((z - loc) / scale) ** 2 - np.log(scale) + 0.5 * z**2).sum(-1)
    # Seed 0, 4,000 draws, four standard errors.
    assert kl.shape == (4,)
    assert np.all(np.abs(kl - numpy_kl(loc, scale)) < 4 * log_ratio.std(0) / np.sqrt(4000))


def test_auto_takes_the_closed_form_where_there_is_one_and_draws_where_not():
    params = np.random.default_rng(1).normal(size=(7, 2 * D)).astype("f")
    q = layers.MultivariateNormalDiag(D, seed=1)(params)
    exact = KLDivergenceRegularizer(fixed_prior(), exact=True)
    auto = KLDivergenceRegularizer(fixed_prior())
    np.testing.assert_array_equal(auto(q), exact(q))
    mixture = tfd.MixtureSameFamily(
        tfd.Categorical(logits=[0.0, 0.0]),
        tfd.MultivariateNormalDiag(tf.ones((2, D)), tf.ones((2, D))),
    )
    drawn = KLDivergenceRegularizer(mixture)(q)
    np.testing.assert_allclose(drawn, q.log_prob(q) - mixture.log_prob(q), rtol=1e-5)
    with pytest.raises(NotImplementedError, match=r"no closed form .*Received: exact=True"):
        KLDivergenceRegularizer(mixture, exact=True)(q)


# ---- the layer itself -------------------------------------------------------------------------


def test_terms_are_unweighted_and_combine_weighs():
    regularizer = KLDivergenceRegularizer(priors.StandardNormal(D), weight=3.0)
    q = tfd.MultivariateNormalDiag(tf.ones((2, D)), tf.ones((2, D)))
    terms = regularizer.terms(q)
    assert tuple(terms) == regularizer.term_names == ("kl",)
    np.testing.assert_allclose(terms["kl"], [1.5, 1.5], rtol=FLOAT32)
    np.testing.assert_allclose(regularizer.combine(terms), [4.5, 4.5], rtol=FLOAT32)
    np.testing.assert_allclose(regularizer(q), [4.5, 4.5], rtol=FLOAT32)


class MeanSquare(LatentRegularizer):
    """A regulariser of the user's: the square of the posterior's mean."""

    term_names = ("square",)

    def terms(self, q):
        return {"square": tf.reduce_sum(q.mean() ** 2, axis=-1)}

    def combine(self, terms):
        return 0.5 * terms["square"]


def test_a_regulariser_of_the_users_is_two_methods():
    made = parts(MeanSquare(), 5)
    model = functional(made)
    model(X)
    loc, _ = posterior(made[0], X)
    np.testing.assert_allclose(model.losses, [0.5 * (loc**2).sum(-1).mean()], rtol=FLOAT32)


def test_a_distribution_as_prior_cannot_be_saved():
    with pytest.raises(ValueError, match=r"layer of `tfvae.priors` such as `StandardNormal\(16\)`"):
        KLDivergenceRegularizer(fixed_prior()).get_config()


def test_a_lambda_as_prior_cannot_be_saved():
    with pytest.raises(ValueError, match=r"`prior` cannot be saved: .* Received: <function"):
        KLDivergenceRegularizer(lambda: fixed_prior()).get_config()


def test_refuses_a_tensor():
    with pytest.raises(TypeError, match=r"regularises a distribution: .* Received: .*tf.Tensor"):
        KLDivergenceRegularizer(priors.StandardNormal(D))(tf.zeros((2, D)))


WRONG = {
    "no prior": ({"prior": None}, TypeError, "`prior` must be a layer of `tfvae.priors`"),
    "a number as prior": ({"prior": 1.0}, TypeError, "`prior` must be a layer of `tfvae.priors`"),
    "a negative weight": ({"weight": -0.1}, ValueError, "`weight` must be a finite number"),
    "an infinite weight": ({"weight": float("inf")}, ValueError, "`weight` must be a finite"),
    "a weight that is NaN": ({"weight": float("nan")}, ValueError, "`weight` must be a finite"),
    "a truth as weight": ({"weight": True}, ValueError, "`weight` must be a finite number"),
    "a word as weight": ({"weight": "1"}, ValueError, "`weight` must be a finite number"),
    "no samples": ({"num_samples": 0}, ValueError, "`num_samples` must be an integer"),
    "half a sample": ({"num_samples": 1.5}, ValueError, "`num_samples` must be an integer"),
    "another exact": ({"exact": "no"}, ValueError, "`exact` must be True, False or 'auto'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_refuses(name):
    arguments, error, message = WRONG[name]
    with pytest.raises(error, match=rf"{message}.*Received"):
        KLDivergenceRegularizer(**{"prior": priors.StandardNormal(D), **arguments})
