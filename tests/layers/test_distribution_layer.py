"""What every distribution layer does: its place in a model, its draws, its state, its cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import tfvae
from tfvae.layers import MultivariateNormalDiag, Samples
from tfvae.regularizers import KLDivergenceRegularizer

RNG = np.random.default_rng(0)
N, INPUTS, D = 12, 3, 2
X = RNG.normal(size=(N, INPUTS)).astype("f")
Y = RNG.normal(size=(N, D)).astype("f")


def body():
    return [keras.layers.Dense(5, "tanh"), keras.layers.Dense(2 * D)]


def functional(layer):
    inputs = keras.Input((INPUTS,))
    outputs = inputs
    for part in [*body(), layer]:
        outputs = part(outputs)
    return keras.Model(inputs, outputs)


def sequential(layer):
    return keras.Sequential([keras.Input((INPUTS,)), *body(), layer])


class Subclassed(keras.Model):
    def __init__(self, layer, parts=None):
        super().__init__()
        self.parts = [*(body() if parts is None else parts), layer]

    def call(self, x):
        for part in self.parts:
            x = part(x)
        return x


def nested(layer):
    """A Functional model in a Sequential one in a subclassed one in a Functional one."""
    inner = keras.Sequential([keras.layers.Dense(INPUTS), functional(layer)])
    inputs = keras.Input((INPUTS,))
    return keras.Model(inputs, Subclassed(inner, [])(inputs))


STRUCTURES = {
    "functional": functional,
    "sequential": sequential,
    "subclassed": Subclassed,
    "nested": nested,
}


def make(structure, layer=None):
    keras.utils.set_random_seed(0)
    model = STRUCTURES[structure](layer or MultivariateNormalDiag(D, "mean", seed=1))
    model(X[:1])
    return model


def log_prob(model, x, y):
    """log q(y|x) in float64 from the mean and deviation that the model's layers compute."""
    q = model(x)
    loc, scale = np.float64(q.mean()), np.float64(q.stddev())
    return (-0.5 * ((y - loc) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)).sum(-1)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_output_is_the_distribution_and_passes_on_as_a_tensor(structure):
    model = make(structure)
    q = model(X)
    assert isinstance(q, tfd.MultivariateNormalDiag)
    assert keras.layers.Dense(3)(q).shape == (N, 3)
    assert keras.layers.Concatenate()([q, X]).shape == (N, D + INPUTS)
    np.testing.assert_allclose(keras.ops.sum(q), np.sum(q.mean()), rtol=1e-5)


MODES = {
    "graph": {},
    "xla": {"jit_compile": True},
    "eager": {"run_eagerly": True},
    "several steps at a time": {"steps_per_execution": 3},
}
CASES = [(structure, "graph") for structure in STRUCTURES]
CASES += [("functional", mode) for mode in MODES if mode != "graph"]


@pytest.mark.parametrize(("structure", "mode"), CASES)
def test_fit_hands_the_distribution_to_loss_and_metrics(structure, mode):
    model = make(structure)
    seen = set()

    def loss(y, q):
        seen.add(isinstance(q, tfd.MultivariateNormalDiag))
        return -q.log_prob(y)

    def deviation(y, q):
        return tf.reduce_mean(q.stddev(), axis=-1)

    # A learning rate of zero leaves the weights alone, so that the epoch's mean is known.
    model.compile(
        keras.optimizers.SGD(0.0),
        loss=loss,
        metrics=["mse", deviation],
        **{"jit_compile": False, **MODES[mode]},
    )
    history = model.fit(X, Y, batch_size=3, validation_split=0.25, verbose=0).history
    assert seen == {True}
    q = model(X)
    expected = {
        "loss": -log_prob(model, X, Y),
        "mse": ((Y - q.mean()) ** 2).numpy().mean(-1),
        "deviation": q.stddev().numpy().mean(-1),
    }
    # Keras shows the metric under its long name in one release and its short one in another.
    found = {name.replace("mean_squared_error", "mse"): history[name] for name in history}
    assert set(found) == {*expected, *(f"val_{name}" for name in expected)}
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], [values[:9].mean()], rtol=1e-5)
        np.testing.assert_allclose(found[f"val_{name}"], [values[9:].mean()], rtol=1e-5)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_predict_gives_the_value(structure):
    model = make(structure)
    predicted = model.predict(X, batch_size=5, verbose=0)
    np.testing.assert_allclose(predicted, model(X).mean(), rtol=1e-5, atol=1e-6)


def test_predict_of_a_sampling_layer_draws_anew():
    model = make("functional", MultivariateNormalDiag(D, seed=1))
    first, second = (model.predict(X, verbose=0) for _ in range(2))
    assert np.all(first != second)
    q = model(X)
    assert np.all(np.abs(first - q.mean()) < 6 * q.stddev())


# ---- draws and their state --------------------------------------------------------------------

PARAMS = RNG.normal(size=(N, 2 * D)).astype("f")


def draws(layer, count=3):
    return np.stack([layer(PARAMS).numpy() for _ in range(count)])


def test_the_same_seed_gives_the_same_draws_and_calls_differ():
    first, second = (draws(MultivariateNormalDiag(D, seed=5)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert len(np.unique(first)) == first.size


def test_other_seeds_give_other_draws():
    assert np.all(
        draws(MultivariateNormalDiag(D, seed=5)) != draws(MultivariateNormalDiag(D, seed=6))
    )


def test_layers_without_a_seed_differ_and_follow_the_global_seed():
    def pair():
        keras.utils.set_random_seed(3)
        return [draws(MultivariateNormalDiag(D)) for _ in range(2)]

    (first, second), again = pair(), pair()
    assert np.all(first != second)
    np.testing.assert_array_equal([first, second], again)


def test_the_count_of_draws_is_the_state():
    layer = MultivariateNormalDiag(D, seed=5)
    assert layer.seed_state.numpy().tolist() == [5, 0]
    made = draws(layer, 4)
    assert layer.seed_state.numpy().tolist() == [5, 4]
    layer.seed_state.assign([5, 2])
    np.testing.assert_array_equal(layer(PARAMS), made[2])
    assert layer.trainable_weights == []


def test_a_layer_that_does_not_draw_keeps_its_count():
    layer = MultivariateNormalDiag(D, "mean", seed=5)
    np.testing.assert_array_equal(layer(PARAMS), PARAMS[:, :D])
    assert layer.seed_state.numpy().tolist() == [5, 0]


def test_a_compiled_function_draws_what_python_draws_and_counts():
    layer = MultivariateNormalDiag(D, seed=5)
    expected = draws(layer)
    layer.seed_state.assign([5, 0])
    compiled = tf.function(lambda params: tf.convert_to_tensor(layer(params)))
    np.testing.assert_allclose([compiled(PARAMS) for _ in range(3)], expected, rtol=1e-6)


def test_a_loaded_model_goes_on_with_the_noise_it_would_have_had(tmp_path):
    model = make("functional", MultivariateNormalDiag(D, Samples(3), seed=1))
    before = model(X).numpy()
    model.save(tmp_path / "model.keras")
    loaded = tfvae.load(tmp_path / "model.keras")
    for _ in range(2):
        after = model(X).numpy()
        np.testing.assert_array_equal(loaded(X).numpy(), after)
        assert np.all(after != before)


def test_a_resumed_training_is_bit_equal_to_one_that_was_not_interrupted(tmp_path):
    def new():
        regularizer = KLDivergenceRegularizer(tfvae.priors.TrainableNormal(D))
        layer = MultivariateNormalDiag(D, activity_regularizer=regularizer, seed=1)
        model = make("functional", layer)
        model.compile("adam", "mse")
        return model

    def train(model, epochs):
        return model.fit(X, Y, batch_size=4, epochs=epochs, shuffle=False, verbose=0).history

    whole, parts = new(), new()
    uninterrupted = train(whole, 4)["loss"]
    interrupted = train(parts, 2)["loss"]
    parts.save(tmp_path / "model.keras")
    resumed = tfvae.load(tmp_path / "model.keras")
    interrupted += train(resumed, 2)["loss"]
    assert interrupted == uninterrupted
    assert len(set(uninterrupted)) == 4
    for found, expected in zip(resumed.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(found, expected, err_msg=expected.path)
    for found, expected in zip(resumed.optimizer.variables, whole.optimizer.variables, strict=True):
        np.testing.assert_array_equal(found, expected, err_msg=expected.path)


# ---- from a distribution to a tensor ----------------------------------------------------------

STATISTICS = {
    "mean": lambda q: q.mean(),
    "mode": lambda q: q.mode(),
    "stddev": lambda q: q.stddev(),
    "variance": lambda q: q.variance(),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_statistics_by_name_and_by_method(name):
    for fn in (name, getattr(tfd.Distribution, name)):
        layer = MultivariateNormalDiag(D, fn)
        q = layer(PARAMS)
        np.testing.assert_array_equal(q, STATISTICS[name](q))
        assert layer.get_config()["convert_to_tensor_fn"] == name


def test_several_draws():
    layer = MultivariateNormalDiag(D, Samples(5), seed=1)
    q = layer(PARAMS)
    assert (tuple(q.shape), tuple(q.batch_shape)) == ((5, N, D), (N,))
    assert len(np.unique(q)) == 5 * N * D
    symbolic = layer(keras.KerasTensor((None, 2 * D)))
    assert symbolic.shape == (5, None, D)


def test_a_function_of_the_users():
    q = MultivariateNormalDiag(D, lambda q: q.mean() + 1.0)(PARAMS)
    np.testing.assert_allclose(q, PARAMS[:, :D] + 1.0, rtol=1e-6)


def test_a_function_that_takes_a_seed_is_given_a_new_one_every_time():
    def largest(q, seed):
        return tf.reduce_max(q.sample(5, seed=seed), axis=0)

    first, second = (draws(MultivariateNormalDiag(D, largest, seed=5)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert len(np.unique(first)) == first.size


def test_refuses_another_conversion():
    with pytest.raises(ValueError, match=r"must be one of \('sample', .*Received: 'median'"):
        MultivariateNormalDiag(D, "median")
    with pytest.raises(TypeError, match=r"function from a distribution to a tensor.*Received: 3"):
        MultivariateNormalDiag(D, 3)
    with pytest.raises(ValueError, match=r"one of .*Received: <function Distribution.entropy"):
        MultivariateNormalDiag(D, tfd.Distribution.entropy)


@pytest.mark.parametrize("wrong", [0, -1, 2.0, "3", None], ids=repr)
def test_samples_refuses_another_number(wrong):
    with pytest.raises(ValueError, match=r"`num_samples` must be an integer .*Received"):
        Samples(wrong)


# ---- the cost of the latent -------------------------------------------------------------------


@pytest.mark.parametrize("conversion", ["sample", "mean", Samples(5)], ids=["1", "mean", "5"])
def test_the_mean_cost_of_the_batch_is_added_once(conversion):
    def regularizer(q):
        return tf.reduce_sum(q.mean() ** 2, axis=-1)

    layer = MultivariateNormalDiag(D, conversion, activity_regularizer=regularizer)
    layer(PARAMS)
    (cost,) = layer.losses
    np.testing.assert_allclose(cost, (PARAMS[:, :D] ** 2).sum(1).mean(), rtol=1e-6)


WRONG_COSTS = {
    "a scalar": lambda q: tf.reduce_mean(q.mean()),
    "a cost for every dimension": lambda q: q.mean(),
    "a Keras regulariser": keras.regularizers.L2(0.1),
}


@pytest.mark.parametrize("name", WRONG_COSTS)
def test_refuses_a_cost_that_is_not_one_number_for_each_example(name):
    layer = MultivariateNormalDiag(D, "mean", activity_regularizer=WRONG_COSTS[name])
    with pytest.raises(
        ValueError, match=r"one cost in nats for each example, shape \[B\].*Received"
    ):
        layer(PARAMS)


# ---- precision --------------------------------------------------------------------------------


def test_stays_in_float32_under_mixed_precision_and_obeys_a_dtype():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer = MultivariateNormalDiag(D)
        q = layer(tf.cast(PARAMS, tf.bfloat16))
        double = MultivariateNormalDiag(D, dtype="float64")(PARAMS)
    finally:
        keras.config.set_dtype_policy("float32")
    assert (layer.compute_dtype, q.dtype, q.mean().dtype) == ("float32", tf.float32, tf.float32)
    assert double.log_prob(double).dtype == tf.float64


# ---- replicas ---------------------------------------------------------------------------------

# Two processors for one process must be set up before TensorFlow starts.
REPLICAS = """
import json, keras, numpy as np, tensorflow as tf
cpus = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
import tfvae
from tfvae.layers import IndependentNormal, MultivariateNormalDiag

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x = np.random.default_rng(0).normal(size=(16, 4)).astype("f")
data = tf.data.Dataset.from_tensor_slices((x, x)).batch(8)

def encoder(**kwargs):
    posterior = MultivariateNormalDiag(2, "mean", **kwargs)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), posterior])

def decoder():
    likelihood = IndependentNormal(4, "mean", scale=0.5)
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(4), likelihood])

def layers():
    kl = tfvae.regularizers.KLDivergenceRegularizer(tfvae.priors.StandardNormal(2))
    return keras.Sequential([encoder(activity_regularizer=kl), decoder()])

def vae():
    return tfvae.VAE(encoder(), decoder())

def fitted(make, **kwargs):
    keras.utils.set_random_seed(0)
    model = make()
    model.compile(keras.optimizers.SGD(0.01), jit_compile=False, **kwargs)
    history = model.fit(data, epochs=2, verbose=0).history
    weights = np.concatenate([w.numpy().ravel() for w in model.trainable_weights]).tolist()
    return dict(history=history, weights=weights, predicted=model.predict(x, verbose=0).tolist())

report = {}
for make, kwargs in ((layers, {"loss": tfvae.losses.NegativeLogLikelihood()}), (vae, {})):
    report[make.__name__ + " alone"] = fitted(make, **kwargs)
    with strategy.scope():
        report[make.__name__ + " replicated"] = fitted(make, **kwargs)

with strategy.scope():
    layer = MultivariateNormalDiag(2, seed=1)

@tf.function
def draw():
    return strategy.run(lambda: tf.convert_to_tensor(layer(tf.zeros((3, 4)))))

results = [strategy.experimental_local_results(draw()) for _ in range(2)]
report["draws"] = [[value.numpy().tolist() for value in result] for result in results]
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def replicas():
    path = os.pathsep.join([str(Path(tfvae.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", REPLICAS],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_replicas_draw_different_noise(replicas):
    noise = np.array(replicas["draws"])
    assert noise.shape == (2, 2, 3, 2)
    assert len(np.unique(noise)) == noise.size


@pytest.mark.parametrize("name", ["layers", "vae"])
def test_training_on_two_replicas_equals_training_on_one(replicas, name):
    alone, replicated = replicas[f"{name} alone"], replicas[f"{name} replicated"]
    for kind in ("weights", "predicted"):
        np.testing.assert_allclose(replicated[kind], alone[kind], rtol=1e-4, atol=1e-6)
    assert set(replicated["history"]) == set(alone["history"])
    for metric, values in alone["history"].items():
        np.testing.assert_allclose(replicated["history"][metric], values, rtol=1e-5)
        assert values[1] != values[0]
