"""The bridge: a distribution that passes between Keras layers as its value."""

from __future__ import annotations

import operator

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfvae.distributions import as_tensor_like, plain, value_is_draw

LOC = np.float32([[0.0, 1.0], [2.0, -1.0], [0.5, 0.25]])
SCALE = np.float32([[1.0, 2.0], [0.5, 1.5], [1.0, 1.0]])
VALUE = np.float32([[0.1, 0.9], [2.5, -3.0], [0.0, 4.0]])


@pytest.fixture
def q():
    return as_tensor_like(tfd.MultivariateNormalDiag(LOC, SCALE), VALUE, is_draw=True)


# The first test of the library: everything else rests on this undocumented hook of TensorFlow.
def test_tensorflow_still_accepts_is_tensor_like(q):
    assert tf.is_tensor(q)
    assert not tf.is_tensor(plain(q))


DISTRIBUTIONS = {
    "Normal": lambda: tfd.Normal(LOC, SCALE),
    "Bernoulli": lambda: tfd.Bernoulli(logits=LOC, dtype=tf.float32),
    "Beta": lambda: tfd.Beta(SCALE, SCALE),
    "ContinuousBernoulli": lambda: tfd.ContinuousBernoulli(logits=LOC),
    "Independent": lambda: tfd.Independent(tfd.Logistic(LOC, SCALE), 1),
    "MixtureSameFamily": lambda: tfd.MixtureSameFamily(
        tfd.Categorical(logits=LOC), tfd.Normal(LOC, SCALE)
    ),
    "MultivariateNormalDiag": lambda: tfd.MultivariateNormalDiag(LOC, SCALE),
    "MultivariateNormalDiagPlusLowRankCovariance": lambda: (
        tfd.MultivariateNormalDiagPlusLowRankCovariance(LOC, SCALE, SCALE[..., None])
    ),
    "MultivariateNormalTriL": lambda: tfd.MultivariateNormalTriL(
        LOC, np.eye(2, dtype=np.float32) * SCALE[..., None]
    ),
    "OneHotCategorical": lambda: tfd.OneHotCategorical(logits=LOC, dtype=tf.float32),
    "QuantizedDistribution": lambda: tfd.QuantizedDistribution(tfd.Logistic(LOC, SCALE)),
    "TransformedDistribution": lambda: tfd.TransformedDistribution(
        tfd.Normal(LOC, SCALE), tfb.Softplus()
    ),
    "VonMisesFisher": lambda: tfd.VonMisesFisher(tf.linalg.l2_normalize(LOC, -1), SCALE[:, 0]),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_is_an_instance_of_the_distributions_own_class(name):
    distribution = DISTRIBUTIONS[name]()
    value = distribution.sample(seed=(1, 2))
    made = as_tensor_like(distribution, value, is_draw=True)
    assert isinstance(made, type(distribution))
    assert type(made).__name__ == type(distribution).__name__ == name
    np.testing.assert_array_equal(made.log_prob(value), distribution.log_prob(value))
    np.testing.assert_array_equal(tf.convert_to_tensor(made), value)
    assert type(as_tensor_like(distribution, value, is_draw=True)) is type(made)


def test_the_original_distribution_is_left_alone():
    original = tfd.Normal(LOC, SCALE)
    before = dict(vars(original))
    as_tensor_like(original, VALUE, is_draw=False)
    assert type(original) is tfd.Normal
    assert vars(original) == before


def test_registered_divergences_dispatch(q):
    prior = tfd.MultivariateNormalDiag(np.zeros(2, "f"), np.ones(2, "f"))
    expected = 0.5 * (SCALE**2 + LOC**2 - 1 - np.log(SCALE**2)).sum(1)
    np.testing.assert_allclose(tfd.kl_divergence(q, prior), expected, rtol=1e-6)


CONVERSIONS = {
    "tf.convert_to_tensor": lambda q: tf.convert_to_tensor(q).numpy(),
    "tf.identity": lambda q: tf.identity(q).numpy(),
    "numpy()": lambda q: q.numpy(),
    "np.asarray": np.asarray,
    "keras.ops.convert_to_tensor": lambda q: keras.ops.convert_to_tensor(q).numpy(),
    "keras.ops.convert_to_numpy": keras.ops.convert_to_numpy,
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_every_conversion_gives_the_value(q, name):
    np.testing.assert_array_equal(CONVERSIONS[name](q), VALUE)


def test_another_dtype_is_a_cast_and_not_a_conversion(q):
    np.testing.assert_array_equal(tf.cast(q, tf.float64), VALUE.astype(np.float64))
    assert np.asarray(q, np.float64).dtype == np.float64
    with pytest.raises(ValueError, match=r"`tf.cast`. Received: dtype float64 for a value of"):
        tf.convert_to_tensor(q, tf.float64)


BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "lt", "le", "gt", "ge")


@pytest.mark.parametrize("name", BINARY)
def test_operators_act_on_the_value_from_both_sides(q, name):
    act = getattr(operator, name)
    np.testing.assert_array_equal(act(q, 2.0), act(tf.constant(VALUE), 2.0))
    np.testing.assert_array_equal(act(2.0, q), act(2.0, tf.constant(VALUE)))


def test_matrix_product_and_unary_operators(q):
    square = np.float32([[1, 2], [3, 4]])
    np.testing.assert_allclose(q @ square, VALUE @ square, rtol=1e-6)
    np.testing.assert_array_equal(-q, -VALUE)
    np.testing.assert_array_equal(abs(q), abs(VALUE))


def test_shape_and_dtype_are_those_of_the_value(q):
    draws = as_tensor_like(plain(q), np.zeros((5, 3, 2), "f"), is_draw=True)
    assert (tuple(q.shape), q.ndim, len(q), q.dtype) == ((3, 2), 2, 3, tf.float32)
    assert (tuple(draws.get_shape()), draws.ndim, len(draws)) == ((5, 3, 2), 3, 5)
    assert (tuple(draws.batch_shape), tuple(draws.event_shape)) == ((3,), (2,))


def test_is_hashable_and_equal_by_identity_as_a_distribution_is(q):
    other = as_tensor_like(plain(q), VALUE, is_draw=True)
    assert {q: 1}[q] == 1
    assert q == q
    assert q != other


def test_indexing_slices_the_batch_and_copy_overrides_parameters(q):
    np.testing.assert_array_equal(q[1:].mean(), LOC[1:])
    copied = q.copy(loc=LOC + 1)
    np.testing.assert_array_equal(copied.mean(), LOC + 1)
    assert type(copied) is tfd.MultivariateNormalDiag


def test_plain_takes_the_value_off(q):
    distribution = tfd.Normal(LOC, SCALE)
    assert plain(distribution) is distribution
    assert plain(as_tensor_like(distribution, VALUE, is_draw=True)) is distribution
    assert q.tensor_distribution is plain(q)


def test_a_second_value_replaces_the_first(q):
    again = as_tensor_like(q, VALUE + 1, is_draw=False)
    np.testing.assert_array_equal(again, VALUE + 1)
    np.testing.assert_array_equal(q, VALUE)
    assert plain(again) is plain(q)
    assert type(again) is type(q)


def test_value_is_draw_only_where_the_value_was_sampled(q):
    assert value_is_draw(q)
    assert not value_is_draw(as_tensor_like(plain(q), LOC, is_draw=False))
    assert not value_is_draw(plain(q))


def test_is_a_leaf_of_every_tree(q):
    assert tf.nest.flatten([q]) == [q]
    assert keras.tree.flatten({"a": [q]}) == [q]


def test_becomes_its_value_at_the_border_of_a_function(q):
    received = []

    @tf.function
    def double(t):
        received.append(type(t))
        return as_tensor_like(tfd.Normal(t, 1.0), 2.0 * t, is_draw=False)

    result = double(q)
    assert issubclass(received[0], tf.Tensor)
    assert not isinstance(result, tfd.Distribution)
    np.testing.assert_array_equal(result, 2 * VALUE)


def test_inside_a_function_it_is_a_distribution():
    @tf.function(jit_compile=True)
    def log_prob(loc):
        q = as_tensor_like(tfd.Normal(loc, 1.0), loc + 1.0, is_draw=False)
        return q.log_prob(q) + tf.square(q)

    expected = -0.5 - 0.5 * np.log(2 * np.pi) + (LOC + 1) ** 2
    np.testing.assert_allclose(log_prob(LOC), expected, rtol=1e-6)


def test_gradients_pass_through_the_value_and_the_parameters():
    loc = tf.constant(LOC)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(loc)
        q = as_tensor_like(tfd.Normal(loc, 1.0), 3.0 * loc, is_draw=False)
        through_value, through_parameters = tf.reduce_sum(q * 2.0), tf.reduce_sum(q.log_prob(0.0))
    np.testing.assert_allclose(tape.gradient(through_value, loc), np.full_like(LOC, 6.0))
    np.testing.assert_allclose(tape.gradient(through_parameters, loc), -LOC)


@pytest.mark.parametrize("wrong", [1.0, "Normal", tfd.Normal, None], ids=repr)
def test_refuses_what_is_not_a_distribution(wrong):
    with pytest.raises(TypeError, match=r"must make a `tfp.distributions.Distribution`. Received"):
        as_tensor_like(wrong, VALUE, is_draw=True)
