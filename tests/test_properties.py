"""What holds for every layer, regulariser, prior and model: see `registry.py`.

The tests of one entry follow each other, so that what they share is made once.
"""

from __future__ import annotations

import inspect
import json
from contextlib import contextmanager
from copy import copy
from functools import lru_cache
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from registry import KINDS, REGISTRY
from tensorflow_probability import distributions as tfd

import tfvae
from tfvae.distributions import plain
from tfvae.layers import DistributionLayer

B = 6
ABSTRACT = {"DistributionLayer", "LatentRegularizer", "Prior"}


@pytest.fixture(scope="module", params=REGISTRY)
def name(request):
    """The name of an entry; a fixture of the module, since pytest goes by the values of those."""
    return request.param


def data(entry):
    return np.random.default_rng(0).uniform(size=(B, *entry.shape)).astype("f")


@lru_cache(maxsize=1)
def target(name):
    """Data in the support of an entry's output: a draw of it, or zeros for a tensor."""
    entry = REGISTRY[name]
    if not entry.loss:
        return None
    keras.utils.set_random_seed(1)
    output = entry.place(entry.make())(data(entry))
    if isinstance(output, tfd.Distribution):
        return plain(output).sample(seed=(1, 2)).numpy()
    return np.zeros(output.shape, "f")


class Trial:
    """A new model of an entry with data to train it on, the same every time."""

    def __init__(self, name):
        self.entry = REGISTRY[name]
        self.x, self.y = data(self.entry), target(name)
        keras.utils.set_random_seed(1)
        self.subject = self.entry.make()
        self.model = self.entry.place(self.subject)

    def compile(self, optimizer="sgd", **kwargs):
        loss = {"loss": self.entry.loss()} if self.entry.loss else {}
        self.model.compile(keras.optimizers.get(optimizer), **loss, **kwargs)
        # Keras would make its variables in the trace of the first step, and trace that again.
        self.model.optimizer.build(self.model.trainable_variables)
        return self

    def step(self):
        return float(self.model.train_on_batch(self.x, self.y, return_dict=True)["loss"])

    def output(self, call=None):
        """The value of the output as an array, with the noise that the model starts with."""
        state = self.model.get_weights()
        try:
            return np.array(tf.convert_to_tensor((call or self.model)(self.x)))
        finally:
            self.model.set_weights(state)


@lru_cache(maxsize=1)
def untrained(name):
    """A model of an entry, for tests that leave it as it was, and what it makes of its data."""
    trial = Trial(name)
    return trial, trial.output()


@pytest.mark.parametrize("kind", KINDS)
def test_everything_public_is_in_the_registry(kind):
    found = {
        cls
        for name, cls in inspect.getmembers(getattr(tfvae, kind), inspect.isclass)
        if issubclass(cls, keras.layers.Layer)
        and cls.__module__.startswith("tfvae.")
        and name not in ABSTRACT
    }
    tried = {type(entry.make()) for part in KINDS.values() for entry in part.values()}
    missing = {cls.__name__ for cls in found - tried}
    assert not missing, f"add these to tests/registry.py: {missing}"
    assert found


def test_is_built_by_its_data_and_made_again_by_its_configuration(name):
    trial, output = untrained(name)
    assert trial.model.built
    assert np.all(np.isfinite(output))
    if hasattr(trial.model, "output_shape"):
        pairs = zip(trial.model.output_shape, output.shape, strict=True)
        assert all(symbolic in (None, size) for symbolic, size in pairs)
    serialized = keras.saving.serialize_keras_object(trial.subject)
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(serialized)))
    assert type(again) is type(trial.subject)
    assert json.dumps(keras.saving.serialize_keras_object(again)) == json.dumps(serialized)


@contextmanager
def same_noise():
    """Draws of numbers that XLA and TensorFlow's kernels agree on.

    From one seed both make the same integers, but not the same floats.
    """
    integers = tf.random.stateless_uniform

    def uniform(shape, seed, minval=0, maxval=None, dtype=tf.float32, **kwargs):
        if not tf.as_dtype(dtype).is_floating:
            return integers(shape, seed, minval, maxval, dtype, **kwargs)
        words = integers(shape, seed, None, None, tf.int32)
        unit = (tf.cast(tf.bitwise.right_shift(words, 9), dtype) + 2.0**22 + 0.5) / 2.0**23
        low = tf.cast(minval, dtype)
        return low + unit * (tf.cast(1.0 if maxval is None else maxval, dtype) - low)

    def normal(shape, seed, mean=0.0, stddev=1.0, dtype=tf.float32, **kwargs):
        unit = uniform(shape, seed, dtype=dtype)
        return mean + stddev * np.sqrt(2.0) * tf.math.erfinv(2.0 * unit - 1.0)

    with pytest.MonkeyPatch.context() as patch:
        for module in (tf.random, tf.compat.v2.random):
            patch.setattr(module, "stateless_uniform", uniform)
            patch.setattr(module, "stateless_normal", normal)
        yield


class Recorder(keras.optimizers.SGD):
    """Keeps the gradients that it is given."""

    def apply_gradients(self, grads_and_vars):
        self.seen = list(grads_and_vars)
        return super().apply_gradients(self.seen)


class Step(NamedTuple):
    """One step in Python: its loss, the gradients by the path of their weight, and its result."""

    loss: float
    gradients: dict
    weights: list


@lru_cache(maxsize=1)
def step_in_python(name):
    optimizer = Recorder(0.01)
    trial = Trial(name).compile(optimizer, run_eagerly=True)
    with same_noise():
        loss = trial.step()
    reached = {id(variable): gradient for gradient, variable in optimizer.seen}
    gradients = {
        f"{i} {weight.path}": reached.get(id(weight))
        for i, weight in enumerate(trial.model.trainable_weights)
    }
    return Step(loss, gradients, [weight.numpy() for weight in trial.model.weights])


def test_a_gradient_reaches_every_trainable_weight(name):
    step = step_in_python(name)
    assert np.isfinite(step.loss)
    assert step.gradients
    for path, gradient in step.gradients.items():
        assert gradient is not None, path
        assert np.all(np.isfinite(gradient)), path
        assert np.any(gradient != 0), path


def test_a_step_compiled_by_xla_equals_one_in_python(name):
    trial = Trial(name).compile(keras.optimizers.SGD(0.01), jit_compile=True)
    with same_noise():
        loss = trial.step()
    expected = step_in_python(name)
    np.testing.assert_allclose(loss, expected.loss, rtol=1e-4)
    for weight, value in zip(trial.model.weights, expected.weights, strict=True):
        np.testing.assert_allclose(weight, value, rtol=1e-3, atol=1e-5, err_msg=weight.path)


def test_mixed_precision_leaves_densities_in_float32(name):
    expected = step_in_python(name)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        trial = Trial(name).compile(run_eagerly=True)
        with same_noise():
            loss = trial.step()
        output = trial.model(trial.x)
    finally:
        keras.config.set_dtype_policy("float32")
    layers = trial.model._flatten_layers()
    dtypes = {layer.name: layer.compute_dtype for layer in layers}
    densities = {layer.name for layer in layers if isinstance(layer, DistributionLayer)}
    assert {dtypes[name] for name in densities} <= {"float32"}
    assert "bfloat16" in dtypes.values()
    if isinstance(output, tfd.Distribution):
        assert output.dtype == tf.float32
    # The networks' numbers have three digits.
    assert loss == pytest.approx(expected.loss, rel=0.05, abs=0.05)


def test_saved_and_loaded_it_goes_on_bit_equal(name, tmp_path):
    trial = Trial(name).compile("adam", run_eagerly=True)
    trial.step()
    trial.model.save(tmp_path / "model.keras")
    loaded = copy(trial)
    loaded.model = tfvae.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.output(), trial.output())
    assert loaded.step() == trial.step()
    for found, expected in zip(loaded.model.weights, trial.model.weights, strict=True):
        np.testing.assert_array_equal(found, expected, err_msg=expected.path)


def test_predict_gives_what_a_call_gives(name):
    trial, expected = untrained(name)
    trial.compile(jit_compile=False)

    def predict(x):
        predicted = trial.model.predict(x, verbose=0)
        assert isinstance(predicted, np.ndarray)
        return predicted

    predicted = trial.output(predict)
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-5)


def test_exported_it_gives_what_a_call_gives(name, tmp_path):
    trial, expected = untrained(name)
    trial.model.export(tmp_path / "exported", verbose=False)
    # The functions of a SavedModel do not keep its variables alive.
    loaded = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(loaded.serve(trial.x), expected, rtol=1e-4, atol=1e-5)
