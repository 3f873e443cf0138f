"""Graphs without state, noise or half precision, whatever the model does in training."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import LATENT, SHAPE, make_parts, make_vae

from tfvae import layers
from tfvae.export.signatures import Choices, signatures_of
from tfvae.export.tracing import in_float32, trace, trace_all


def traced(model, name, batch=None):
    found, _ = signatures_of(model, Choices())
    return trace(model, found[name], batch)


def operations(made):
    return {operation.type for operation in made.function.graph.get_operations()}


@pytest.mark.parametrize("name", ["encode", "decode", "reconstruct", "sample", "log_prob"])
def test_a_graph_reads_weights_and_nothing_else(vae, name):
    made = traced(vae, name)
    names = {variable.name.split(":")[0] for variable in made.variables}
    weights = {weight.path for weight in vae.trainable_weights}
    assert names <= weights
    assert not [op for op in operations(made) if "Random" in op or "Assign" in op]


def test_tracing_draws_nothing(vae):
    before = [weight.numpy() for weight in vae.non_trainable_weights]
    traced(vae, "reconstruct")
    for old, weight in zip(before, vae.non_trainable_weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)


def test_batch_sizes_are_static_or_open(vae):
    for batch in (None, 1, 5):
        outputs = traced(vae, "sample", batch).function.structured_outputs
        assert outputs["x"].shape.as_list() == [batch, *SHAPE]
        assert outputs["z"].shape.as_list() == [batch, LATENT]


def test_a_graph_answers_as_the_model(vae, pictures):
    found = traced(vae, "encode").function(x=tf.constant(pictures))
    np.testing.assert_allclose(found["loc"], vae.code(pictures), rtol=1e-6, atol=1e-6)


@keras.saving.register_keras_serializable(package="test")
class OwnNoise(keras.layers.Layer):
    """A user's layer that draws in inference too, each in another way."""

    def __init__(self, how, **kwargs):
        super().__init__(**kwargs)
        self.how = how
        self.generator = keras.random.SeedGenerator(1)
        self.count = self.add_weight(shape=(), trainable=False, name="count")

    def call(self, x):
        if self.how == "own generator":
            return x + keras.random.normal((1,), seed=self.generator)
        if self.how == "Keras' generator":
            return x + keras.random.normal((1,))
        if self.how == "TensorFlow's generator":
            return x + tf.random.normal((1,))
        self.count.assign_add(1.0)
        return x * self.count


@pytest.mark.parametrize(
    "how", ["own generator", "Keras' generator", "TensorFlow's generator", "a count of calls"]
)
def test_refuses_noise_that_no_input_decides_and_names_the_layer(how):
    model = make_parts(OwnNoise(how, name="culprit"))
    with pytest.raises(ValueError, match=r"`encode` would depend on.*Received: .*culprit"):
        traced(model, "encode")


def test_refuses_variational_layers():
    model = make_parts(layers.DenseReparameterization(8, name="bayesian"))
    with pytest.raises(ValueError, match=r"Received: .*'bayesian', which changes"):
        traced(model, "encode")


@pytest.mark.parametrize(
    "layer",
    [
        lambda: keras.layers.Dropout(0.5),
        lambda: keras.layers.GaussianNoise(1.0),
        lambda: keras.layers.BatchNormalization(),
    ],
    ids=["dropout", "noise", "batch normalisation"],
)
def test_layers_that_rest_in_inference_are_fine(layer, pictures):
    model = make_parts(layer())
    found = traced(model, "encode").function(x=tf.constant(pictures))
    np.testing.assert_allclose(found["loc"], model.code(pictures), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_becomes_float32(policy, pictures):
    keras.config.set_dtype_policy(policy)
    try:
        mixed = make_vae("conv")
    finally:
        keras.config.set_dtype_policy("float32")
    plain = make_vae("conv")
    weights = [weight for weight in mixed.weights if "seed_state" not in weight.path]
    others = [weight for weight in plain.weights if "seed_state" not in weight.path]
    for weight, other in zip(weights, others, strict=True):
        other.assign(weight)
    with in_float32(mixed):
        found = traced(mixed, "reconstruct").function(x=tf.constant(pictures))["x"]
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, plain.reconstruct(pictures), atol=1e-6)
    policies = {layer.dtype_policy.name for layer in mixed.decoder.layers[:-1]}
    assert policies == {policy}


def test_refuses_float64():
    keras.config.set_dtype_policy("float64")
    try:
        model = make_vae()
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(TypeError, match="float64 weights"), in_float32(model):
        pass


def test_what_the_distributions_do_not_allow_is_named_or_refused():
    model = make_vae(posterior=layers.VonMisesFisher(LATENT))
    found, _ = signatures_of(model, Choices(), ["decode", "log_prob"])
    batches = dict.fromkeys(found, (None,))
    made, impossible = trace_all(model, found, batches, required=False)
    assert list(made) == ["decode"]
    assert impossible == {"log_prob": "there is no draw by rows from a VonMisesFisher"}
    with pytest.raises(ValueError, match="`log_prob`: there is no draw by rows"):
        trace_all(model, found, batches, required=True)
