"""The autoregressive network: its masks, against TFP's on tf_keras, and what Keras does with it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfvae.flows import AutoregressiveNetwork

RNG = np.random.default_rng(4)
B, D, P = 3, 5, 2
X = RNG.normal(size=(B, D)).astype("f")

ORDERS = ["left-to-right", "right-to-left", "random", [3, 1, 5, 2, 4]]


def filled(network, x=X, **inputs):
    """The network with weights of no particular size, masked places of the kernels among them."""
    network(x, **inputs)
    for weight in network.trainable_weights:
        weight.assign(RNG.normal(size=weight.shape))
    return network


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("hidden", [{}, {"hidden_units": [16, 9]}])
@pytest.mark.parametrize("degrees", ["equal", "random"])
def test_an_output_depends_on_what_comes_before_and_on_all_of_it(order, hidden, degrees):
    made = AutoregressiveNetwork(
        P, input_order=order, hidden_degrees=degrees, activation="tanh", seed=5, **hidden
    )
    filled(made)
    with tf.GradientTape() as tape:
        x = tf.Variable(X)
        y = made(x)
    assert y.shape == (B, D, P)
    # [output element, input element], over the batch and the parameters
    depends = np.abs(tape.batch_jacobian(y, x)).sum((0, 2)) > 0
    before = made.order[None, :] < made.order[:, None]
    if degrees == "equal":
        np.testing.assert_array_equal(depends, before)
    else:
        assert not depends[~before].any()
        assert depends.any()


@pytest.mark.parametrize("order", ["left-to-right", "right-to-left", [3, 1, 5, 2, 4]])
@pytest.mark.parametrize("units", [None, [6], [7, 16]])
def test_equals_tfp(order, units):
    options = {"hidden_units": units, "input_order": order, "activation": "relu"}
    theirs = tfb.AutoregressiveNetwork(P, event_shape=D, **options)
    theirs(X)
    made = AutoregressiveNetwork(P, event_shape=D, **options)
    made(X)
    made.set_weights([RNG.normal(size=w.shape).astype("f") for w in made.get_weights()])
    # TFP keeps its kernels masked where ours are masked as they are used.
    masked = [
        w * (np.array(mask) if mask is not None else 1)
        for w, mask in zip(
            made.get_weights(), [m for mask in made.masks for m in (mask, None)], strict=True
        )
    ]
    theirs.set_weights(masked)
    np.testing.assert_allclose(made(X), theirs(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("where", ["all_layers", "first_layer"])
def test_conditional_network_equals_tfp(where):
    options = {
        "event_shape": D,
        "conditional": True,
        "conditional_event_shape": 2,
        "conditional_input_layers": where,
        "hidden_units": [8],
        "activation": "tanh",
    }
    theirs, made = tfb.AutoregressiveNetwork(P, **options), AutoregressiveNetwork(P, **options)
    condition = RNG.normal(size=(B, 2)).astype("f")
    theirs(X, conditional_input=condition)
    filled(made, conditional_input=condition)
    ours = {weight.name: weight.numpy() for weight in made.weights}
    for layer, mask in enumerate(made.masks):
        ours[f"kernel_{layer}"] = ours[f"kernel_{layer}"] * mask
    names = ["kernel_0", "bias_0", "conditional_kernel_0", "kernel_1", "bias_1"]
    if where == "all_layers":
        names.append("conditional_kernel_1")
    theirs.set_weights([ours[name] for name in names])
    np.testing.assert_allclose(
        made(X, conditional_input=condition),
        theirs(X, conditional_input=condition),
        rtol=1e-5,
        atol=1e-5,
    )


def test_a_flow_of_it_has_an_inverse_and_a_density():
    made = AutoregressiveNetwork(2, event_shape=2, hidden_units=[8], activation="tanh", seed=1)
    flow = tfb.MaskedAutoregressiveFlow(filled(made, X[:, :2]))
    np.testing.assert_allclose(flow.inverse(flow.forward(X[:, :2]) + 0.0), X[:, :2], atol=1e-4)
    density = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(2)), flow)
    axis = np.linspace(-30, 30, 1501, dtype="f")
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    total = np.trapezoid(np.trapezoid(density.prob(grid), axis), axis)
    np.testing.assert_allclose(total, 1.0, atol=5e-3)


def test_a_vector_without_a_batch():
    made = filled(AutoregressiveNetwork(P, hidden_units=[8]))
    np.testing.assert_allclose(made(X[0]), made(X)[0], rtol=1e-6)
    assert made(X[None]).shape == (1, B, D, P)


def test_random_masks_are_saved(tmp_path):
    made = AutoregressiveNetwork(
        P,
        hidden_units=[8],
        input_order="random",
        hidden_degrees="random",
        kernel_regularizer="l2",
        bias_initializer="ones",
    )
    model = keras.Sequential([keras.Input((D,)), made])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(X), model(X))
    assert len(model.losses) == 2
    assert loaded.layers[0].get_config() == made.get_config()


def test_weights_are_seen_and_masked_kernels_start_at_zero():
    made = AutoregressiveNetwork(P, hidden_units=[8])
    model = keras.Sequential([keras.Input((D,)), made])
    assert [weight.name for weight in model.trainable_weights] == [
        "kernel_0",
        "bias_0",
        "kernel_1",
        "bias_1",
    ]
    for kernel, mask in zip(made.kernels, made.masks, strict=True):
        np.testing.assert_array_equal(kernel.numpy() != 0, mask != 0)
    # Initialisers without a seed repeat themselves: two layers of one shape must differ.
    square = AutoregressiveNetwork(1, hidden_units=[D, D])
    square(X)
    assert not np.array_equal(square.kernels[1], square.kernels[2])


ERRORS = [
    ({"params": 0}, "`params` .* Received: 0"),
    ({"event_shape": (2, 3)}, r"`event_shape` must be the size of a vector.*\(2, 3\)"),
    ({"conditional": True}, "needs `event_shape`"),
    ({"conditional_event_shape": 3}, "takes no `conditional_event_shape`"),
    ({"input_order": "middle-out"}, "`input_order` must be one of"),
    ({"hidden_degrees": "few"}, "`hidden_degrees` must be one of"),
    ({"conditional_input_layers": "last"}, "`conditional_input_layers` must be one of"),
]


@pytest.mark.parametrize(("options", "message"), ERRORS)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        AutoregressiveNetwork(**{"params": 2, **options})


def test_errors_of_the_input():
    with pytest.raises(ValueError, match="events of size 4"):
        AutoregressiveNetwork(2, event_shape=4)(X)
    with pytest.raises(ValueError, match="permutation of 1 to 5"):
        AutoregressiveNetwork(2, input_order=[1, 2, 3, 4, 4])(X)
    with pytest.raises(ValueError, match="and no other, takes `conditional_input`"):
        AutoregressiveNetwork(2)(X, conditional_input=X)
    with pytest.raises(tf.errors.InvalidArgumentError, match="not finite"):
        AutoregressiveNetwork(2, validate_args=True)(X * np.nan)
