"""Schedules: their values, and that a training takes exactly one step of them a training step."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfvae
from tfvae import VAE, layers, priors, schedules
from tfvae.losses import NegativeLogLikelihood
from tfvae.regularizers import KLDivergenceRegularizer

N, D, L = 12, 4, 2
X = np.random.default_rng(0).uniform(size=(N, D)).astype("f")
T = 10


def logistic(u, k=10.0):
    return 1 / (1 + np.exp(-k * (u - 0.5)))


# Each shape from 0 to 1 over u in [0, 1], in NumPy; T steps.
SHAPES = {
    "linear": (schedules.LinearWarmup, {}, lambda u: u),
    "cosine": (schedules.Cosine, {}, lambda u: np.sin(0.5 * np.pi * u) ** 2),
    "sigmoid": (
        schedules.Sigmoid,
        {"steepness": 10.0},
        lambda u: (logistic(u) - logistic(0.0)) / (logistic(1.0) - logistic(0.0)),
    ),
    "cyclical": (
        schedules.Cyclical,
        {"cycles": 2, "ratio": 0.8},
        lambda u: np.minimum(np.round(10 * u) % 5 / 5 / 0.8, 1.0),
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_values_are_those_of_the_formula(name):
    cls, options, shape = SHAPES[name]
    schedule = cls(T, start=0.25, stop=4.0, **options)
    expected = 0.25 + 3.75 * shape(np.arange(T) / T)
    found = schedule(np.arange(3 * T)).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:T], expected, rtol=1e-6)
    np.testing.assert_array_equal(found[T:], 4.0)
    assert found[0] == 0.25
    assert float(schedule(T - 1)) == found[T - 1]
    assert schedule.num_steps == T


def test_a_constant_is_constant():
    np.testing.assert_array_equal(schedules.Constant(0.3)([0, 5, 10**12]), np.float32([0.3] * 3))
    assert schedules.Constant(0.3).num_steps == 0


def test_cycles_that_do_not_divide_the_steps_end_with_them():
    # Periods of ceil(10 / 4) = 3 steps, the last one cut short by the end.
    found = schedules.Cyclical(10, cycles=4, ratio=1.0)(range(12)).numpy()
    np.testing.assert_allclose(found, [0, 1 / 3, 2 / 3] * 3 + [0, 1, 1], rtol=1e-6)


@pytest.mark.parametrize("name", SHAPES)
def test_configuration_makes_the_same_schedule(name):
    cls, options, _ = SHAPES[name]
    schedule = cls(T, 0.5, 2.0, **options)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert type(again) is cls
    assert again.get_config() == schedule.get_config()
    assert repr(again).startswith(f"{cls.__name__}(num_steps=10, start=0.5, stop=2.0")


# ---- in a training ----------------------------------------------------------------------------


def encoder(**kwargs):
    posterior = layers.MultivariateNormalDiag(L, "mean", seed=1, **kwargs)
    return [keras.Input((D,)), keras.layers.Dense(2 * L), posterior]


def decoder():
    return [keras.layers.Dense(D), layers.IndependentNormal(D, "mean", scale=0.5)]


def vae(schedule=None, **options):
    keras.utils.set_random_seed(0)
    made = VAE(
        keras.Sequential(encoder()),
        keras.Sequential([keras.Input((L,)), *decoder()]),
        beta=schedule or schedules.LinearWarmup(8),
    )
    made.compile(keras.optimizers.SGD(0.01), **options)
    return made


def stock(schedule=None, **options):
    """The same model without `tfvae.VAE`: the posterior's layer holds the regulariser."""
    keras.utils.set_random_seed(0)
    weight = schedule or schedules.LinearWarmup(8)
    regularizer = KLDivergenceRegularizer(priors.StandardNormal(L), weight=weight)
    made = keras.Sequential([*encoder(activity_regularizer=regularizer), *decoder()])
    made.compile(keras.optimizers.SGD(0.01), loss=NegativeLogLikelihood(), **options)
    return made


class Values(keras.callbacks.Callback):
    """Collects the value that is logged after each batch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(float(logs["beta"]))


def fit(model, epochs=2, **options):
    values = Values()
    options = {"batch_size": 4, "shuffle": False, "verbose": 0, **options}
    history = model.fit(X, X, epochs=epochs, callbacks=[values], **options).history
    return values.seen, history


def step(model):
    (weight,) = [w for w in model.weights if w.path.endswith("beta/step")]
    return int(tf.convert_to_tensor(weight))


MODELS = {"vae": vae, "stock": stock}
MODES = {
    "one step": ({}, 1),
    "three steps": ({"steps_per_execution": 3}, 3),
    "xla": ({"jit_compile": True}, 1),
    "eager": ({"run_eagerly": True}, 1),
}


@pytest.mark.filterwarnings("ignore:The schedule")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", MODELS)
def test_every_training_step_takes_one_step_of_the_schedule(kind, mode):
    options, per_log = MODES[mode]
    model = MODELS[kind](**options)
    seen, history = fit(model, validation_data=(X, X))
    # Two epochs of three batches of a warm-up over eight steps.
    expected = np.arange(6) / 8
    np.testing.assert_allclose(seen, expected[per_log - 1 :: per_log])
    np.testing.assert_allclose(history["beta"], [2 / 8, 5 / 8])
    assert step(model) == 6
    # Validation and evaluation count no step, and weigh as the last step of training did.
    np.testing.assert_allclose(history["val_beta"], history["beta"])
    assert model.evaluate(X, X, verbose=0, return_dict=True)["beta"] == 5 / 8
    assert step(model) == 6


@pytest.mark.filterwarnings("ignore:The schedule")
@pytest.mark.parametrize("kind", MODELS)
def test_the_value_is_the_weight_of_the_loss(kind):
    model = MODELS[kind](schedules.LinearWarmup(2, 0.5, 3.0))
    posterior = keras.Sequential(model.encoder.layers if kind == "vae" else model.layers[:2])
    fit(model, epochs=1, batch_size=N)
    for value in (0.5, 1.75, 3.0, 3.0):
        q = posterior(X)
        kl = 0.5 * (q.stddev() ** 2 + q.mean() ** 2 - 1 - 2 * tf.math.log(q.stddev()))
        likelihood = model(X).log_prob(X)
        expected = -np.mean(likelihood) + value * np.mean(np.sum(kl, 1))
        found = model.evaluate(X, X, verbose=0, return_dict=True)
        assert found["beta"] == value
        assert found["loss"] == pytest.approx(expected, rel=1e-5)
        fit(model, epochs=1, batch_size=N)


@pytest.mark.filterwarnings("ignore:The schedule")
@pytest.mark.parametrize("kind", MODELS)
def test_a_training_that_is_resumed_goes_on_where_it_was(kind, tmp_path):
    whole, _ = fit(MODELS[kind](), epochs=3)
    model = MODELS[kind]()
    first, _ = fit(model, epochs=1)
    model.save(tmp_path / "model.keras")
    resumed = tfvae.load(tmp_path / "model.keras")
    second, _ = fit(resumed, epochs=2)
    assert first + second == whole
    np.testing.assert_allclose(whole, [0, 1 / 8, 2 / 8, 3 / 8, 4 / 8, 5 / 8, 6 / 8, 7 / 8, 1])


TWO_REPLICAS = """
import sys, warnings
import numpy as np
import tensorflow as tf

cpus = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.insert(0, "tests")
from test_schedules import MODELS, fit, step

warnings.simplefilter("ignore")
for kind in MODELS:
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = MODELS[kind](jit_compile=False)
    seen, _ = fit(model)
    assert step(model) == 6, step(model)
    np.testing.assert_allclose(seen, np.arange(6) / 8)
    print(kind, "counted")
"""


def test_two_replicas_count_a_step_once():
    # The number of devices is fixed when TensorFlow starts.
    done = subprocess.run(
        [sys.executable, "-c", TWO_REPLICAS],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    assert done.stdout.split() == ["vae", "counted", "stock", "counted"], done.stderr[-3000:]


def test_a_metric_is_listed_once():
    model = vae(schedules.LinearWarmup(6))
    fit(model)
    assert sorted(model.metrics_names) == ["beta", "kl", "loss", "nll"]
    assert len(model.evaluate(X, verbose=0)) == 4


def test_a_model_that_is_run_without_training_stands_still():
    model = vae()
    for training in (None, False):
        model(X, training=training)
    model.predict(X, verbose=0)
    assert step(model) == 0


def test_a_regulariser_alone_counts_the_calls_that_train():
    regularizer = KLDivergenceRegularizer(
        priors.StandardNormal(L), weight=schedules.LinearWarmup(4, stop=2.0)
    )
    q = layers.MultivariateNormalDiag(L)(tf.ones((3, 2 * L)))
    (kl,) = set(regularizer.terms(q)["kl"].numpy().tolist())
    costs = [regularizer(q, training=True).numpy()[0] / kl for _ in range(4)]
    np.testing.assert_allclose(costs, [0.0, 0.5, 1.0, 1.5], rtol=1e-6)
    np.testing.assert_allclose(regularizer(q) / kl, [1.5] * 3, rtol=1e-6)


# ---- a schedule that is too long --------------------------------------------------------------


TOO_LONG = {
    "array": lambda model: model.fit(X, batch_size=4, epochs=2, verbose=0),
    "dataset": lambda model: model.fit(
        tf.data.Dataset.from_tensor_slices(X).batch(4), epochs=2, verbose=0
    ),
    "steps": lambda model: model.fit(
        tf.data.Dataset.from_tensors(X).repeat(), steps_per_epoch=3, epochs=2, verbose=0
    ),
    "unknown length": lambda model: model.fit(
        tf.data.Dataset.from_tensor_slices(X).batch(4).filter(lambda x: True),
        epochs=2,
        verbose=0,
    ),
}


@pytest.mark.parametrize("form", TOO_LONG)
def test_a_schedule_longer_than_the_training_warns(form):
    message = r"schedule of `beta` takes 8 training steps, the training ends at 6, .* at 0.625"
    model = vae()
    with pytest.warns(UserWarning, match=message):
        TOO_LONG[form](model)
    # Once more, and it ends.
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "The schedule")
        TOO_LONG[form](model)


# ---- what is refused --------------------------------------------------------------------------


WRONG = {
    "no steps": (lambda: schedules.LinearWarmup(0), "`num_steps` must be an integer"),
    "half a step": (lambda: schedules.Cosine(1.5), "`num_steps` must be an integer"),
    "a truth": (lambda: schedules.Cosine(True), "`num_steps` must be an integer"),
    "a negative start": (lambda: schedules.LinearWarmup(2, -1.0), "`start` must be a finite"),
    "an infinite end": (lambda: schedules.Sigmoid(2, 0.0, np.inf), "`stop` must be a finite"),
    "a flat sigmoid": (lambda: schedules.Sigmoid(2, steepness=0.0), "`steepness` must .*positive"),
    "a long ramp": (lambda: schedules.Cyclical(8, ratio=1.5), "`ratio` is a part of a cycle"),
    "many cycles": (lambda: schedules.Cyclical(2, cycles=3), "a cycle has at least one step"),
    "a NaN": (lambda: schedules.Constant(np.nan), "`value` must be a finite number"),
}


@pytest.mark.parametrize("name", WRONG)
def test_refuses(name):
    make, message = WRONG[name]
    with pytest.raises(ValueError, match=rf"{message}.*Received"):
        make()
