"""Convolutions with random weights: their output, their moments, their weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfvae import layers
from tfvae.layers import ScaledKLDivergence, default_mean_field_normal_fn

RANKS = [1, 2, 3]
KINDS = ["Reparameterization", "Flipout"]


def layer_of(rank, kind, *args, **kwargs):
    return getattr(layers, f"Conv{rank}D{kind}")(*args, seed=3, **kwargs)


def set_posterior(layer, loc, scale, bias=0.0):
    raw = np.log(np.expm1(np.float64(scale)))
    kernel, raw_scale, bias_loc = layer.trainable_weights
    for weight, value in ((kernel, loc), (raw_scale, raw), (bias_loc, bias)):
        weight.assign(np.broadcast_to(np.float32(value), weight.shape))


# --- the output

CASES = [
    {"padding": "valid"},
    {"padding": "SAME", "strides": 2},
    {"padding": "same", "dilation_rate": 2},
    {"padding": "valid", "data_format": "channels_first", "activation": "tanh"},
    {"padding": "same", "strides": 2, "data_format": "channels_first"},
    {"padding": "causal", "dilation_rate": 2},
    {"padding": "causal", "data_format": "channels_first"},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_without_noise_it_is_the_deterministic_layer(rank, kind, case):
    if case["padding"] == "causal" and rank > 1:
        with pytest.raises(ValueError, match=r"`padding` must be one of.*Received: 'causal'"):
            layer_of(rank, kind, 4, 3, **case)
        return
    space, channels = (7, 6, 5)[:rank], 2
    first = case.get("data_format") == "channels_first"
    shape = (3, channels, *space) if first else (3, *space, channels)
    rng = np.random.default_rng(0)
    kernel_size = (3, 2, 1)[:rank]
    # More filters than the output is long: with as many, Keras 3.15 adds a bias for channels along
    # the last axis of space, where channels come first.
    filters = 9
    kernel = rng.normal(size=(*kernel_size, channels, filters)).astype("float32")
    bias = rng.normal(size=filters).astype("float32")
    x = rng.normal(size=shape).astype("float32")

    layer = layer_of(rank, kind, filters, kernel_size, kernel_posterior_tensor_fn="mean", **case)
    layer.build(shape)
    set_posterior(layer, kernel, 1.0, bias)
    stock = getattr(keras.layers, f"Conv{rank}D")(filters, kernel_size, **case)
    stock.build(shape)
    stock.set_weights([kernel, bias])
    expected = stock(x)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)
    assert layer.compute_output_shape(shape) == tuple(expected.shape)
    unknown = (None, channels, *[None] * rank) if first else (None, *[None] * rank, channels)
    assert layer.compute_output_shape(unknown) == stock.compute_output_shape(unknown)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize(
    ("data_format", "jit_compile"),
    [("channels_last", False), ("channels_last", True), ("channels_first", False)],
)
def test_covariance_within_and_between_examples(rank, kind, data_format, jit_compile):
    # All filters have the same posterior, so they are independent draws of one output, given x.
    filters, examples, channels, scale = 20000, 2, 3, 0.5
    space, windows = (3, 2, 2)[:rank], (2, 1, 1)[:rank]
    rng = np.random.default_rng(rank)
    x = rng.normal(size=(examples, *space, channels)).astype("float32")
    layer = layer_of(rank, kind, filters, windows, data_format=data_format)
    to_last = [0, *range(2, rank + 2), 1]
    inputs = x if data_format == "channels_last" else np.moveaxis(x, -1, 1)
    layer.build(inputs.shape)
    set_posterior(layer, 0.25, scale)
    draw = tf.function(layer, jit_compile=True) if jit_compile else layer
    outputs = np.asarray(draw(inputs), "float64")
    if data_format == "channels_first":
        outputs = outputs.transpose(to_last)
    draws = outputs.reshape(-1, filters)

    # The patch of the input under the window, for each example and position of the window.
    patches = np.stack([x[:, i : i + space[0] - 1] for i in range(2)], axis=-1)
    patches = patches.reshape(len(draws), -1).astype("float64")
    covariance = scale**2 * patches @ patches.T
    if kind == "Flipout":
        # The signs of an example are the same all along space; other examples have others.
        example = np.repeat(np.arange(examples), len(draws) // examples)
        covariance = covariance * (example[:, None] == example[None, :])
    variance = np.diag(covariance)
    assert np.all(np.abs(draws.mean(1) - 0.25 * patches.sum(1)) < 4.5 * np.sqrt(variance / filters))
    # The variance of a product of normals is at most three times that of the product of variances.
    bound = np.sqrt(3 * np.outer(variance, variance) / filters)
    assert np.all(np.abs(np.cov(draws) - covariance) < 4.5 * bound)


def test_any_length_of_space():
    inputs = keras.Input((None, None, 3))
    outputs = layers.Conv2DFlipout(4, 3, padding="same")(inputs)
    assert outputs.shape == (None, None, None, 4)
    model = keras.Model(inputs, outputs)
    for shape in ((2, 5, 7), (3, 9, 4)):
        assert model(np.ones((*shape, 3), "float32")).shape == (*shape, 4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rank", RANKS)
def test_kl_is_the_closed_form_counted_once(rank, kind):
    layer = layer_of(rank, kind, 4, 2, kernel_divergence_fn=ScaledKLDivergence(0.1))
    for batch in (1, 5):
        x = np.ones((batch, *[3] * rank, 2), "float32")
        if not layer.built:
            layer.build(x.shape)
            set_posterior(layer, 0.5, 0.25)
        layer._clear_losses()
        layer(x)
        elements = 2**rank * 2 * 4
        expected = 0.1 * elements * (-np.log(0.25) + (0.25**2 + 0.5**2 - 1) / 2)
        assert len(layer.losses) == 1
        assert float(layer.losses[0]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_bias(kind):
    layer = layer_of(1, kind, 4, 2, bias_posterior_fn=None)
    np.testing.assert_allclose(layer(np.zeros((1, 3, 2), "float32")), 0, atol=1e-6)
    assert len(layer.trainable_weights) == 2
    normal = default_mean_field_normal_fn(untransformed_scale_initializer="zeros")
    layer = layer_of(1, kind, 4, 2, data_format="channels_first", bias_posterior_fn=normal)
    output = layer(np.zeros((2, 2, 3), "float32")).numpy()
    # One draw for all examples and positions.
    np.testing.assert_allclose(output, np.broadcast_to(output[:1, :, :1], output.shape), atol=1e-6)
    assert len(np.unique(np.round(output, 5))) == 4


# --- the weights


@pytest.mark.parametrize("rank", RANKS)
def test_trained_saved_and_restored_with_its_noise(rank, tmp_path):
    shape = (4, *[3] * rank, 1)
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    y = np.ones((4, 1), "float32")
    pool = getattr(keras.layers, f"GlobalAveragePooling{rank}D")
    model = keras.Sequential(
        [
            keras.Input(shape[1:]),
            layer_of(rank, "Reparameterization", 2, 2, activation="softplus", padding="same"),
            layer_of(rank, "Flipout", 2, 2, kernel_divergence_fn=ScaledKLDivergence(0.25)),
            pool(),
            keras.layers.Dense(1),
        ]
    )
    assert len(model.trainable_weights) == 8
    before = [weight.numpy() for weight in model.trainable_weights]
    model.compile(keras.optimizers.Adam(0.01), "mse", jit_compile=False)
    model.fit(x, y, batch_size=2, verbose=0)
    for old, new in zip(before, model.trainable_weights, strict=True):
        assert np.all(np.isfinite(new))
        assert np.any(old != new.numpy())
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    for old, new in zip(model.layers, again.layers, strict=True):
        assert new.get_config() == old.get_config()
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def test_gradients_under_xla():
    layer = layers.Conv2DFlipout(2, 2, kernel_posterior_tensor_fn="mean")
    x = np.random.default_rng(0).normal(size=(2, 3, 3, 1)).astype("float32")
    layer.build(x.shape)

    def gradients(x):
        with tf.GradientTape() as tape:
            layer._clear_losses()
            loss = tf.reduce_sum(tf.square(layer(x))) + layer.losses[0]
        return tape.gradient(loss, [weight.value for weight in layer.trainable_weights])

    compiled = tf.function(gradients, jit_compile=True)(x)
    for fast, slow in zip(compiled, gradients(x), strict=True):
        assert np.any(slow != 0)
        np.testing.assert_allclose(fast, slow, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_precision(kind):
    layer = layer_of(2, kind, 4, 2, dtype="mixed_bfloat16")
    assert layer(np.ones((1, 3, 3, 2), "float32")).dtype.name == "bfloat16"
    assert layer.losses[0].dtype.name == layer.kernel_posterior.dtype.name == "float32"


# --- arguments


def test_names_are_those_of_tfp():
    for rank in RANKS:
        for kind in KINDS:
            long, short = (getattr(layers, f"{c}{rank}D{kind}") for c in ("Convolution", "Conv"))
            assert long is short
            assert short.__name__ == f"Conv{rank}D{kind}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": 0}, "`filters` must be an integer of at least 1"),
        ({"kernel_size": (3, 3, 3)}, "`kernel_size` must be an integer, or a tuple of 2"),
        ({"kernel_size": 2.5}, "`kernel_size` must be"),
        ({"strides": (1, 0)}, "`strides` must be an integer of at least 1"),
        ({"dilation_rate": "2"}, "`dilation_rate` must be"),
        ({"padding": "full"}, "`padding` must be one of"),
        ({"data_format": None}, "`data_format` must be one of"),
        ({"strides": 2, "dilation_rate": 2}, "not both"),
        ({"kernel_posterior_fn": None}, "posterior of the kernel"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"{message}(.|\n)*Received"):
        layers.Conv2DFlipout(**{"filters": 2, "kernel_size": 3, **arguments})


def test_bad_inputs_are_refused():
    with pytest.raises(ValueError, match=r"needs an input of rank 4.*\n?.*Received"):
        layers.Conv2DFlipout(2, 3).build((None, 8, 3))
    with pytest.raises(ValueError, match=r"must be known(.|\n)*Received"):
        layers.Conv2DFlipout(2, 3, data_format="channels_first").build((None, None, 8, 8))
