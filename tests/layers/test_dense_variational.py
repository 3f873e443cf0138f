"""Dense layers with random weights: their moments, their divergence, their weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.layers import (
    DenseFlipout,
    DenseLocalReparameterization,
    DenseReparameterization,
    ScaledKLDivergence,
    default_mean_field_normal_fn,
)

register = keras.saving.register_keras_serializable(package="tests_dense_variational")

ESTIMATORS = [DenseReparameterization, DenseLocalReparameterization, DenseFlipout]
MEAN_FIELD_ONLY = ESTIMATORS[1:]

X = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
LOC = np.random.default_rng(1).normal(size=(3, 2)).astype("float32")
SCALE = np.random.default_rng(2).uniform(0.2, 1.5, size=(3, 2)).astype("float32")


def raw_of(scale):
    return np.log(np.expm1(np.asarray(scale, "float64"))).astype("float32")


def built(cls, loc=LOC, scale=SCALE, bias=0.0, **kwargs):
    """A layer of which the posterior of the kernel, and the bias, are known."""
    layer = cls(loc.shape[1], seed=5, **kwargs)
    layer.build((None, loc.shape[0]))
    layer.trainable_weights[0].assign(loc)
    layer.trainable_weights[1].assign(raw_of(scale))
    layer.trainable_weights[2].assign(np.broadcast_to(np.float32(bias), [loc.shape[1]]))
    return layer


def closed_form_kl(loc, scale):
    loc, scale = np.float64(loc), np.float64(scale)
    return float(np.sum(-np.log(scale) + (scale**2 + loc**2 - 1) / 2))


# --- the output


@pytest.mark.parametrize("cls", ESTIMATORS)
@pytest.mark.parametrize("shape", [(6, 3), (2, 5, 3)])
def test_without_noise_it_is_the_deterministic_layer(cls, shape):
    bias = np.float32([0.5, -1.0])
    layer = built(cls, bias=bias, activation="tanh", kernel_posterior_tensor_fn="mean")
    dense = keras.layers.Dense(2, activation="tanh")
    dense.build(shape)
    dense.set_weights([LOC, bias])
    x = np.random.default_rng(3).normal(size=shape).astype("float32")
    np.testing.assert_allclose(layer(x), dense(x), rtol=1e-5, atol=1e-6)
    assert layer.compute_output_shape((None, *shape[1:])) == (None, *shape[1:-1], 2)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_moments_within_and_between_examples(cls):
    # All units have the same posterior, so they are independent draws of one output, given x.
    n, scale = 40000, np.float32([[0.5], [1.0], [0.25]])
    layer = built(cls, np.tile(LOC[:, :1], n), np.tile(scale, n))
    draws = layer(X[:3]).numpy().astype("float64")
    mean, variance = X[:3] @ LOC[:, 0], np.square(X[:3]) @ np.square(scale[:, 0])
    assert np.all(np.abs(draws.mean(1) - mean) < 4 * np.sqrt(variance / n))
    assert np.all(np.abs(draws.var(1) / variance - 1) < 4 * np.sqrt(2 / n))
    # One draw of the kernel for all examples correlates them; the two other estimators do not.
    shared = (X[:3] * np.square(scale[:, 0])) @ X[:3].T
    expected = shared if cls is DenseReparameterization else np.diag(variance)
    # The variance of a product of normals is at most three times that of the product of variances.
    standard_error = np.sqrt(3 * np.outer(variance, variance) / n)
    assert np.all(np.abs(np.cov(draws) - expected) < 4 * standard_error)
    # An estimator with the wrong covariance between examples would be found out.
    assert np.max(np.abs(shared - np.diag(variance))) > 20 * np.max(standard_error)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_mean_over_calls_converges(cls):
    layer = built(cls, bias=np.float32([1.0, 2.0]))
    draw = tf.function(layer)
    n = 400
    draws = np.stack([draw(X) for _ in range(n)])
    standard_error = np.sqrt(np.square(X) @ np.square(SCALE) / n)
    assert np.all(np.abs(draws.mean(0) - (X @ LOC + [1.0, 2.0])) < 4 * standard_error)
    assert np.all(draws.std(0) > 0.8 * standard_error * np.sqrt(n))


def test_flipout_noise_has_the_signs_of_its_example():
    # With one channel in and out the noise is the perturbation times two signs: one magnitude.
    layer = built(DenseFlipout, np.float32([[0.0]]), np.float32([[1.0]]))
    noise = layer(np.ones((500, 1), "float32")).numpy()[:, 0]
    np.testing.assert_allclose(np.abs(noise), abs(noise[0]), rtol=1e-6)
    # The number of positive signs of 500 within four standard errors of 250.
    assert abs(np.sum(noise > 0) - 250) < 4 * np.sqrt(500) / 2


@pytest.mark.parametrize("cls", MEAN_FIELD_ONLY)
def test_normal_posteriors_are_asked_for_where_needed(cls):
    @tf.autograph.experimental.do_not_convert
    def laplace(dtype, shape, name, trainable, add_variable_fn):
        loc = add_variable_fn(name=name, shape=shape, dtype=dtype, initializer="zeros")
        return tfd.Independent(tfd.Laplace(loc, 1.0), 2)

    draw = ScaledKLDivergence(kl_use_exact=False)
    arguments = {"kernel_posterior_fn": laplace, "kernel_divergence_fn": draw}
    with pytest.raises(TypeError, match=r"Independent\(tfd.Normal.*Received: <tfp"):
        cls(2, **arguments)(X)
    layer = DenseReparameterization(2, **arguments)
    assert layer(X).shape == (6, 2)
    assert np.isfinite(layer.losses[0])


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_random_bias(cls):
    n = 20000
    layer = cls(
        n,
        kernel_posterior_tensor_fn="mean",
        bias_posterior_fn=default_mean_field_normal_fn(
            loc_initializer=keras.initializers.Constant(2.0),
            untransformed_scale_initializer=keras.initializers.Constant(float(raw_of(0.5))),
        ),
        seed=1,
    )
    bias = layer(np.zeros((2, 3), "float32")).numpy()
    np.testing.assert_allclose(bias[0], bias[1], atol=1e-6)
    assert abs(bias[0].mean() - 2.0) < 4 * 0.5 / np.sqrt(n)
    assert abs(bias[0].std() / 0.5 - 1) < 4 / np.sqrt(2 * n)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_no_bias(cls):
    layer = cls(2, bias_posterior_fn=None)
    np.testing.assert_allclose(layer(np.zeros((1, 3), "float32")), 0, atol=1e-6)
    assert len(layer.trainable_weights) == 2
    assert (layer.bias_posterior, layer.bias_prior) == (None, None)


# --- the divergence


@pytest.mark.parametrize("cls", ESTIMATORS)
@pytest.mark.parametrize("batch", [1, 6])
def test_kl_is_the_closed_form_counted_once(cls, batch):
    layer = built(cls)
    layer(X[:batch])
    assert len(layer.losses) == 1
    assert float(layer.losses[0]) == pytest.approx(closed_form_kl(LOC, SCALE), rel=1e-5)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_kl_of_the_bias_is_added_where_it_has_a_prior(cls):
    normal = default_mean_field_normal_fn(
        loc_initializer="ones", untransformed_scale_initializer="zeros"
    )
    standard = default_mean_field_normal_fn(
        loc_initializer="zeros",
        untransformed_scale_initializer=keras.initializers.Constant(float(raw_of(1.0))),
    )
    layer = built(cls, bias=1.0, bias_posterior_fn=normal, bias_prior_fn=standard)
    layer(X)
    expected = closed_form_kl(LOC, SCALE) + closed_form_kl(np.ones(2), np.full(2, np.log(2)))
    assert float(sum(layer.losses)) == pytest.approx(expected, rel=1e-5)
    assert [w.name for w in layer.trainable_weights][-2:] == [
        "bias_prior_loc",
        "bias_prior_untransformed_scale",
    ]


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_the_loss_of_a_model_holds_the_kl_over_n_once(cls):
    num_examples = 12
    layer = built(
        cls,
        kernel_divergence_fn=ScaledKLDivergence(kl_weight=1 / num_examples),
        kernel_posterior_tensor_fn="mean",
    )
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile("sgd", "mse")
    x = np.concatenate([X, -X])
    y = np.ones((num_examples, 2), "float32")
    expected = np.mean(np.square(x @ LOC - y)) + closed_form_kl(LOC, SCALE) / num_examples
    for batch_size in (3, 4, 12):
        loss = model.evaluate(x, y, batch_size=batch_size, verbose=0)
        assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_monte_carlo_kl_converges(cls):
    layer = built(cls, kernel_divergence_fn=ScaledKLDivergence(0.5, kl_use_exact=False))

    @tf.function
    def cost(x):
        layer(x)
        return layer.losses[0]

    costs = np.array([cost(X) for _ in range(400)])
    standard_error = costs.std() / np.sqrt(len(costs))
    assert standard_error < 0.2
    assert abs(costs.mean() - 0.5 * closed_form_kl(LOC, SCALE)) < 4 * standard_error


# --- the weights


@pytest.mark.parametrize("jit_compile", [False, True])
def test_all_weights_are_trained(jit_compile):
    model = keras.Sequential([cls(4, activation="softplus") for cls in ESTIMATORS])
    model.build((None, 3))
    assert len(model.trainable_weights) == 9
    before = [weight.numpy() for weight in model.trainable_weights]
    model.compile(keras.optimizers.Adam(0.1), "mse", jit_compile=jit_compile)
    model.fit(X, np.tile(X[:, :1], 4), epochs=2, batch_size=3, verbose=0)
    after = [weight.numpy() for weight in model.trainable_weights]
    for old, new in zip(before, after, strict=True):
        assert np.all(np.isfinite(new))
        assert np.any(old != new)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_gradients_of_the_posterior_match_finite_differences(cls):
    layer = built(cls)
    state = layer.seed_state.numpy()

    def loss():
        layer.seed_state.assign(state)
        layer._clear_losses()
        return tf.reduce_sum(tf.square(layer(X))) + layer.losses[0]

    weights = layer.trainable_weights
    with tf.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(value, [weight.value for weight in weights])
    for weight, gradient in zip(weights, gradients, strict=True):
        direction = np.sign(gradient.numpy()).astype("float32")
        step, at = 1e-2, weight.numpy()
        slope = 0.0
        for sign in (1, -1):
            weight.assign(at + sign * step * direction)
            slope += sign * float(loss()) / (2 * step)
        weight.assign(at)
        assert slope == pytest.approx(np.sum(np.abs(gradient.numpy())), rel=0.01)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_gradients_are_finite_for_an_input_of_zeros(cls):
    layer = built(cls)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(layer(np.zeros((2, 3), "float32")) + 1.0))
    gradients = tape.gradient(loss, [weight.value for weight in layer.trainable_weights])
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)
    np.testing.assert_allclose(gradients[2], [4.0, 4.0], rtol=1e-5)


def test_frozen_and_thawed():
    layer = DenseFlipout(2, trainable=False)
    layer(X)
    assert layer.trainable_weights == []
    layer.trainable = True
    assert len(layer.trainable_weights) == 3


# --- arguments


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"units": 0}, ValueError, "`units` must be an integer of at least 1"),
        ({"units": 2.0}, ValueError, "`units` must be"),
        ({"units": 2, "kernel_posterior_fn": None}, ValueError, "posterior of the kernel"),
        ({"units": 2, "kernel_posterior_fn": 3}, TypeError, "`kernel_posterior_fn` must be"),
        ({"units": 2, "bias_prior_fn": "normal"}, TypeError, "`bias_prior_fn` must be"),
        ({"units": 2, "kernel_posterior_tensor_fn": "median"}, ValueError, "must be one of"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=f"{message}(.|\n)*Received"):
        DenseFlipout(**arguments)


def test_bad_inputs_are_refused():
    with pytest.raises(ValueError, match=r"rank 2 or more.*Received: input shape \(3,\)"):
        DenseFlipout(2).build((3,))
    with pytest.raises(ValueError, match=r"must be known(.|\n)*Received"):
        DenseFlipout(2).build((3, None))


@pytest.mark.parametrize("cls", ESTIMATORS)
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_precision(cls, policy):
    layer = cls(2, dtype=policy, activity_regularizer="l2")
    posterior = "float64" if policy == "float64" else "float32"
    output = layer(X)
    assert output.dtype.name == policy.removeprefix("mixed_")
    assert layer.losses[0].dtype.name == layer.kernel_posterior.dtype.name == posterior
    assert {weight.dtype for weight in layer.trainable_weights} == {posterior}


def test_variance_does_not_overflow_in_half_precision():
    layer = built(DenseLocalReparameterization, dtype="mixed_float16")
    assert np.all(np.isfinite(layer(1000 * X)))


def test_activity_regularizer():
    layer = DenseFlipout(2, kernel_prior_fn=None, activity_regularizer=keras.regularizers.L1(0.5))
    output = layer(X)
    # Keras divides by the batch.
    assert float(layer.losses[0]) == pytest.approx(0.5 * np.sum(np.abs(output)) / 6, rel=1e-5)


# --- random numbers, saving


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_a_seed_fixes_the_draws(cls):
    first, second = built(cls), built(cls)
    draws = [first(X).numpy() for _ in range(2)]
    np.testing.assert_array_equal(second(X), draws[0])
    np.testing.assert_array_equal(second(X), draws[1])
    assert np.all(draws[0] != draws[1])


def test_saved_and_restored_with_its_noise(tmp_path):
    normal = default_mean_field_normal_fn(loc_initializer="zeros")
    model = keras.Sequential(
        [
            keras.Input((3,)),
            DenseReparameterization(4, kernel_divergence_fn=ScaledKLDivergence(0.25)),
            DenseLocalReparameterization(4, activation="relu", bias_posterior_fn=normal),
            DenseFlipout(2, bias_posterior_fn=None, kernel_prior_fn=normal),
        ]
    )
    model.compile("adam", "mse")
    model.fit(X, X[:, :2], verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    for old, new in zip(model.layers, again.layers, strict=True):
        assert new.get_config() == old.get_config()
    np.testing.assert_array_equal(
        again.predict(X, batch_size=2, verbose=0), model.predict(X, batch_size=2, verbose=0)
    )
