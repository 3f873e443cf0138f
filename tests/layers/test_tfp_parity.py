"""The distribution layers against those of `tfp.layers`, which run on tf_keras in this process.

Parameters in; shapes, statistics, log-probabilities and divergences out. What differs on purpose
stands in `ACCEPTED`, each with its reason; a difference that is not there fails, and so does an
entry that has become untrue.
"""

from __future__ import annotations

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfvae import layers
from tfvae.flows import AutoregressiveNetwork

tfpl = tfp.layers
RNG = np.random.default_rng(3)
B, K = 3, 4

# ---- what differs, and why ----------------------------------------------------------------------

ONE_DIVERGENCE = (
    "the regulariser of the latent is one class of the house, in which `exact`, `num_samples` and "
    "TFP's options have one order; TFP's are keywords"
)
ACCEPTED = {
    ("IndependentPoisson", "__init__", "convert_to_tensor_fn"): (
        "the mean, not a draw: a count takes longer to draw than the step around it"
    ),
    **{
        (name, "__init__", argument): reason
        for name in ("KLDivergenceAddLoss", "KLDivergenceRegularizer")
        for argument, reason in {
            "distribution_b": "called `prior`, first as there: it is one in every use",
            "use_exact_kl": "None, for `exact='auto'`: the closed form where there is one. "
            + ONE_DIVERGENCE,
            "test_points_reduce_axis": "the axes of the draws: TFP adds draws up. "
            + ONE_DIVERGENCE,
            "test_points_fn": "None, for the draw of the layer itself. " + ONE_DIVERGENCE,
            "weight": "1.0, which None also stands for. " + ONE_DIVERGENCE,
        }.items()
    },
}
# Every name of the distribution layers. The variational layers have a test of their own.
VARIATIONAL = {
    name for name in dir(tfpl) if name.startswith(("Convolution", "Dense", "default_"))
} | {"BlockwiseInitializer", "VariableLayer"}
NAMES = sorted(
    name for name in dir(tfpl) if inspect.isclass(getattr(tfpl, name)) and name not in VARIATIONAL
)


def test_every_public_name_is_here():
    public = [n for n in dir(tfpl) if not (n.startswith("_") or inspect.ismodule(getattr(tfpl, n)))]
    assert len(public) == 30
    assert [name for name in public if not hasattr(layers, name)] == []
    assert len(NAMES) == 15


# ---- signatures ---------------------------------------------------------------------------------


def arguments(function):
    parameters = inspect.signature(function).parameters.values()
    return {
        p.name: p.default
        for p in parameters
        if p.name != "self" and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    }


def same_default(ours, theirs):
    if isinstance(theirs, tf_keras.initializers.Constant):
        return isinstance(ours, keras.initializers.Constant) and ours.value == theirs.value
    if theirs is tfp.distributions.Distribution.sample:
        return ours is theirs
    return type(ours) is type(theirs) and ours == theirs


METHODS = [
    (name, method)
    for name in NAMES
    for method in ("__init__", "new", "params_size")
    if hasattr(getattr(tfpl, name), method)
]


@pytest.mark.parametrize(("name", "method"), METHODS)
def test_signatures(name, method):
    ours = arguments(getattr(getattr(layers, name), method))
    theirs = arguments(getattr(getattr(tfpl, name), method))
    places = {argument: place for place, argument in enumerate(ours)}
    different = {
        argument
        for place, (argument, default) in enumerate(theirs.items())
        if places.get(argument) != place or not same_default(ours[argument], default)
    }
    accepted = {key[2] for key in ACCEPTED if key[:2] == (name, method)}
    assert different == accepted


# ---- numbers ------------------------------------------------------------------------------------

REALS = RNG.normal(size=(B, K)).astype("f")
ONE_HOT = np.eye(K, dtype="f")[[0, 3, 1]]
# Arguments of the layer, data, and the size of the parameters.
CASES = {
    "IndependentBernoulli": (((2, 2),), RNG.integers(0, 2, (B, 2, 2)).astype("f"), 4),
    "IndependentLogistic": (((2, 2),), REALS.reshape(B, 2, 2), 8),
    "IndependentNormal": ((K,), REALS, 8),
    "IndependentPoisson": ((K,), RNG.poisson(3.0, (B, K)).astype("f"), 4),
    "MixtureLogistic": ((5, (2, 2)), REALS.reshape(B, 2, 2), 45),
    "MixtureNormal": ((5, K), REALS, 45),
    "MultivariateNormalTriL": ((K,), REALS, 14),
    "OneHotCategorical": ((K,), ONE_HOT, 4),
    "CategoricalMixtureOfOneHotCategorical": ((K, 2), ONE_HOT, 10),
}
SCALAR_CASES = {
    name: ((*CASES[name][0][:-1], ()), data, size)
    for name, data, size in (
        ("IndependentBernoulli", np.float32([0, 1, 1]), 1),
        ("IndependentNormal", REALS[:, 0], 2),
        ("IndependentPoisson", np.float32([0, 2, 7]), 1),
        ("MixtureNormal", REALS[:, 0], 15),
    )
}
ALL_CASES = [(name, *case) for cases in (CASES, SCALAR_CASES) for name, case in cases.items()]
STATISTICS = ("mean", "mode", "stddev", "variance", "entropy")


def statistic(distribution, name):
    """The value, or that there is none."""
    try:
        return getattr(distribution, name)().numpy()
    except NotImplementedError:
        return "not implemented"


def assert_same(ours, theirs):
    if isinstance(theirs, str):
        assert ours == theirs
    else:
        # TFP's scales have no floor: a scale of 0.3 differs by 3e-5 of it.
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize(("name", "args", "y", "size"), ALL_CASES)
def test_numbers(name, args, y, size):
    ours_class, theirs_class = getattr(layers, name), getattr(tfpl, name)
    assert ours_class.params_size(*args) == int(theirs_class.params_size(*args)) == size
    params = tf.constant(RNG.normal(size=(B, size)), tf.float32)
    ours, theirs = ours_class.new(params, *args), theirs_class.new(params, *args)
    assert ours.batch_shape == theirs.batch_shape == (B,)
    assert ours.event_shape == theirs.event_shape == y.shape[1:]
    assert ours.dtype == theirs.dtype
    assert isinstance(ours, type(theirs))
    for each in STATISTICS:
        assert_same(statistic(ours, each), statistic(theirs, each))
    assert_same(ours.log_prob(y), theirs.log_prob(y).numpy())
    if hasattr(theirs, "log_mean"):
        assert_same(ours.log_mean(), theirs.log_mean().numpy())

    layer, their_layer = ours_class(*args), theirs_class(*args)
    emitted, their_emitted = layer(params), their_layer(params)
    assert isinstance(emitted, type(theirs))
    assert_same(emitted.tensor_distribution.log_prob(y), theirs.log_prob(y).numpy())
    assert tf.convert_to_tensor(emitted).shape == tf.convert_to_tensor(their_emitted).shape


@pytest.mark.parametrize(("name", "args", "y", "size"), ALL_CASES)
def test_divergences(name, args, y, size):
    p, q = tf.unstack(tf.constant(RNG.normal(size=(2, B, size)), tf.float32))

    def divergence(cls):
        try:
            return tfd.kl_divergence(cls.new(p, *args), cls.new(q, *args)).numpy()
        except NotImplementedError:
            return "not implemented"

    assert_same(divergence(getattr(layers, name)), divergence(getattr(tfpl, name)))


@pytest.mark.parametrize("conversion", ["mean", "mode", "stddev", "variance"])
def test_conversions(conversion):
    params = RNG.normal(size=(B, 8)).astype("f")
    ours = layers.IndependentNormal(K, convert_to_tensor_fn=conversion)(params)
    theirs = tfpl.IndependentNormal(K, convert_to_tensor_fn=conversion)(params)
    assert_same(tf.convert_to_tensor(ours), tf.convert_to_tensor(theirs).numpy())


@pytest.mark.parametrize("prop", [tfd.Bernoulli.logits, tfd.OneHotCategorical.logits])
def test_a_property_converts(prop):
    name = "IndependentBernoulli" if prop is tfd.Bernoulli.logits else "OneHotCategorical"
    ours, theirs = (
        tf.convert_to_tensor(getattr(home, name)(K, convert_to_tensor_fn=prop)(REALS))
        for home in (layers, tfpl)
    )
    np.testing.assert_array_equal(ours, REALS)
    np.testing.assert_array_equal(theirs, REALS)


def test_mixture_same_family():
    size = layers.MixtureSameFamily.params_size(5, layers.MultivariateNormalTriL.params_size(K))
    assert size == tfpl.MixtureSameFamily.params_size(5, tfpl.MultivariateNormalTriL.params_size(K))
    params = RNG.normal(size=(B, size)).astype("f")
    ours = layers.MixtureSameFamily(5, layers.MultivariateNormalTriL(K))(params)
    theirs = tfpl.MixtureSameFamily(5, tfpl.MultivariateNormalTriL(K))(params)
    assert_same(ours.log_prob(REALS), theirs.log_prob(REALS).numpy())
    assert_same(ours.mean(), theirs.mean().numpy())
    assert_same(ours.covariance(), theirs.covariance().numpy())


def test_distribution_lambda():
    def make(t):
        return tfd.Normal(t[..., 0], tf.exp(t[..., 1]))

    ours, theirs = layers.DistributionLambda(make)(REALS), tfpl.DistributionLambda(make)(REALS)
    assert_same(ours.log_prob(REALS[:, 2]), theirs.log_prob(REALS[:, 2]).numpy())
    assert ours.batch_shape == theirs.batch_shape == (B,)


def test_autoregressive_transform():
    options = {"hidden_units": [8, 6], "activation": "tanh", "input_order": "right-to-left"}
    made, their_made = AutoregressiveNetwork(2, **options), tfb.AutoregressiveNetwork(2, **options)
    params = RNG.normal(size=(B, 2 * K)).astype("f")
    ours_layer = layers.AutoregressiveTransform(made)
    theirs_layer = tfpl.AutoregressiveTransform(their_made)
    base, their_base = layers.MultivariateNormalDiag(K)(params), tfpl.IndependentNormal(K)(params)
    ours, theirs = ours_layer(base), theirs_layer(their_base)
    weights = [RNG.normal(size=w.shape).astype("f") * (w != 0) for w in their_made.get_weights()]
    their_made.set_weights(weights)
    made.set_weights(weights)
    assert_same(made(REALS), their_made(REALS).numpy())
    # A floor of 1e-5 beneath the scale of the base, seen through the flow.
    np.testing.assert_allclose(ours.log_prob(REALS), theirs.log_prob(REALS), rtol=1e-3)
    assert ours.event_shape == theirs.event_shape == (K,)
    assert ours.batch_shape == theirs.batch_shape == (B,)


class Kernel(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.raw = self.add_weight(shape=(), initializer=keras.initializers.Constant(0.3))

    @property
    def kernel(self):
        return tfp.math.psd_kernels.ExponentiatedQuadratic(tf.nn.softplus(self.raw), 2.0)


class TheirKernel(tf_keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.raw = self.add_weight(name="raw", initializer=tf_keras.initializers.Constant(0.3))

    @property
    def kernel(self):
        return tfp.math.psd_kernels.ExponentiatedQuadratic(tf.nn.softplus(self.raw), 2.0)


def test_variational_gaussian_process():
    m, event = 5, 2
    points = RNG.normal(size=(event, m, K)).astype("f")
    scale = np.tile(0.3 * np.tril(RNG.normal(size=(m, m)).astype("f") + 2.0), (event, 1, 1))
    x, y = RNG.normal(size=(7, K)).astype("f"), RNG.normal(size=(7, event)).astype("f")

    def made(home, init, kernel):
        layer = home.VariationalGaussianProcess(
            m,
            kernel,
            event_shape=[event],
            inducing_index_points_initializer=init(points),
            unconstrained_observation_noise_variance_initializer=init(-1.0),
            variational_inducing_observations_scale_initializer=init(scale),
            jitter=1e-4,
        )
        return layer, layer(x)

    ours_layer, ours = made(layers, keras.initializers.Constant, Kernel())
    _, theirs = made(tfpl, tf_keras.initializers.Constant, TheirKernel())
    assert len(ours_layer.trainable_weights) == 6
    assert ours.event_shape == theirs.event_shape == (7, event)
    for each in ("mean", "stddev"):
        assert_same(statistic(ours, each), statistic(theirs, each))
    assert_same(ours.log_prob(y), theirs.log_prob(y).numpy())
    assert_same(
        ours.variational_loss(y, kl_weight=0.3), theirs.variational_loss(y, kl_weight=0.3).numpy()
    )
    assert_same(
        ours.surrogate_posterior_kl_divergence_prior(),
        theirs.surrogate_posterior_kl_divergence_prior().numpy(),
    )


# ---- the divergence as a part of the loss -------------------------------------------------------

PRIOR = tfd.MultivariateNormalDiag(0.3 * tf.ones(K), 0.7 * tf.ones(K))


@pytest.mark.parametrize("options", [{"use_exact_kl": True}, {"use_exact_kl": True, "weight": 0.2}])
def test_exact_regulariser_is_theirs_for_each_example(options):
    params = RNG.normal(size=(B, 14)).astype("f")
    q = layers.MultivariateNormalTriL(K)(params)
    ours = layers.KLDivergenceRegularizer(PRIOR, **options)(q)
    theirs = tfpl.KLDivergenceRegularizer(PRIOR, **options)(q.tensor_distribution)
    assert ours.shape == (B,)
    # TFP adds the batch up.
    np.testing.assert_allclose(tf.reduce_sum(ours), theirs, rtol=1e-5)


@pytest.mark.parametrize("axis", [0, None])
def test_estimate_is_theirs_for_each_example(axis):
    params = RNG.normal(size=(B, 14)).astype("f")
    q = layers.MultivariateNormalTriL(K)(params).tensor_distribution
    points = q.sample(6, seed=(1, 2))
    options = {"test_points_fn": lambda d: points, "test_points_reduce_axis": axis, "weight": 0.5}
    ours = layers.KLDivergenceRegularizer(PRIOR, use_exact_kl=False, **options)(q)
    theirs = tfpl.KLDivergenceRegularizer(PRIOR, use_exact_kl=False, **options)(q)
    # Over all axes theirs is one number, the mean; ours is that number for each example.
    expected = theirs if axis == 0 else B * theirs
    np.testing.assert_allclose(tf.reduce_sum(ours), expected, rtol=1e-5)


def test_add_loss_is_theirs_over_the_size_of_the_batch():
    params = RNG.normal(size=(B, 14)).astype("f")
    ours = keras.Sequential(
        [layers.MultivariateNormalTriL(K), layers.KLDivergenceAddLoss(PRIOR, use_exact_kl=True)]
    )
    theirs = tf_keras.Sequential(
        [tfpl.MultivariateNormalTriL(K), tfpl.KLDivergenceAddLoss(PRIOR, use_exact_kl=True)]
    )
    q, their_q = ours(params), theirs(params)
    assert_same(q.mean(), their_q.mean().numpy())
    (loss,), (their_loss,) = ours.losses, theirs.losses
    np.testing.assert_allclose(B * loss, their_loss, rtol=1e-5)
