"""The density of a mixture of normals by a matrix product, against SciPy in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats
from tensorflow_probability import distributions as tfd

from tfvae.distributions import NormalMixture, mixture_of

K = 4
RNG = np.random.default_rng(0)


def parameters(shape, scale):
    """Logits, means about 3 and scales of K components with events of a shape."""
    loc = RNG.normal(3.0, 1.0, size=(K, *shape)).astype("f")
    scales = (scale * RNG.uniform(0.5, 2.0, size=loc.shape)).astype("f")
    return RNG.normal(size=K).astype("f"), loc, scales


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
def test_density_and_responsibilities(shape, points, scale):
    """Near the components: with narrow ones the squares that cancel are 1e9 times the distance."""
    logits, loc, scales = parameters(shape, scale)
    near = RNG.integers(K, size=points)
    z = np.float32(loc[near] + scales[near] * RNG.normal(size=loc[near].shape))
    p = mixture(logits, loc, scales)
    joint = expected(logits, loc, scales, z)
    np.testing.assert_allclose(p.log_prob(z), special.logsumexp(joint, -1), rtol=1e-5, atol=1e-5)
    responsibilities = p.posterior_marginal(z).probs_parameter()
    np.testing.assert_allclose(responsibilities, special.softmax(joint, -1), atol=1e-5)


def test_gradients_are_those_of_tfp():
    logits, loc, scale = map(tf.constant, parameters((3,), 0.1))
    z = loc[:, tf.newaxis] + scale[:, tf.newaxis] * RNG.normal(size=(K, 5, 3)).astype("f")

    def gradients(cls):
        with tf.GradientTape() as tape:
            tape.watch([logits, loc, scale, z])
            p = cls(tfd.Categorical(logits=logits), tfd.MultivariateNormalDiag(loc, scale))
            total = tf.reduce_sum(p.log_prob(z))
        return tape.gradient(total, [logits, loc, scale, z])

    pairs = zip(gradients(NormalMixture), gradients(tfd.MixtureSameFamily), strict=True)
    for found, theirs in pairs:
        np.testing.assert_allclose(found, theirs, rtol=1e-4, atol=1e-3)


def test_a_batch_of_unknown_size_under_xla():
    logits, loc, scale = parameters((3,), 1.0)
    z = RNG.normal(size=(6, 3)).astype("f")
    density = tf.function(
        lambda z: mixture(logits, loc, scale).log_prob(z),
        input_signature=[tf.TensorSpec([None, 3])],
        jit_compile=True,
    )
    joint = expected(logits, loc, scale, z)
    np.testing.assert_allclose(density(z), special.logsumexp(joint, -1), rtol=1e-5)


def test_it_is_tfps_own_for_everything_else():
    p = mixture(*parameters((3,), 1.0))
    assert isinstance(p, tfd.MixtureSameFamily)
    assert p.sample(7, seed=[1, 2]).shape == (7, 3)
    assert isinstance(p.copy(), NormalMixture)
    assert p.batch_shape == ()


def test_only_normals_of_independent_elements():
    shares = tfd.Categorical(logits=tf.zeros(2))
    loc = tf.zeros([2, 3])
    full = tfd.MultivariateNormalTriL(loc, tf.eye(3, batch_shape=[2]))
    laplace = tfd.Independent(tfd.Laplace(loc, 1.0), 1)
    several = tfd.MultivariateNormalDiag(tf.zeros([4, 2, 3]), tf.ones([3]))
    for components in (full, laplace, several):
        with pytest.raises(ValueError, match="normals of independent elements, of batch shape"):
            NormalMixture(shares, components)
    for components in (full, laplace):
        assert type(mixture_of(shares, components)) is tfd.MixtureSameFamily
    assert type(mixture_of(shares, tfd.MultivariateNormalDiag(loc, tf.ones(3)))) is NormalMixture
