"""DenseVariational: a dense layer with one posterior for kernel and bias, made by a Keras model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.layers import DenseFlipout, DenseVariational, DistributionLambda, VariableLayer

register = keras.saving.register_keras_serializable(package="tests_joint_variational")

X = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")


def closed_form_kl(loc, scale):
    loc, scale = np.float64(loc), np.float64(scale)
    return float(np.sum(-np.log(scale) + (scale**2 + loc**2 - 1) / 2))


@register
def posterior_mean_field(kernel_size, bias_size=0, dtype=None):
    """The posterior of TFP's tutorial "Probabilistic Layers Regression"."""
    n = kernel_size + bias_size
    c = np.log(np.expm1(1.0)).astype("float32")
    return keras.Sequential(
        [
            VariableLayer(2 * n, dtype=dtype),
            DistributionLambda(
                lambda t: tfd.Independent(
                    tfd.Normal(loc=t[..., :n], scale=1e-5 + tf.nn.softplus(c + t[..., n:])),
                    reinterpreted_batch_ndims=1,
                )
            ),
        ]
    )


@register
def prior_trainable(kernel_size, bias_size=0, dtype=None):
    """The prior of the same tutorial."""
    n = kernel_size + bias_size
    return keras.Sequential(
        [
            VariableLayer(n, dtype=dtype),
            DistributionLambda(
                lambda t: tfd.Independent(tfd.Normal(loc=t, scale=1), reinterpreted_batch_ndims=1)
            ),
        ]
    )


@register
def fixed_posterior(kernel_size, bias_size=0, dtype=None):
    """A function and not a layer: a plain distribution, without weights."""
    n = kernel_size + bias_size
    loc = tf.range(n, dtype=dtype)
    return lambda x: tfd.Independent(tfd.Normal(loc, 0.5), reinterpreted_batch_ndims=1)


@register
def fixed_prior(kernel_size, bias_size=0, dtype=None):
    zeros = tf.zeros(kernel_size + bias_size, dtype)
    return lambda x: tfd.Independent(tfd.Normal(zeros, 1.0), reinterpreted_batch_ndims=1)


@register
def negative_log_prob(y, p):
    return -p.log_prob(y)


@register
def unit_normal(t):
    return tfd.Normal(loc=t, scale=1)


@register
def normal_with_scale(t):
    return tfd.Normal(loc=t[..., :1], scale=1e-3 + tf.math.softplus(0.01 * t[..., 1:]))


def test_joint_posterior_output_and_kl():
    layer = DenseVariational(2, fixed_posterior, fixed_prior, kl_weight=0.1, kl_use_exact=True)
    n = 4000
    draw = tf.function(layer)
    draws = np.stack([draw(X[:2]) for _ in range(n)])
    mean = X[:2] @ np.arange(6.0).reshape(3, 2) + [6.0, 7.0]
    deviation = 0.5 * np.sqrt(np.sum(np.square(X[:2]), axis=1, keepdims=True) + 1)
    assert np.all(np.abs(draws.mean(0) - mean) < 4 * deviation / np.sqrt(n))
    assert np.all(np.abs(draws.std(0) / deviation - 1) < 4 / np.sqrt(2 * n))
    layer(X)
    expected = 0.1 * closed_form_kl(np.arange(8.0), np.full(8, 0.5))
    assert float(layer.losses[0]) == pytest.approx(expected, rel=1e-5)
    assert len(layer.losses) == 1


def test_joint_kl_at_the_draw_converges():
    layer = DenseVariational(2, posterior_mean_field, fixed_prior)
    layer.build((None, 3))
    values = np.concatenate([np.arange(8.0) / 4, np.full(8, -1.0)])
    layer.posterior.layers[0].constant.assign(values)

    @tf.function
    def cost(x):
        layer(x)
        return layer.losses[0]

    costs = np.array([cost(X) for _ in range(400)])
    scale = 1e-5 + np.log1p(np.exp(np.log(np.expm1(1.0)) - 1.0))
    standard_error = costs.std() / np.sqrt(len(costs))
    assert 0 < standard_error < 0.3
    expected = closed_form_kl(values[:8], np.full(8, scale))
    assert abs(costs.mean() - expected) < 4 * standard_error


@pytest.mark.parametrize(
    ("units", "head", "jit_compile"),
    [(1, unit_normal, False), (2, normal_with_scale, False), (2, normal_with_scale, True)],
)
def test_regression_tutorial_with_uncertain_weights(units, head, jit_compile, tmp_path):
    rng = np.random.default_rng(2)
    x = rng.uniform(-2, 2, size=(64, 1)).astype("float32")
    y = (3 * x - 1 + 0.1 * rng.normal(size=x.shape)).astype("float32")
    model = keras.Sequential(
        [
            DenseVariational(units, posterior_mean_field, prior_trainable, kl_weight=1 / 64),
            DistributionLambda(head),
        ]
    )
    model.build((None, 1))
    assert [tuple(weight.shape) for weight in model.trainable_weights] == [
        (4 * units,),
        (2 * units,),
    ]
    model.compile(keras.optimizers.Adam(0.05), negative_log_prob, jit_compile=jit_compile)
    repeated = (np.tile(each, (150, 1)) for each in (x, y))
    model.fit(*repeated, batch_size=64, verbose=0)
    yhat = model(x)
    assert isinstance(yhat, tfd.Distribution)
    weights = model.layers[0].posterior(x[:1]).mean().numpy()
    assert weights[0] == pytest.approx(3.0, abs=0.4)
    assert weights[units] == pytest.approx(-1.0, abs=0.4)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    for old, new in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def test_joint_posterior_in_subclassed_and_nested_models():
    class Nested(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = DenseFlipout(4, activation="relu")
            self.out = DenseVariational(1, posterior_mean_field, prior_trainable, kl_weight=0.01)

        def call(self, x):
            return self.out(self.hidden(x))

    inputs = keras.Input((3,))
    model = keras.Model(inputs, Nested()(inputs))
    assert model.output_shape == (None, 1)
    assert len(model.trainable_weights) == 5
    before = [weight.numpy() for weight in model.trainable_weights]
    model.compile(keras.optimizers.Adam(0.1), "mse")
    model.fit(X, X[:, :1], verbose=0)
    changed = [np.any(w != b) for w, b in zip(model.trainable_weights, before, strict=True)]
    assert all(changed)
    assert len(model.losses) == 2


def test_joint_posterior_without_bias_and_with_a_variable_weight(tmp_path):
    weight = keras.Variable(0.5, trainable=False)
    layer = DenseVariational(
        2, posterior_mean_field, fixed_prior, kl_weight=weight, kl_use_exact=True, use_bias=False
    )
    model = keras.Sequential([keras.Input((3,)), layer])
    assert tuple(layer.posterior.layers[0].constant.shape) == (12,)
    assert any(weight is own for own in model.weights)
    model(X)
    kl = float(layer.losses[0])
    weight.assign(0.25)
    model(X)
    assert float(layer.losses[0]) == pytest.approx(kl / 2, rel=1e-6)
    np.testing.assert_allclose(model(np.zeros((1, 3), "float32")), 0, atol=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert float(again.layers[0].kl_weight.value) == 0.25


def test_joint_posterior_precision():
    layer = DenseVariational(2, posterior_mean_field, prior_trainable, dtype="mixed_bfloat16")
    assert layer(X).dtype.name == "bfloat16"
    assert layer.losses[0].dtype.name == "float32"
    assert {weight.dtype for weight in layer.trainable_weights} == {"float32"}


def test_joint_posterior_refuses():
    with pytest.raises(TypeError, match=r"`make_prior_fn` must be a function.*Received: 3"):
        DenseVariational(2, posterior_mean_field, 3)
    with pytest.raises(ValueError, match=r"`kl_weight` must be.*Received: -1"):
        DenseVariational(2, posterior_mean_field, prior_trainable, kl_weight=-1)
    with pytest.raises(TypeError, match="`make_prior_fn` makes must return"):
        DenseVariational(2, posterior_mean_field, lambda *sizes: lambda x: x)(X)

    def too_small(kernel_size, bias_size, dtype):
        return fixed_posterior(kernel_size, 0, dtype)

    with pytest.raises(ValueError, match=r"shape \(8,\).*Received: shape \(6,\)"):
        DenseVariational(2, too_small, too_small)(X)
    with pytest.raises(ValueError, match="`make_posterior_fn` cannot be saved"):
        DenseVariational(2, lambda *sizes: None, fixed_prior).get_config()


def test_exact_kl_without_a_closed_form_says_what_to_do():
    def laplace_prior(kernel_size, bias_size, dtype):
        zeros = tf.zeros(kernel_size + bias_size, dtype)
        return lambda x: tfd.Independent(tfd.Laplace(zeros, 1.0), 1)

    layer = DenseVariational(2, fixed_posterior, laplace_prior, kl_use_exact=True)
    with pytest.raises(NotImplementedError, match="use kl_use_exact=False"):
        layer(X)
