"""Checkpoints: whole or not there, and a resumed training is the uninterrupted one."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from tfvae.saving.checkpoint import (
    load_checkpoint,
    read_state,
    save_checkpoint,
)

FILES = ["manifest.json", "state.json", "variables.json", "variables.npz"]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 16, 4)).astype("float32")
Y = RNG.normal(size=(8, 16, 2)).astype("float32")


def network(policy: str = "float32") -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(8, "relu", dtype=policy),
            layers.BatchNormalization(),
            layers.Dropout(0.5, seed=7),
            layers.Dense(2, dtype="float32"),
        ]
    )


def trainer(optimizer: str = "adam", policy: str = "float32") -> keras.Model:
    model = network(policy)
    model.compile(optimizer, "mse", metrics=["mae", keras.metrics.R2Score()])
    return model


def values(model: keras.Model) -> list[np.ndarray]:
    variables = model.variables + model.optimizer.variables + model.metrics_variables
    return [np.asarray(variable.value.numpy()) for variable in variables]


def same(a: keras.Model, b: keras.Model) -> bool:
    pairs = list(zip(values(a), values(b), strict=True))
    return all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in pairs)


def train(model: keras.Model, steps: range) -> list[dict[str, float]]:
    return [model.train_on_batch(X[step], Y[step], return_dict=True) for step in steps]


@pytest.mark.parametrize("optimizer", ["adam", "adafactor"])
def test_a_training_resumed_in_the_middle_of_an_epoch_is_the_uninterrupted_one(tmp_path, optimizer):
    """Weights, moments, moving averages and dropout noise."""
    model = trainer(optimizer)
    train(model, range(3))
    save_checkpoint(tmp_path, model, {"step": 3, "epoch": 0})
    logs = train(model, range(3, 8))

    resumed = trainer(optimizer)
    resumed.test_on_batch(X[0], Y[0])
    assert load_checkpoint(tmp_path, resumed) == {"step": 3, "epoch": 0}
    assert train(resumed, range(3, 8)) == logs
    assert same(model, resumed)
    assert int(resumed.optimizer.iterations) == 8

    fresh = trainer(optimizer)
    assert train(fresh, range(3, 8)) != logs


def test_fit_resumed_in_the_middle_of_an_epoch_reports_the_averages_of_the_whole(tmp_path):
    """Keras resets the metrics before `on_epoch_begin`, so they are loaded there."""

    class Save(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 4:
                save_checkpoint(tmp_path, self.model, {"step": batch + 1})

    class Resume(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            load_checkpoint(tmp_path, self.model)

    def fit(model: keras.Model, first: int, callback: keras.callbacks.Callback) -> dict:
        x, y = X[first:].reshape(-1, 4), Y[first:].reshape(-1, 2)
        options = {"batch_size": 16, "shuffle": False, "verbose": 0, "callbacks": [callback]}
        return model.fit(x, y, **options).history

    model, resumed = trainer(), trainer()
    history = fit(model, 0, Save())
    resumed.test_on_batch(X[0], Y[0])
    assert fit(resumed, 5, Resume()) == history
    assert same(model, resumed)


@pytest.mark.parametrize("policy", ["bfloat16", "mixed_float16"])
def test_other_types_come_back_bit_for_bit(tmp_path, policy):
    model = trainer(policy=policy)
    train(model, range(2))
    path = save_checkpoint(tmp_path, model, {"step": 2})
    table = json.loads((path / "variables.json").read_text())
    with np.load(path / "variables.npz", allow_pickle=False) as arrays:
        stored = {(entry["dtype"], str(arrays[entry["name"]].dtype)) for entry in table}
    assert (("bfloat16", "uint16") in stored) == (policy == "bfloat16")
    assert ("float32", "float32") in stored
    resumed = trainer(policy=policy)
    train(resumed, range(4, 5))
    load_checkpoint(path, resumed)
    assert same(model, resumed)


def test_the_files_open_without_tfvae(tmp_path):
    model = trainer()
    train(model, range(1))
    path = save_checkpoint(tmp_path, model, {"step": 123, "seeds": [1, 2], "note": "ü"})
    assert path == tmp_path / "step-00000123"
    assert sorted(item.name for item in path.iterdir()) == FILES
    with np.load(path / "variables.npz", allow_pickle=False) as arrays:
        kernel = next(name for name in arrays if name.endswith("/kernel"))
        assert np.array_equal(arrays[kernel], model.layers[0].kernel)
        seeds = [name for name in arrays if name.endswith("seed_generator_state")]
        assert len(seeds) == 1
        assert len(arrays) == len(values(model))
    assert read_state(path) == read_state(tmp_path) == {"step": 123, "seeds": [1, 2], "note": "ü"}


def test_a_model_without_an_optimizer_and_one_that_has_not_trained(tmp_path):
    model, other = network(), network()
    save_checkpoint(tmp_path / "bare", model, {"step": 0})
    load_checkpoint(tmp_path / "bare", other)
    assert all(np.array_equal(a, b) for a, b in zip(model.variables, other.variables, strict=True))

    model, other = trainer(), trainer()
    save_checkpoint(tmp_path / "compiled", model, {"step": 0})
    load_checkpoint(tmp_path / "compiled", other)
    assert train(model, range(3)) == train(other, range(3))


def test_a_second_optimizer_is_part_of_the_state(tmp_path):
    """As of a discriminator that trains beside the model."""

    def make() -> keras.Model:
        model = trainer()
        model.discriminator_optimizer = keras.optimizers.Adam()
        model.discriminator_optimizer.build(model.trainable_variables[:2])
        return model

    model, resumed = make(), make()
    model.discriminator_optimizer.apply([v + 1 for v in model.trainable_variables[:2]])
    save_checkpoint(tmp_path, model, {"step": 1})
    load_checkpoint(tmp_path, resumed)
    pairs = zip(
        model.discriminator_optimizer.variables,
        resumed.discriminator_optimizer.variables,
        strict=True,
    )
    assert [np.array_equal(a, b) for a, b in pairs] == [True] * 6
    assert int(resumed.discriminator_optimizer.iterations) == 1
    with pytest.raises(ValueError, match="has \\('discriminator_optimizer/0/"):
        load_checkpoint(tmp_path, trainer())


# --- Another model ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained() -> keras.Model:
    """A model after three steps; saving does not change it."""
    model = trainer()
    train(model, range(3))
    return model


@pytest.fixture
def saved(tmp_path: Path, trained: keras.Model) -> Path:
    """A directory with one checkpoint, of step 3."""
    save_checkpoint(tmp_path, trained, {"step": 3})
    return tmp_path


def wider() -> keras.Model:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(9)])
    model.compile("adam", "mse")
    return model


def frozen() -> keras.Model:
    model = network()
    model.layers[0].trainable = False
    model.compile("adam", "mse", metrics=["mae", keras.metrics.R2Score()])
    return model


def without_metrics() -> keras.Model:
    model = network()
    model.compile("adam", "mse")
    return model


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (wider, r"\('model/0/.*kernel', \(4, 8\), 'float32'\) where .*\(4, 9\)"),
        (
            lambda: trainer("sgd"),
            r"has \('optimizer/0/adam[_0-9]*/iteration'.*sgd[_0-9]*/iteration'",
        ),
        (lambda: trainer(policy="bfloat16"), r"'float32'\) where .* 'bfloat16'\)"),
        (frozen, r"has \('optimizer/2/"),
        (without_metrics, r"has \('metrics/2/.*no variables before the first batch"),
        (
            network,
            r"has \('optimizer/0/adam/iteration'.*where the model has \('metrics|no variable",
        ),
    ],
)
def test_another_model_is_refused_and_left_alone(saved, make, match):
    model = make()
    if getattr(model, "optimizer", None) is not None:
        model.optimizer.build(model.trainable_variables)
    before = [v.value.numpy() for v in model.variables]
    with pytest.raises(ValueError, match=match):
        load_checkpoint(saved, model)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.variables, strict=True))


def test_metrics_that_do_not_exist_yet_are_asked_for(saved):
    with pytest.raises(ValueError, match=r"call model\.test_on_batch once before loading"):
        load_checkpoint(saved, trainer())


def test_the_counters_in_names_do_not_matter_but_the_names_do(tmp_path):
    def make(name: str) -> keras.Model:
        return keras.Sequential([keras.Input((4,)), layers.Dense(2, name=name)])

    save_checkpoint(tmp_path, make("head"), {"step": 1})
    load_checkpoint(tmp_path, make("head_12"))
    with pytest.raises(ValueError, match=r"head/kernel.*where the model has .*tail/kernel"):
        load_checkpoint(tmp_path, make("tail"))


def test_where_a_layer_was_built_does_not_matter(tmp_path):
    def make(first: bool) -> keras.Model:
        inner = keras.Sequential([layers.Dense(2, name="head")], name="inner")
        if first:
            inner.build((None, 4))
        model = keras.Sequential([inner], name="outer")
        model.build((None, 4))
        return model

    alone, within = make(True), make(False)
    assert alone.variables[0].path != within.variables[0].path
    save_checkpoint(tmp_path, alone, {"step": 1})
    load_checkpoint(tmp_path, within)
    assert np.array_equal(alone.variables[0], within.variables[0])


# --- Arguments ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "error", "match"),
    [
        ([1], TypeError, "`state` must be a dictionary. Received: list"),
        ({}, ValueError, r"state\['step'\] must be a whole number, at least 0. Received: None"),
        ({"step": -1}, ValueError, "Received: -1"),
        ({"step": True}, ValueError, r"Received: True \(bool\)"),
        ({"step": 1.0}, ValueError, r"Received: 1\.0 \(float\)"),
        ({"step": 1, "x": np.float32(1)}, ValueError, "what JSON can hold: .*float32"),
        ({"step": 1, "x": float("nan")}, ValueError, "what JSON can hold"),
        ({"step": 1, "x": (1, 2)}, ValueError, "use lists for tuples"),
        ({"step": 1, "x": {1: 2}}, ValueError, "strings for keys"),
    ],
)
def test_a_state_that_would_not_come_back_is_refused(tmp_path, state, error, match):
    with pytest.raises(error, match=match):
        save_checkpoint(tmp_path, network(), state)
    assert list(tmp_path.iterdir()) == []


def test_other_arguments_are_checked(tmp_path):
    with pytest.raises(
        ValueError, match=r"At least one checkpoint must be kept\. Received: keep=0"
    ):
        save_checkpoint(tmp_path, network(), {"step": 1}, keep=0)
    with pytest.raises(TypeError, match=r"A keras\.Model is needed"):
        save_checkpoint(tmp_path, layers.Dense(1), {"step": 1})
    for function in (save_checkpoint, load_checkpoint):
        args = ({"step": 1},) if function is save_checkpoint else ()
        with pytest.raises(ValueError, match="has no weights yet"):
            function(tmp_path, keras.Sequential([layers.Dense(2)]), *args)
