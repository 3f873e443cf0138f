"""Whole models: written, read, and the same afterwards."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from tfvae.saving import model_file
from tfvae.saving.model_file import load, save_model

PIXELS = (8, 8, 1)


def dense() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), layers.Dense(3, "gelu"), layers.Dense(2)])


def convolutional() -> keras.Model:
    x = inputs = keras.Input(PIXELS)
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation=keras.activations.silu)(x)
    x = layers.BatchNormalization()(x)
    x = layers.UpSampling2D()(x)
    x = layers.Conv2DTranspose(2, 3, padding="same", kernel_initializer="he_normal")(x)
    x = layers.GroupNormalization(2)(x)
    x = layers.LeakyReLU()(x)
    x = layers.Flatten()(x)
    x = layers.LayerNormalization()(x)
    return keras.Model(inputs, layers.Reshape((4, 32))(x))


def attentive() -> keras.Model:
    inputs = keras.Input((6, 4))
    x = layers.MultiHeadAttention(2, 3)(inputs, inputs)
    x = layers.Add()([x, inputs])
    x = layers.Attention()([x, x])
    return keras.Model(inputs, layers.GlobalAveragePooling1D()(x))


def recurrent() -> keras.Model:
    inputs = keras.Input((6, 4))
    x = layers.Bidirectional(layers.GRU(3, return_sequences=True))(inputs)
    x = layers.TimeDistributed(layers.Dense(2))(x)
    return keras.Model(inputs, layers.RNN(layers.LSTMCell(3))(x))


def regularised() -> keras.Model:
    options = {
        "kernel_initializer": keras.initializers.Orthogonal(seed=3),
        "bias_initializer": keras.initializers.Constant(0.5),
        "kernel_regularizer": keras.regularizers.L1L2(1e-3, 1e-2),
        "kernel_constraint": keras.constraints.MaxNorm(2.0),
        "activity_regularizer": "l2",
        "activation": keras.activations.softplus,
    }
    x = [keras.Input((4,)), layers.Dense(3, **options), layers.Dropout(0.5, seed=1)]
    return keras.Sequential(x)


def operations() -> keras.Model:
    inputs = keras.Input(PIXELS)
    x = keras.ops.mean(2.0 * inputs + 1.0, axis=(1, 2))
    x = keras.ops.concatenate([x, keras.ops.exp(-x)], axis=-1)
    x = keras.ops.where(x > 0, x, keras.ops.stop_gradient(keras.ops.cast(x, "float32")))
    return keras.Model(inputs, keras.ops.expand_dims(x[:, :1], 1))


def nested() -> keras.Model:
    inputs = keras.Input((4,))
    encoder, decoder = dense(), keras.Sequential([keras.Input((2,)), layers.Dense(4)])
    return keras.Model(inputs, {"code": encoder(inputs), "image": decoder(encoder(inputs))})


@keras.saving.register_keras_serializable(package="saving_tests")
class Autoencoder(keras.Model):
    def __init__(self, encoder, decoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder, self.decoder = encoder, decoder

    def call(self, x):
        return self.decoder(self.encoder(x))

    def get_config(self):
        parts = {"encoder": self.encoder, "decoder": self.decoder}
        return super().get_config() | {
            name: keras.saving.serialize_keras_object(part) for name, part in parts.items()
        }

    @classmethod
    def from_config(cls, config):
        parts = ("encoder", "decoder")
        return cls(
            **{
                key: keras.saving.deserialize_keras_object(value) if key in parts else value
                for key, value in config.items()
            }
        )


def subclassed() -> keras.Model:
    model = Autoencoder(dense(), keras.Sequential([keras.Input((2,)), layers.Dense(4)]))
    model.build((None, 4))
    return model


def mixed(policy: str) -> Callable[[], keras.Model]:
    def make() -> keras.Model:
        head = layers.Dense(2, dtype="float32")
        return keras.Sequential([keras.Input((4,)), layers.Dense(3, dtype=policy), head])

    return make


MODELS = {
    "dense": dense,
    "convolutional": convolutional,
    "attentive": attentive,
    "recurrent": recurrent,
    "regularised": regularised,
    "operations": operations,
    "nested": nested,
    "subclassed": subclassed,
    "mixed_bfloat16": mixed("mixed_bfloat16"),
    "bfloat16": mixed("bfloat16"),
}


def batch(model: keras.Model) -> np.ndarray:
    shape = PIXELS if "input_shape" not in dir(model) else tuple(model.input_shape[1:])
    return np.random.default_rng(1).normal(size=(5, *shape)).astype("float32")


def randomised(model: keras.Model) -> keras.Model:
    """So that nothing passes because both models have the same initial weights."""
    rng = np.random.default_rng(2)
    for variable in model.variables:
        if "seed" not in variable.path:
            variable.assign(rng.uniform(0.1, 1.0, variable.shape))
    return model


@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_the_same_bit_for_bit(tmp_path, name):
    model = randomised(MODELS[name]())
    x = np.ones((5, 4), "float32") if name == "subclassed" else batch(model)
    again = load(save_model(model, tmp_path / "model.keras"))
    expected, found = (keras.tree.flatten(m(x)) for m in (model, again))
    assert [np.array_equal(a, b) for a, b in zip(expected, found, strict=True)].count(False) == 0
    assert again.count_params() == model.count_params()
    assert [item.name for item in tmp_path.iterdir()] == ["model.keras"]


@pytest.mark.parametrize(
    "optimizer",
    [
        "sgd",
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, 100)),
        keras.optimizers.AdamW(1e-2, use_ema=True, clipnorm=1.0),
        keras.optimizers.LossScaleOptimizer(keras.optimizers.RMSprop(momentum=0.9)),
    ],
    ids=["sgd", "adam", "adamw", "scaled"],
)
def test_training_goes_on_as_if_nothing_had_happened(tmp_path, optimizer):
    model = dense()
    model.compile(optimizer, keras.losses.Huber(), metrics=["mae", keras.metrics.R2Score()])
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 6, 8, 4)).astype("float32")
    y = y[..., :2]
    for step in range(3):
        model.train_on_batch(x[step], y[step])
    again = load(save_model(model, tmp_path / "model.keras"))
    for step in range(3, 6):
        model.reset_metrics()
        again.reset_metrics()
        assert model.train_on_batch(x[step], y[step]) == again.train_on_batch(x[step], y[step])
    assert int(again.optimizer.iterations) == int(model.optimizer.iterations) == 6
    for a, b in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        assert np.array_equal(a, b)
    assert not load(tmp_path / "model.keras", compile=False).compiled


def test_a_run_folder_is_as_good_as_its_model(tmp_path):
    model = dense()
    with pytest.raises(ValueError, match=r"holds no model\.keras"):
        load(tmp_path)
    save_model(model, tmp_path / "model.keras")
    x = batch(model)
    assert np.array_equal(load(str(tmp_path))(x), model(x))


def test_the_bytes_loaded_are_the_bytes_checked(tmp_path, monkeypatch):
    """A file exchanged after the check must not be what Keras reads."""
    model, path = dense(), tmp_path / "model.keras"
    save_model(model, path)
    check = model_file.check_open_archive
    loaded = []

    def exchange(*args, **kwargs):
        result = check(*args, **kwargs)
        path.write_bytes(b"something else")
        return result

    original = keras.saving.load_model

    def spy(file, *args, **kwargs):
        loaded.append(Path(file))
        assert kwargs["safe_mode"] is True
        assert Path(file).parent.stat().st_mode & 0o077 == 0
        return original(file, *args, **kwargs)

    monkeypatch.setattr(model_file, "check_open_archive", exchange)
    monkeypatch.setattr(keras.saving, "load_model", spy)
    x = batch(model)
    assert np.array_equal(load(path)(x), model(x))
    assert loaded[0] != path
    assert not loaded[0].exists()


def rewrite(path: Path, edit: Callable[[h5py.File], None]) -> Path:
    """Edits the weights inside a `.keras` file."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    before = io.BytesIO(members["model.weights.h5"])
    with h5py.File(before, "r+") as file:
        edit(file)
    members["model.weights.h5"] = before.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    model = dense()
    model.compile("adam", "mse")
    model.train_on_batch(np.ones((2, 4)), np.ones((2, 2)))
    return save_model(model, tmp_path / "model.keras")


def test_an_optimizer_that_does_not_fit_is_an_error(trained):
    def edit(file):
        del file["optimizer/vars/3"]

    rewrite(trained, edit)
    with (
        pytest.warns(UserWarning, match="Skipping variable loading for optimizer"),
        pytest.raises(ValueError, match=r"in the model, but not in the file \(1\): optimizer/vars"),
    ):
        load(trained)
    assert load(trained, compile=False).count_params() == 23


def test_weights_that_no_layer_asks_for_are_an_error(trained):
    def edit(file):
        file["layers/dense_9/vars/0"] = np.zeros(3)

    rewrite(trained, edit)
    with pytest.raises(ValueError, match=r"not in the model \(1\): layers/dense_9/vars/0"):
        load(trained)


@pytest.mark.parametrize("key", ["layers/dense/vars/1", "layers/dense"])
def test_missing_weights_are_an_error(trained, key):
    def edit(file):
        del file[key]

    with pytest.raises(ValueError, match="'dense"):
        load(rewrite(trained, edit))


def test_weights_of_another_type_are_an_error(trained):
    """Keras converts them in silence."""

    def edit(file):
        values = np.asarray(file["layers/dense/vars/0"]).astype("float64") + 1e-12
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = values

    with pytest.raises(ValueError, match=r"not the same in both \(1\): layers/dense/vars/0"):
        load(rewrite(trained, edit))


def test_a_model_that_cannot_be_compiled_again_is_an_error(trained):
    with zipfile.ZipFile(trained) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    del config["compile_config"]
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(trained, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(ValueError, match=r"not in the model \(10\): optimizer.*compile=False"):
        load(trained)


@pytest.mark.parametrize("name", ["model.h5", "model", "model.pkl", "model.weights.h5", "m.KERAS"])
def test_other_endings_are_not_written(tmp_path, name):
    with pytest.raises(ValueError, match=r"saved as \.keras files alone"):
        save_model(dense(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_saved_is_named(tmp_path):
    with pytest.raises(TypeError, match=r"A keras\.Model is needed. Received: Dense"):
        save_model(layers.Dense(2), tmp_path / "model.keras")
    with pytest.raises(ValueError, match="has no weights yet"):
        save_model(keras.Sequential([layers.Dense(2)]), tmp_path / "model.keras")
    with pytest.raises(ValueError, match="does not exist: create it first"):
        save_model(dense(), tmp_path / "absent" / "model.keras")


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_a_failing_save_harms_nothing(tmp_path, monkeypatch, function):
    model = dense()
    path = save_model(model, tmp_path / "model.keras")
    before = path.read_bytes()

    def fail(*_args):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(OSError, match="the disk is full"):
        save_model(randomised(model), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_save_that_breaks_off_inside_keras_harms_nothing(tmp_path, monkeypatch):
    model = dense()
    path = save_model(model, tmp_path / "model.keras")
    before = path.read_bytes()

    def fail(*_args):
        raise RuntimeError("killed")

    monkeypatch.setattr(layers.Dense, "save_own_variables", fail)
    with pytest.raises(RuntimeError, match="killed"):
        save_model(model, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
