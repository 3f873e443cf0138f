"""The Bayesian layers against those of TFP, which run on tf_keras in the same process.

For the same weights both sides must give the same output without noise, the same divergence and the
same posterior, and take the same arguments. What differs on purpose stands in `DIFFERENCES`.
"""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd
from tensorflow_probability.python.layers import conv_variational
from tf_keras import initializers as tf_keras_initializers

from tfvae import layers

DENSE = ["DenseReparameterization", "DenseLocalReparameterization", "DenseFlipout"]
CONVOLUTIONS = [
    f"Convolution{rank}D{kind}" for rank in (1, 2, 3) for kind in ("Reparameterization", "Flipout")
]
NAMES = [
    *DENSE,
    *CONVOLUTIONS,
    "DenseVariational",
    "VariableLayer",
    "BlockwiseInitializer",
    "default_loc_scale_fn",
    "default_mean_field_normal_fn",
    "default_multivariate_normal_fn",
]

# Accepted differences of the signatures: for a layer's argument our default, and the reason. A
# default that is a function is compared by what it does.
SEED = (None, "added: every layer that draws has a seed, and saves the state of its noise")
INITIALIZER = (
    None,
    "stands for TFP's initialiser: an initialiser has fixed values once it is made, so that one "
    "instance as the default starts all layers with the same weights, as it does in TFP",
)
WINDOW = (1, "stands for a tuple of ones: one signature serves the convolutions of every rank")
DIFFERENCES = {
    **{
        (name, "seed"): SEED
        for name in [*DENSE, *CONVOLUTIONS, "DenseVariational"]
        if not name.endswith("Flipout")
    },
    **{
        (name, argument): INITIALIZER
        for name in ("default_loc_scale_fn", "default_mean_field_normal_fn")
        for argument in ("loc_initializer", "untransformed_scale_initializer")
    },
    **{
        (name, argument): WINDOW
        for name in CONVOLUTIONS
        if "1D" not in name
        for argument in ("strides", "dilation_rate")
    },
}

RAW_ZERO = -1000.0

# TFP's own: it calls a deprecated method, and one initialiser for every layer.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*add_variable. is deprecated"),
    pytest.mark.filterwarnings("ignore:The initializer RandomNormal is unseeded"),
]


def parameters(function):
    return {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self"
    }


def is_function(parameter):
    return parameter.default is not parameter.empty and callable(parameter.default)


@pytest.mark.parametrize("name", NAMES)
def test_signature(name):
    theirs, ours = parameters(getattr(tfp.layers, name)), parameters(getattr(layers, name))
    added = [argument for argument in ours if argument not in theirs]
    assert [argument for argument in ours if argument in theirs] == list(theirs)
    assert [(name, argument) for argument in added if (name, argument) not in DIFFERENCES] == []
    for argument, parameter in theirs.items():
        assert parameter.kind == ours[argument].kind
        if (name, argument) in DIFFERENCES:
            assert ours[argument].default == DIFFERENCES[name, argument][0]
        elif not is_function(parameter):
            assert ours[argument].default == parameter.default


def test_the_table_of_differences_has_no_stale_row():
    for name, argument in DIFFERENCES:
        theirs, ours = parameters(getattr(tfp.layers, name)), parameters(getattr(layers, name))
        assert argument in ours
        assert argument not in theirs or ours[argument].default != theirs[argument].default


def test_short_names():
    for name in CONVOLUTIONS:
        short = name.replace("olution", "")
        assert getattr(conv_variational, short) is getattr(tfp.layers, name)
        assert getattr(layers, short) is getattr(layers, name)
        assert getattr(layers, name).__name__ == getattr(tfp.layers, name).__name__


@pytest.mark.parametrize("name", [*DENSE, *CONVOLUTIONS])
def test_defaults_that_are_functions_do_the_same(name):
    theirs, ours = parameters(getattr(tfp.layers, name)), parameters(getattr(layers, name))
    compared = {f"{weight}_posterior_fn" for weight in ("kernel", "bias")}
    compared |= {f"{weight}_posterior_tensor_fn" for weight in ("kernel", "bias")}
    compared |= {f"{weight}_divergence_fn" for weight in ("kernel", "bias")}
    compared |= {"kernel_prior_fn"}
    assert compared == {key for key, parameter in theirs.items() if is_function(parameter)}
    q, p = tfd.Normal([1.0], [0.5]), tfd.Normal([0.0], [1.0])
    for key in ("kernel_divergence_fn", "bias_divergence_fn"):
        np.testing.assert_allclose(
            ours[key].default(q, p, None), theirs[key].default(q, p, None)[0], rtol=1e-6
        )
    for key in ("kernel_posterior_tensor_fn", "bias_posterior_tensor_fn"):
        point = tfd.Deterministic([1.5])
        np.testing.assert_array_equal(ours[key].default(point), theirs[key].default(point))
    for key in ("kernel_posterior_fn", "bias_posterior_fn", "kernel_prior_fn"):
        made = [
            side[key].default(tf.float32, [2, 2], "w", True, Variables()) for side in (theirs, ours)
        ]
        np.testing.assert_allclose(made[1].mean(), made[0].mean(), rtol=1e-6)
        np.testing.assert_allclose(made[1].stddev(), made[0].stddev(), rtol=1e-5, atol=1e-6)
        assert made[1].event_shape == made[0].event_shape


class Variables:
    """Makes known variables, whatever the initialiser, for TFP's functions and for ours."""

    def __init__(self):
        self.names = []

    def __call__(self, name, shape, **ignored):
        self.names.append(name)
        values = np.linspace(-3.0, 2.0, int(np.prod(shape))).reshape(shape)
        return tf.Variable(values.astype("float32"))


@pytest.mark.parametrize("is_singular", [False, True])
@pytest.mark.parametrize("name", ["default_loc_scale_fn", "default_mean_field_normal_fn"])
def test_default_functions(name, is_singular):
    asked, made = [], []
    for side in (tfp.layers, layers):
        variables = Variables()
        fn = getattr(side, name)(is_singular=is_singular)
        made.append(fn(tf.float32, [3, 2], "kernel", True, variables))
        asked.append(variables.names)
    assert asked[0] == asked[1]
    if name == "default_loc_scale_fn":
        for theirs, ours in zip(*made, strict=True):
            if theirs is None:
                assert ours is None
            else:
                np.testing.assert_allclose(ours, tf.convert_to_tensor(theirs), rtol=1e-6)
        return
    theirs, ours = made
    assert type(ours.distribution) is type(theirs.distribution)
    np.testing.assert_allclose(ours.mean(), theirs.mean(), rtol=1e-6)
    np.testing.assert_allclose(ours.stddev(), theirs.stddev(), rtol=1e-6)


def test_default_prior():
    arguments = (tf.float32, [3, 2], "kernel", True, None)
    theirs = tfp.layers.default_multivariate_normal_fn(*arguments)
    ours = layers.default_multivariate_normal_fn(*arguments)
    at = np.linspace(-1, 1, 6).reshape(3, 2).astype("float32")
    np.testing.assert_allclose(ours.log_prob(at), theirs.log_prob(at), rtol=1e-6)


def both_sides(name, shape, *args, **kwargs):
    """A layer of each side with the same weights; returns them and those weights."""
    theirs = getattr(tfp.layers, name)(*args, **kwargs)
    ours = getattr(layers, name)(*args, **kwargs)
    theirs.build(shape)
    ours.build(shape)
    rng = np.random.default_rng(0)
    for old, new in zip(theirs.trainable_weights, ours.trainable_weights, strict=True):
        assert old.name.split(":")[0].split("/")[-1] == new.name
        assert tuple(old.shape) == tuple(new.shape)
        values = rng.normal(size=old.shape).astype("float32")
        old.assign(values)
        new.assign(values)
    return theirs, ours


CASES = [
    *((name, (4, 3), (2,), {}) for name in DENSE),
    *((name, (4, 5, 3), (2,), {"activation": tf.nn.relu}) for name in DENSE),
    *(
        (name, (2, *(6, 5, 4)[: int(name[11])], 3), (2, 2), {"padding": "SAME", "strides": 2})
        for name in CONVOLUTIONS
    ),
    *(
        (name, (2, *(6, 5, 4)[: int(name[11])], 3), (2, 2), {"dilation_rate": 2})
        for name in CONVOLUTIONS
    ),
]


@pytest.mark.parametrize(("name", "shape", "args", "kwargs"), CASES)
def test_posterior_divergence_and_output_without_noise(name, shape, args, kwargs):
    theirs, ours = both_sides(name, shape, *args, **kwargs)
    for role in ("kernel_posterior", "kernel_prior", "bias_posterior"):
        old, new = getattr(theirs, role), getattr(ours, role)
        np.testing.assert_allclose(new.mean(), old.mean(), rtol=1e-6)
        np.testing.assert_allclose(new.stddev(), old.stddev(), rtol=1e-5)
        at = tf.fill(new.event_shape, 0.3)
        if role.startswith("kernel"):
            np.testing.assert_allclose(new.log_prob(at), old.log_prob(at), rtol=1e-5)
    assert ours.bias_prior is theirs.bias_prior is None
    x = np.random.default_rng(1).normal(size=shape).astype("float32")
    theirs(x), ours(x)
    assert len(ours.losses) == len(theirs.losses) == 1
    np.testing.assert_allclose(ours.losses[0], theirs.losses[0], rtol=1e-5)
    # The posterior's scale to zero, on both sides.
    for side in (theirs, ours):
        raw = next(w for w in side.trainable_weights if "untransformed_scale" in w.name)
        raw.assign(np.full(raw.shape, RAW_ZERO, "float32"))
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-4, atol=1e-4)
    assert ours.compute_output_shape(shape) == tuple(theirs.compute_output_shape(shape))


@pytest.mark.parametrize("name", DENSE)
def test_moments_with_noise(name):
    # All units have the same posterior: draws of one output, given x. TFP's own draws against ours.
    n = 20000
    theirs, ours = both_sides(name, (3, 4), n)
    x = np.random.default_rng(1).normal(size=(3, 4)).astype("float32")
    draws = []
    for side in (theirs, ours):
        loc, raw, bias = side.trainable_weights
        loc.assign(np.tile(np.float32([[0.1], [0.2], [0.3], [0.4]]), n))
        raw.assign(np.tile(np.float32([[0.0], [-1.0], [-2.0], [1.0]]), n))
        bias.assign(np.zeros(n))
        draws.append(np.asarray(side(x), "float64"))
    variance = draws[1].var(1)
    # Both are estimates, so their difference has twice the variance of one.
    assert np.all(np.abs(draws[0].mean(1) - draws[1].mean(1)) < 4 * np.sqrt(2 * variance / n))
    assert np.all(np.abs(draws[0].var(1) / variance - 1) < 4 * np.sqrt(2 * 2 / n))
    bound = np.sqrt(2 * 3 * np.outer(variance, variance) / n)
    assert np.all(np.abs(np.cov(draws[0]) - np.cov(draws[1])) < 4 * bound)


LOC, SCALE = np.linspace(-1.0, 1.0, 8), np.linspace(0.5, 1.5, 8)


@pytest.mark.parametrize("kl_weight", [None, 0.1])
@pytest.mark.parametrize("kl_use_exact", [False, True])
def test_dense_variational(kl_weight, kl_use_exact):
    def near_point(kernel_size, bias_size, dtype):
        # Draws of next to no noise: the divergence at the draw is the same on both sides.
        scale = SCALE.astype("float32") if kl_use_exact else np.float32(1e-4)
        loc = LOC.astype("float32")
        return lambda: tfd.Independent(tfd.Normal(loc, scale), reinterpreted_batch_ndims=1)

    def standard(kernel_size, bias_size, dtype):
        zeros = np.zeros(kernel_size + bias_size, "float32")
        return lambda: tfd.Independent(tfd.Normal(zeros, 1.0), reinterpreted_batch_ndims=1)

    def on(side):
        def layer_of(make):
            def made(*sizes):
                distribution = make(*sizes)
                return side.DistributionLambda(lambda x: distribution())

            return made

        return side.DenseVariational(
            2, layer_of(near_point), layer_of(standard), kl_weight, kl_use_exact
        )

    theirs, ours = on(tfp.layers), on(layers)
    x = np.random.default_rng(1).normal(size=(4, 3)).astype("float32")
    outputs = [np.asarray(side(x)) for side in (theirs, ours)]
    if kl_use_exact:
        assert len(ours.losses) == len(theirs.losses) == 1
        np.testing.assert_allclose(ours.losses[0], theirs.losses[0], rtol=1e-5)
    else:
        np.testing.assert_allclose(outputs[1], outputs[0], atol=5e-3)
        # log q at a draw varies by sqrt(8 / 2) = 2 on either side; the rest is the same.
        factor = 1.0 if kl_weight is None else kl_weight
        assert abs(float(ours.losses[0] - theirs.losses[0])) < 4 * factor * 2 * np.sqrt(2)
    assert ours.compute_output_shape((None, 3)) == tuple(theirs.compute_output_shape((None, 3)))


@pytest.mark.parametrize("activation", [None, "softplus"])
def test_variable_layer_and_blockwise_initializer(activation):
    shape, sizes = [2, 3], [1, 2]
    theirs = tfp.layers.VariableLayer(
        shape,
        activation=activation,
        initializer=tfp.layers.BlockwiseInitializer(
            ["zeros", tf_keras_initializers.Constant(0.5)], sizes
        ),
    )
    ours = layers.VariableLayer(
        shape,
        activation=activation,
        initializer=layers.BlockwiseInitializer(["zeros", keras.initializers.Constant(0.5)], sizes),
    )
    assert [w.name.split(":")[0].split("/")[-1] for w in theirs.weights] == ["constant"]
    assert [w.name for w in ours.weights] == ["constant"]
    np.testing.assert_allclose(ours(0.0), theirs(0.0), rtol=1e-6)
