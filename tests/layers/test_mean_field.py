"""The default posteriors and priors over weights."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.layers import (
    DenseReparameterization,
    default_loc_scale_fn,
    default_mean_field_normal_fn,
    default_multivariate_normal_fn,
)

MAKERS = [default_loc_scale_fn, default_mean_field_normal_fn]


class Variables:
    """Makes a variable of what it is asked for, and writes the request down."""

    def __init__(self):
        self.asked = {}

    def __call__(self, name, shape, initializer, dtype, **rest):
        self.asked[name] = {"trainable": rest["trainable"], "shape": tuple(shape), "dtype": dtype}
        return initializer(shape, dtype=dtype.name)


def made_by(fn, shape=(3, 2), dtype=tf.float32, trainable=True):
    variables = Variables()
    return fn(dtype, shape, "kernel", trainable, variables), variables.asked


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_loc_and_scale(dtype):
    fn = default_loc_scale_fn(
        loc_initializer=keras.initializers.Constant(0.25),
        untransformed_scale_initializer=keras.initializers.Constant(-1.5),
    )
    (loc, scale), asked = made_by(fn, dtype=dtype, trainable=False)
    np.testing.assert_array_equal(loc, np.full((3, 2), 0.25))
    expected = np.finfo(dtype.as_numpy_dtype).eps + np.log1p(np.exp(-1.5))
    np.testing.assert_allclose(scale, np.full((3, 2), expected), rtol=1e-6)
    request = {"trainable": False, "shape": (3, 2), "dtype": dtype}
    assert asked == {"kernel_loc": request, "kernel_untransformed_scale": request}


def test_singular_has_no_scale():
    (_, scale), asked = made_by(default_loc_scale_fn(is_singular=True))
    assert scale is None
    assert list(asked) == ["kernel_loc"]
    point, _ = made_by(default_mean_field_normal_fn(is_singular=True))
    assert isinstance(point.distribution, tfd.Deterministic)
    assert tuple(point.event_shape) == (3, 2)


def test_mean_field_normal():
    posterior, _ = made_by(
        default_mean_field_normal_fn(
            loc_initializer="ones", untransformed_scale_initializer="zeros"
        )
    )
    assert isinstance(posterior.distribution, tfd.Normal)
    assert (tuple(posterior.batch_shape), tuple(posterior.event_shape)) == ((), (3, 2))
    # Six elements, one standard deviation s = log 2 of which has the density N(1; 1, s^2).
    expected = -6 * (0.5 * np.log(2 * np.pi) + np.log(np.log(2)))
    assert float(posterior.log_prob(tf.ones([3, 2]))) == pytest.approx(expected, rel=1e-6)


def test_default_initialisation_is_that_of_tfp():
    keras.utils.set_random_seed(4)
    posterior, _ = made_by(default_mean_field_normal_fn(), shape=(100, 100))
    loc = posterior.mean().numpy()
    raw = np.log(np.expm1(posterior.stddev().numpy().astype("float64")))
    # Four standard errors, of a mean and of a standard deviation, of 10,000 draws.
    assert abs(loc.mean()) < 4 * 0.1 / 100
    assert abs(raw.mean() + 3.0) < 4 * 0.1 / 100
    np.testing.assert_allclose([loc.std(), raw.std()], 0.1, rtol=4 / np.sqrt(2 * 10000))


@pytest.mark.parametrize(
    "fn",
    [
        default_mean_field_normal_fn(),
        default_mean_field_normal_fn(loc_initializer=keras.initializers.RandomNormal()),
    ],
)
def test_two_weights_start_apart_and_a_seed_brings_them_back(fn):
    keras.utils.set_random_seed(1)
    first, second = made_by(fn)[0].mean(), made_by(fn)[0].mean()
    assert float(tf.reduce_min(tf.abs(first - second))) > 0
    keras.utils.set_random_seed(1)
    np.testing.assert_array_equal(made_by(fn)[0].mean(), first)


def test_an_initializer_with_a_seed_keeps_it():
    fn = default_mean_field_normal_fn(loc_initializer=keras.initializers.RandomNormal(seed=7))
    np.testing.assert_array_equal(made_by(fn)[0].mean(), made_by(fn)[0].mean())


def test_reading_the_weights_uses_up_no_random_numbers():
    layer = DenseReparameterization(2)
    layer.build((None, 3))
    before = random.getstate()
    layer.kernel_posterior.mean()
    layer(np.zeros((1, 3), "float32"))
    assert random.getstate() == before


@pytest.mark.parametrize("raw", [-1e30, 1e30])
def test_the_scale_is_finite_whatever_its_weight(raw):
    fn = default_mean_field_normal_fn(
        untransformed_scale_initializer=keras.initializers.Constant(raw)
    )
    scale = made_by(fn)[0].stddev().numpy()
    assert np.all(np.isfinite(np.square(scale)))
    assert np.all(scale > 0)


def test_regularizers_and_constraints_reach_the_weights():
    fn = default_mean_field_normal_fn(
        loc_initializer="ones",
        untransformed_scale_initializer="ones",
        loc_regularizer=keras.regularizers.L2(0.5),
        untransformed_scale_regularizer=keras.regularizers.L1(0.25),
        loc_constraint="non_neg",
    )
    layer = DenseReparameterization(2, kernel_posterior_fn=fn, kernel_prior_fn=None)
    layer.build((None, 3))
    assert float(sum(layer.losses)) == pytest.approx(0.5 * 6 + 0.25 * 6)
    assert isinstance(layer.trainable_weights[0].constraint, keras.constraints.NonNeg)
    assert layer.trainable_weights[1].constraint is None


@pytest.mark.parametrize("make", MAKERS)
def test_saved_by_name_and_configuration(make):
    fn = make(
        is_singular=True,
        loc_initializer=keras.initializers.Constant(3.0),
        loc_regularizer="l2",
        untransformed_scale_constraint="non_neg",
    )
    config = keras.saving.serialize_keras_object(fn)
    again = keras.saving.deserialize_keras_object(config, safe_mode=True)
    assert type(again) is type(fn)
    assert again.get_config() == fn.get_config()
    assert again.loc_initializer.value == 3.0


def test_standard_normal():
    prior = default_multivariate_normal_fn(tf.float64, (3, 2), "kernel_prior", True, None)
    assert (prior.dtype, tuple(prior.event_shape)) == (tf.float64, (3, 2))
    log_prob = float(prior.log_prob(tf.ones([3, 2], tf.float64)))
    assert log_prob == pytest.approx(-3 * np.log(2 * np.pi) - 3)
