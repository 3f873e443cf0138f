"""VariableLayer: a weight as the output of a layer."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.layers import BlockwiseInitializer, DistributionLambda, VariableLayer

UNIT_SOFTPLUS = float(np.log(np.expm1(1.0)))


@keras.saving.register_keras_serializable(package="tests_variable")
def independent_normal(t):
    return tfd.Independent(tfd.Normal(t[..., 0], tf.math.softplus(t[..., 1])), 1)


def trainable_normal():
    initializer = BlockwiseInitializer(
        ["zeros", keras.initializers.Constant(UNIT_SOFTPLUS)], sizes=[1, 1]
    )
    return keras.Sequential(
        [VariableLayer([4, 2], initializer=initializer), DistributionLambda(independent_normal)]
    )


@pytest.mark.parametrize(
    ("shape", "expected"), [(3, (3,)), ([2, 3], (2, 3)), (np.array([4, 1]), (4, 1)), ((), ())]
)
def test_the_output_is_the_weight_whatever_the_input(shape, expected):
    layer = VariableLayer(shape, initializer=keras.initializers.Constant(2.5))
    assert layer.compute_output_shape((None, 7)) == expected
    for inputs in (0.0, np.ones((5, 7), "float32")):
        np.testing.assert_array_equal(layer(inputs), np.full(expected, 2.5, "float32"))
    assert [tuple(weight.shape) for weight in layer.trainable_weights] == [expected]


def test_activation_regularizer_and_constraint():
    layer = VariableLayer(
        2, activation="exponential", initializer="ones", regularizer="l2", constraint="non_neg"
    )
    np.testing.assert_allclose(layer(0.0), np.exp([1.0, 1.0]), rtol=1e-6)
    assert float(sum(layer.losses)) == pytest.approx(0.01 * 2)
    np.testing.assert_array_equal(layer.constant.constraint(np.float32([-1, 2])), [0, 2])


def test_frozen():
    assert VariableLayer(2, trainable=False).trainable_weights == []


@pytest.mark.parametrize(
    ("policy", "dtype", "expected"),
    [
        ("mixed_bfloat16", None, "float32"),
        ("float32", "float64", "float64"),
        ("float32", tf.float64, "float64"),
    ],
)
def test_dtype(policy, dtype, expected):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        layer = VariableLayer(2, dtype=dtype)
        assert (layer.constant.dtype, layer(tf.zeros(1)).dtype.name) == (expected, expected)
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("shape", [[[1, 2]], 0, [2, -1], 1.5, "3"])
def test_bad_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="Received"):
        VariableLayer(shape)


def test_a_trainable_distribution_starts_as_it_was_initialised():
    x = trainable_normal()(tf.zeros([]))
    assert (tuple(x.batch_shape), tuple(x.event_shape)) == ((), (4,))
    np.testing.assert_array_equal(x.mean(), np.zeros(4))
    np.testing.assert_allclose(x.stddev(), np.ones(4), rtol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_fit_is_the_maximum_of_the_likelihood(jit_compile):
    data = np.random.default_rng(1).normal([0, 1, -1, 2], 0.5, size=(256, 4)).astype("float32")
    model = trainable_normal()
    model.compile(
        keras.optimizers.Adam(0.05), loss=lambda y, p: -p.log_prob(y), jit_compile=jit_compile
    )
    repeated = np.tile(data, (200, 1))
    model.fit(repeated[:, :1], repeated, batch_size=len(data), shuffle=False, verbose=0)
    fitted = model(data[:1, :1])
    np.testing.assert_allclose(fitted.mean(), data.mean(0), atol=0.01)
    np.testing.assert_allclose(fitted.stddev(), data.std(0), atol=0.01)


def test_saved_and_restored(tmp_path):
    model = trainable_normal()
    model.build((None, 1))
    model.layers[0].constant.assign(np.arange(8.0).reshape(4, 2))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(again(np.zeros((1, 1))).mean(), [0.0, 2.0, 4.0, 6.0])
    assert again.layers[0].get_config() == model.layers[0].get_config()
