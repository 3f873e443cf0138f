"""A random weight: how its posterior is made of Keras weights, and its divergence."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from tfvae.layers import DenseFlipout, DenseReparameterization, Samples, ScaledKLDivergence

X = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
LOC = np.random.default_rng(1).normal(size=(3, 2)).astype("float32")
SCALE = np.random.default_rng(2).uniform(0.2, 1.5, size=(3, 2)).astype("float32")
KL = float(np.sum(-np.log(np.float64(SCALE)) + (np.square(SCALE) + np.square(LOC) - 1) / 2))


def built(cls, **kwargs):
    """A layer of which the posterior of the kernel is known."""
    layer = cls(2, **kwargs)
    layer.build((None, 3))
    layer.trainable_weights[0].assign(LOC)
    layer.trainable_weights[1].assign(np.log(np.expm1(SCALE)))
    return layer


def test_no_prior_or_no_divergence_is_no_loss():
    for none in ({"kernel_prior_fn": None}, {"kernel_divergence_fn": None}):
        layer = DenseFlipout(2, **none)
        layer(X)
        assert layer.losses == []


def test_divergence_is_summed_over_independent_parts():
    layer = built(DenseReparameterization, kernel_divergence_fn=lambda q, p, w: tf.ones([3, 2]))
    layer(X)
    assert float(layer.losses[0]) == 6.0


def test_a_variable_weight_moves_the_divergence_and_is_saved():
    weight = keras.Variable(0.0, trainable=False)
    divergence = ScaledKLDivergence(weight)
    layer = built(DenseFlipout, kernel_divergence_fn=divergence)
    for value in (0.0, 0.5):
        weight.assign(value)
        layer(X)
        assert float(layer.losses[0]) == pytest.approx(value * KL, rel=1e-5)
        layer._clear_losses()
    config = keras.saving.serialize_keras_object(divergence)
    again = keras.saving.deserialize_keras_object(config, safe_mode=True)
    assert (float(again.kl_weight.value), again.kl_use_exact) == (0.5, True)


@pytest.mark.parametrize("weight", [-1.0, float("inf"), "1", True])
def test_bad_weights_are_refused(weight):
    with pytest.raises(ValueError, match=r"kl_weight.*Received"):
        ScaledKLDivergence(weight)


def test_functions_written_for_tfp_work_unchanged():
    def posterior(dtype, shape, name, trainable, add_variable_fn):
        loc = add_variable_fn(name + "_mean", shape=shape, dtype=dtype, initializer="ones")
        raw = add_variable_fn(
            name="raw", shape=shape, dtype=dtype, initializer="zeros", trainable=trainable
        )
        scale = tfp.util.DeferredTensor(raw, tf.nn.softplus)
        return tfd.Independent(tfd.Normal(loc, scale), len(shape))

    def prior(dtype, shape, name, trainable, add_variable_fn):
        # The same name as in the posterior, and another weight. Not a deferred scale: at once.
        raw = add_variable_fn(name="raw", shape=[], dtype=dtype, initializer="ones")
        return tfd.Independent(tfd.Normal(tf.zeros(shape), tf.nn.softplus(raw)), len(shape))

    layer = DenseFlipout(2, kernel_posterior_fn=posterior, kernel_prior_fn=prior)
    with tf.GradientTape() as tape:
        layer(X)
        loss = layer.losses[0]
    assert [tuple(w.shape) for w in layer.trainable_weights] == [(3, 2), (3, 2), (), (2,)]
    gradients = tape.gradient(loss, [w.value for w in layer.trainable_weights[:3]])
    # KL = 6 (log(t / s) + (s^2 + m^2) / (2 t^2) - 1 / 2) at m = 1, s = softplus(0), t = softplus(1)
    s, t = np.log(2), np.log1p(np.e)
    assert float(loss) == pytest.approx(6 * (np.log(t / s) + (s**2 + 1) / (2 * t**2) - 0.5))
    np.testing.assert_allclose(gradients[0], np.full((3, 2), 1 / t**2), rtol=1e-5)
    np.testing.assert_allclose(gradients[1], np.full((3, 2), (s / t**2 - 1 / s) / 2), rtol=1e-5)
    slope = 6 * (1 / t - (s**2 + 1) / t**3) / (1 + np.exp(-1))
    assert float(gradients[2]) == pytest.approx(slope, rel=1e-5)


def test_a_function_must_ask_for_the_same_weights_at_every_call():
    count = iter(range(100))

    def posterior(dtype, shape, name, trainable, add_variable_fn):
        loc = add_variable_fn(name=f"loc_{next(count)}", shape=shape, dtype=dtype)
        return tfd.Independent(tfd.Normal(loc, 1.0), len(shape))

    layer = DenseReparameterization(2, kernel_posterior_fn=posterior)
    layer.build((None, 3))
    with pytest.raises(ValueError, match=r"same weights at every call.*loc_0.*Received: 'loc_1'"):
        layer(X)


def test_posteriors_are_those_of_the_weights_now():
    layer = DenseFlipout(2)
    with pytest.raises(ValueError, match="build the layer first"):
        _ = layer.kernel_posterior
    layer = built(DenseFlipout)
    layer.trainable_weights[2].assign([3.0, 4.0])
    np.testing.assert_allclose(layer.kernel_posterior.mean(), LOC, rtol=1e-6)
    np.testing.assert_allclose(layer.kernel_posterior.stddev(), SCALE, rtol=1e-5)
    np.testing.assert_allclose(layer.bias_posterior.mean(), [3.0, 4.0])
    assert tuple(layer.kernel_prior.event_shape) == (3, 2)
    layer.trainable_weights[0].assign(2 * LOC)
    np.testing.assert_allclose(layer.kernel_posterior.mean(), 2 * LOC, rtol=1e-6)


def test_bad_distributions_are_refused():
    def scalar(*args):
        return tfd.Normal(0.0, 1.0)

    with pytest.raises(ValueError, match=r"it is given, \(3, 2\). Received: <tfp"):
        DenseReparameterization(2, kernel_posterior_fn=scalar)(X)
    with pytest.raises(TypeError, match=r"`bias_posterior_fn` must make a `tfd.Distribution`"):
        DenseReparameterization(2, bias_posterior_fn=lambda *args: 1.0)(X)
    with pytest.raises(
        ValueError, match=r"one value .*shape \(3, 2\). Received: shape \(5, 3, 2\)"
    ):
        DenseReparameterization(2, kernel_posterior_tensor_fn=Samples(5))(X)


def test_a_lambda_is_refused_when_it_is_saved():
    layer = DenseFlipout(2, kernel_divergence_fn=lambda q, p, w: 0.1 * tfd.kl_divergence(q, p))
    layer(X)
    with pytest.raises(ValueError, match="`kernel_divergence_fn` cannot be saved"):
        layer.get_config()
