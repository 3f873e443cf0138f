"""A SavedModel as TensorFlow Serving wants it, and as the Keras model means it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import LATENT, SHAPE, make_parts, make_vae

from tfvae import VAE, Autoencoder, layers, random
from tfvae.export import SIGNATURE_NAMES, read_card, saved_model, serving_profile
from tfvae.export.warmup import WARMUP_FILE

LOADER = Path(__file__).parents[2] / "tools" / "run_saved_model.py"


@pytest.fixture(scope="module")
def exported(vae, pictures, tmp_path_factory):
    """A version folder with everything in it."""
    return saved_model(
        vae,
        tmp_path_factory.mktemp("models") / "tiny",
        likelihood_draws=True,
        num_importance_samples=5,
        representative=pictures,
        about={"label": "a test", "licence": "Apache-2.0"},
    )


@pytest.fixture(scope="module")
def served(exported):
    return tf.saved_model.load(str(exported)).signatures


def run_through_the_c_api(folder, requests, work):
    """Answers of the C++ loader in a process that imports neither TensorFlow nor Keras."""
    arguments = []
    for number, (signature, inputs) in enumerate(requests):
        source, target = work / f"in{number}.npz", work / f"out{number}.npz"
        np.savez(source, **inputs)
        arguments += [signature, str(source), str(target)]
    command = [sys.executable, str(LOADER), str(folder), *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return [dict(np.load(work / f"out{number}.npz")) for number in range(len(requests))]


def test_the_folder_holds_what_a_server_looks_for(exported):
    assert exported.name == "1"
    inside = {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()}
    assert {"saved_model.pb", "variables/variables.index", "model_card.json"} <= inside
    assert str(WARMUP_FILE) in inside
    beside = {path.name for path in exported.parent.iterdir()}
    assert beside == {"1", "batching_parameters.txt", "models.config"}
    config = (exported.parent / "models.config").read_text()
    assert 'name: "tiny"' in config
    assert 'base_path: "/models/tiny"' in config
    batching = (exported.parent / "batching_parameters.txt").read_text()
    assert "max_batch_size { value: 64 }" in batching


def test_there_is_a_warmup_request_for_every_signature_and_none_fails(exported, served):
    records = list(tf.data.TFRecordDataset(str(exported / WARMUP_FILE)))
    assert len(records) == 2 * len(SIGNATURE_NAMES)
    for name in SIGNATURE_NAMES:
        assert sum(f"\x1a{chr(len(name))}{name}".encode() in r.numpy() for r in records) == 2
        specs = served[name].structured_input_signature[1]
        for batch in (1, 64):
            zeros = {key: tf.zeros([batch, *s.shape[1:]], s.dtype) for key, s in specs.items()}
            assert all(len(value) == batch for value in served[name](**zeros).values())


def test_signatures_have_named_inputs_and_outputs_with_one_batch(served):
    expected = {
        "encode": ("x", "loc scale"),
        "decode": ("z", "logits mean"),
        "reconstruct": ("x", "x"),
        "sample": ("seed", "draw x z"),
        "interpolate": ("a b t", "x"),
        "log_prob": ("seed x", "log_prob"),
        "anomaly_score": ("seed x", "score"),
        "serving_default": ("x", "loc scale"),
    }
    found = {
        name: (
            " ".join(sorted(function.structured_input_signature[1])),
            " ".join(sorted(function.structured_outputs)),
        )
        for name, function in served.items()
    }
    assert found == expected
    for function in served.values():
        for spec in function.structured_input_signature[1].values():
            assert spec.shape[0] is None
        for output in function.structured_outputs.values():
            assert output.shape[0] is None


def test_nothing_but_weights_is_inside(vae, exported):
    names = {name for name, _ in tf.train.list_variables(str(exported / "variables/variables"))}
    weights = [name for name in names if name.startswith("weights/")]
    assert len(weights) == len(vae.trainable_weights)
    graph = (exported / "saved_model.pb").read_bytes()
    for word in (b"seed_state", b"StatelessRandom", b"RandomStandardNormal"):
        assert word not in graph


def test_the_cpp_loader_answers_as_keras_in_another_process(vae, exported, pictures, tmp_path):
    z = np.random.default_rng(0).normal(size=(20, LATENT)).astype(np.float32)
    seeds = random.seeds(5, 20)
    t = np.linspace(0, 1, 20, dtype=np.float32)
    a, b = pictures, pictures[::-1]
    requests = [
        ("encode", {"x": pictures}),
        ("decode", {"z": z}),
        ("reconstruct", {"x": pictures}),
        ("sample", {"seed": seeds}),
        ("sample", {"seed": seeds[7:8]}),
        ("interpolate", {"a": a, "b": b, "t": t}),
        ("log_prob", {"x": pictures, "seed": seeds}),
        ("log_prob", {"x": pictures[7:8], "seed": seeds[7:8]}),
    ]
    answers = run_through_the_c_api(exported, requests, tmp_path)
    encode, decode, reconstruct, sample, sample_7, interpolate, log_prob, log_prob_7 = answers
    np.testing.assert_allclose(encode["loc"], vae.code(pictures), atol=1e-5)
    np.testing.assert_allclose(encode["scale"], vae.encode(pictures).stddev(), atol=1e-5)
    np.testing.assert_allclose(decode["mean"], vae.decode(z).mean(), atol=1e-5)
    np.testing.assert_allclose(reconstruct["x"], vae.reconstruct(pictures), atol=1e-5)
    np.testing.assert_allclose(sample["x"], vae.sample(20, seed=5), atol=1e-5)
    np.testing.assert_allclose(sample["z"], vae.prior.draw(seeds), atol=1e-5)
    codes = vae.code(a) + t[:, None] * (vae.code(b) - vae.code(a))
    np.testing.assert_allclose(interpolate["x"], vae.decode(codes).mean(), atol=1e-5)
    # A row is the same alone, and a draw of its pixels too.
    np.testing.assert_array_equal(sample["z"][7:8], sample_7["z"])
    np.testing.assert_array_equal(sample["draw"][7:8], sample_7["draw"])
    np.testing.assert_allclose(sample["x"][7:8], sample_7["x"], atol=1e-6)
    np.testing.assert_allclose(log_prob["log_prob"][7:8], log_prob_7["log_prob"], rtol=1e-5)


def test_every_load_gives_the_same_sample(exported, served):
    again = tf.saved_model.load(str(exported)).signatures["sample"]
    seeds = tf.constant(random.seeds(3, 4))
    first, second = served["sample"](seed=seeds), served["sample"](seed=seeds)
    third = again(seed=seeds)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
        np.testing.assert_array_equal(first[name], third[name])


def test_the_card_describes_the_export(exported):
    card = read_card(exported)
    assert card == json.loads((exported / "model_card.json").read_text())
    assert (card["name"], card["version"], card["format"]) == ("tiny", 1, "saved_model")
    assert card["about"] == {"label": "a test", "licence": "Apache-2.0"}
    assert list(card["signatures"]) == list(SIGNATURE_NAMES)
    assert card["left_out"] == {}
    x = card["signatures"]["encode"]["inputs"]["x"]
    assert x["shape"] == ["batch", *SHAPE]
    assert x["interval"] == [0.0, 1.0]
    assert x["from_bytes"] == {"mean": 0.0, "std": 255.0}
    assert card["signatures"]["sample"]["inputs"]["seed"]["dtype"] == "int32"
    report = card["report"]
    assert list(report["signatures"]) == list(SIGNATURE_NAMES)
    assert report["bytes"] > 1000
    for name, measured in report["signatures"].items():
        assert {"milliseconds_batch_1", "milliseconds_batch_16"} <= set(measured)
        for output in measured["outputs"].values():
            assert 0 <= output["mean_error"] <= output["max_error"] < 1e-4, name


def test_versions_count_up_and_none_is_overwritten(vae, tmp_path):
    path = tmp_path / "model"
    first = saved_model(vae, path, signatures=["decode"])
    (path / "models.config").write_text("edited")
    second = saved_model(vae, path, signatures=["decode"])
    assert (first.name, second.name) == ("1", "2")
    assert saved_model(vae, path, 9, signatures=["decode"]).name == "9"
    before = (first / "saved_model.pb").read_bytes()
    with pytest.raises(ValueError, match="Version 1 exists"):
        saved_model(vae, path, 1, signatures=["decode"])
    assert (first / "saved_model.pb").read_bytes() == before
    assert (path / "models.config").read_text() == "edited"


def test_the_first_signature_answers_where_none_is_named(vae, tmp_path):
    folder = saved_model(vae, tmp_path / "model", signatures=["sample", "decode"])
    loaded = tf.saved_model.load(str(folder)).signatures
    assert set(loaded) == {"decode", "sample", "serving_default"}
    assert list(loaded["serving_default"].structured_input_signature[1]) == ["z"]


def test_an_export_needs_nothing_of_its_model(vae, pictures, tmp_path):
    folder = saved_model(vae, tmp_path / "model", signatures=["reconstruct"])
    moved = tmp_path / "elsewhere"
    shutil.move(folder, moved)
    requests = [("reconstruct", {"x": pictures})]
    (answer,) = run_through_the_c_api(moved, requests, tmp_path)
    np.testing.assert_allclose(answer["x"], vae.reconstruct(pictures), atol=1e-5)


def test_mixed_precision_is_served_in_float32(pictures, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = make_vae()
    finally:
        keras.config.set_dtype_policy("float32")
    folder = saved_model(mixed, tmp_path / "model", signatures=["reconstruct"])
    found = tf.saved_model.load(str(folder)).signatures["reconstruct"](x=tf.constant(pictures))
    assert found["x"].dtype == tf.float32
    # A mixed model rounds to 8 bits at every layer.
    np.testing.assert_allclose(found["x"], mixed.reconstruct(pictures), atol=0.02)


def test_a_users_own_layer_is_served(pictures, tmp_path):
    class Squash(keras.layers.Layer):
        def call(self, x):
            return x / (1.0 + tf.abs(x))

    model = make_parts(Squash())
    folder = saved_model(model, tmp_path / "model", signatures=["encode"])
    (answer,) = run_through_the_c_api(folder, [("encode", {"x": pictures})], tmp_path)
    np.testing.assert_allclose(answer["loc"], model.code(pictures), atol=1e-5)


def test_an_autoencoder_says_what_it_lacks(tmp_path):
    model = Autoencoder.for_images(SHAPE, LATENT, hidden=(8,))
    card = read_card(saved_model(model, tmp_path / "model"))
    assert list(card["signatures"]) == ["encode", "decode", "reconstruct", "interpolate"]
    assert set(card["left_out"]) == {"sample", "log_prob", "anomaly_score"}


def test_failures_leave_nothing_behind(vae, tmp_path):
    path = tmp_path / "models" / "model"
    with pytest.raises(ValueError, match="no weights yet"):
        saved_model(_unbuilt(), path)
    with pytest.raises(ValueError, match="which changes with every call"):
        saved_model(make_parts(layers.DenseReparameterization(8)), path)
    with pytest.raises(ValueError, match="Signatures are"):
        saved_model(vae, path, signatures=["nonsense"])
    with pytest.raises(ValueError, match=r"`representative` must be finite data of shape \[M, 6"):
        saved_model(vae, path, representative=np.zeros((3, 5, 5, 1)))
    with pytest.raises(ValueError, match="JSON can hold"):
        saved_model(vae, path, about={"nats": float("nan")})
    with pytest.raises(TypeError, match=r"Only a `tfvae\.VAE`"):
        saved_model(vae.decoder, path)
    assert list(tmp_path.iterdir()) == []


def _unbuilt():
    posterior = layers.MultivariateNormalDiag(LATENT)
    encoder = keras.Sequential([keras.layers.Dense(2 * LATENT), posterior])
    decoder = keras.Sequential([keras.layers.Dense(4), layers.IndependentNormal(4, scale=1.0)])
    return VAE(encoder, decoder)


def test_a_failure_while_writing_leaves_nothing_behind(vae, tmp_path, monkeypatch):
    def full_disk(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(serving_profile, "write_warmup", full_disk)
    with pytest.raises(OSError, match="No space left"):
        saved_model(vae, tmp_path / "model", signatures=["decode"])
    assert list((tmp_path / "model").iterdir()) == []
