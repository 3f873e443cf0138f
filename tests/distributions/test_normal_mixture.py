"""The density of a mixture of normals by a matrix product, against SciPy in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats
from tensorflow_probability import distributions as tfd

from tfvae.distributions import NormalMixture, by_differences, mixture_of

K = 4


@pytest.fixture(name="rng")
def fixture_rng():
    return np.random.default_rng(0)


def parameters(rng, shape, scale):
    """Logits, means about 3 and scales of K components with events of a shape."""
    loc = rng.normal(3.0, 1.0, size=(K, *shape)).astype("f")
    scales = (scale * rng.uniform(0.5, 2.0, size=loc.shape)).astype("f")
    return rng.normal(size=K).astype("f"), loc, scales


def mixture(logits, loc, scale):
    normals = tfd.Independent(tfd.Normal(loc, scale), loc.ndim - 1)
    if loc.ndim == 2:
        normals = tfd.MultivariateNormalDiag(loc, scale)
    return NormalMixture(tfd.Categorical(logits=logits), normals)


def expected(logits, loc, scale, z):
    axes = tuple(range(-loc.ndim + 1, 0))
    each = stats.norm.logpdf(np.expand_dims(np.float64(z), -loc.ndim), loc, np.float64(scale))
    return each.sum(axes) + special.log_softmax(np.float64(logits))


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e3])
@pytest.mark.parametrize("points", [(), (5,), (2, 5)], ids=str)
@pytest.mark.parametrize("shape", [(3,), (2, 3), (1,)], ids=str)
def test_density_and_responsibilities(shape, points, scale, rng):
    """Near the components: with narrow ones the squares that cancel are 1e9 times the distance."""
    logits, loc, scales = parameters(rng, shape, scale)
    near = rng.integers(K, size=points)
    z = np.float32(loc[near] + scales[near] * rng.normal(size=loc[near].shape))
    p = mixture(logits, loc, scales)
    joint = expected(logits, loc, scales, z)
    np.testing.assert_allclose(p.log_prob(z), special.logsumexp(joint, -1), rtol=1e-5, atol=1e-5)
    responsibilities = p.posterior_marginal(z).probs_parameter()
    np.testing.assert_allclose(responsibilities, special.softmax(joint, -1), atol=1e-5)


def test_gradients_are_those_of_tfp(rng):
    logits, loc, scale = map(tf.constant, parameters(rng, (3,), 0.1))
    z = loc[:, tf.newaxis] + scale[:, tf.newaxis] * rng.normal(size=(K, 5, 3)).astype("f")

    def gradients(cls):
        with tf.GradientTape() as tape:
            tape.watch([logits, loc, scale, z])
            p = cls(tfd.Categorical(logits=logits), tfd.MultivariateNormalDiag(loc, scale))
            total = tf.reduce_sum(p.log_prob(z))
        return tape.gradient(total, [logits, loc, scale, z])

    pairs = zip(gradients(NormalMixture), gradients(tfd.MixtureSameFamily), strict=True)
    for found, theirs in pairs:
        np.testing.assert_allclose(found, theirs, rtol=1e-4, atol=1e-3)


def test_a_batch_of_unknown_size_under_xla(rng):
    logits, loc, scale = parameters(rng, (3,), 1.0)
    z = rng.normal(size=(6, 3)).astype("f")
    density = tf.function(
        lambda z: mixture(logits, loc, scale).log_prob(z),
        input_signature=[tf.TensorSpec([None, 3])],
        jit_compile=True,
    )
    joint = expected(logits, loc, scale, z)
    np.testing.assert_allclose(density(z), special.logsumexp(joint, -1), rtol=1e-5)


def test_it_is_tfps_own_for_everything_else(rng):
    p = mixture(*parameters(rng, (3,), 1.0))
    assert isinstance(p, tfd.MixtureSameFamily)
    assert p.sample(7, seed=[1, 2]).shape == (7, 3)
    assert isinstance(p.copy(), NormalMixture)
    assert p.batch_shape == ()


def test_points_are_of_the_event_shape_or_broadcast_to_it(rng):
    logits, loc, scale = parameters(rng, (3,), 1.0)
    p = mixture(logits, loc, scale)
    for shape in [(6, 4), (3, 2), (4,)]:
        with pytest.raises(tf.errors.InvalidArgumentError):
            p.log_prob(tf.ones(shape))
    for shape in [(6, 1), ()]:
        whole = np.broadcast_to(np.ones(shape), (*shape[:-1], 3))
        joint = expected(logits, loc, scale, whole)
        np.testing.assert_allclose(
            p.log_prob(tf.ones(shape)), special.logsumexp(joint, -1), rtol=1e-5
        )


def test_it_goes_by_its_components_as_they_are():
    loc = tf.Variable(tf.zeros([2, 3]))
    shares = tfd.Categorical(logits=tf.zeros(2))
    p = NormalMixture(shares, tfd.MultivariateNormalDiag(loc, tf.ones(3)))
    loc.assign_add(tf.ones([2, 3]))
    with tf.GradientTape() as tape:
        density = p.log_prob(tf.zeros(3))
    np.testing.assert_allclose(density, 3 * stats.norm.logpdf(1.0), rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(density, loc), np.full((2, 3), -0.5), rtol=1e-6)


def test_it_enters_and_leaves_a_function(rng):
    p, z = mixture(*parameters(rng, (3,), 1.0)), tf.ones([5, 3])
    density, again = tf.function(lambda p, z: (p.log_prob(z), p))(p, z)
    np.testing.assert_allclose(density, p.log_prob(z), rtol=1e-6)
    np.testing.assert_allclose(density, again.log_prob(z), rtol=1e-6)


def test_others_are_mixtures_of_tfp():
    shares, loc = tfd.Categorical(logits=tf.zeros(2)), tf.zeros([2, 3])
    normals = tfd.MultivariateNormalDiag(loc, tf.ones(3))
    assert type(mixture_of(shares, normals)) is NormalMixture
    assert type(mixture_of(shares, tfd.Independent(tfd.Normal(loc, 1.0), 1))) is NormalMixture
    several = tfd.MultivariateNormalDiag(tf.zeros([4, 2, 3]), tf.ones(3))
    double = tfd.MultivariateNormalDiag(tf.zeros([2, 3], "double"), tf.ones(3, "double"))
    others = [
        (shares, tfd.MultivariateNormalTriL(loc, tf.eye(3, batch_shape=[2]))),
        (shares, tfd.Independent(tfd.Laplace(loc, 1.0), 1)),
        (shares, several),
        (shares, double),
        (tfd.Categorical(logits=tf.zeros([5, 2])), normals),
    ]
    for logits, components in others:
        assert type(mixture_of(logits, components)) is tfd.MixtureSameFamily
    assert mixture_of(shares, several).log_prob(tf.zeros(3)).shape == (4,)
    assert mixture_of(*others[-1]).log_prob(tf.zeros(3)).shape == (5,)


def test_it_has_the_density_by_differences(rng):
    p, z = mixture(*parameters(rng, (3,), 1.0)), tf.ones([5, 3])
    plainly = by_differences(p)
    assert type(plainly) is tfd.MixtureSameFamily
    assert by_differences(plainly) is plainly
    np.testing.assert_allclose(plainly.log_prob(z), p.log_prob(z), rtol=1e-5)


def test_only_normals_of_independent_elements():
    shares = tfd.Categorical(logits=tf.zeros(2))
    loc = tf.zeros([2, 3])
    full = tfd.MultivariateNormalTriL(loc, tf.eye(3, batch_shape=[2]))
    for components in (full, tfd.Independent(tfd.Laplace(loc, 1.0), 1)):
        with pytest.raises(ValueError, match=r"normals of independent elements.*Received"):
            NormalMixture(shares, components).log_prob(tf.zeros(3))
