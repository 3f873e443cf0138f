"""Smaller files: what they lose, what they must not lose, and how much smaller they are."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tfvae import VAE, random
from tfvae.export import read_card, tflite
from tfvae.export.flatbuffer import operators, schema, unpack
from tfvae.export.interpreter import runners

SHAPE, LATENT = (12, 12, 1), 5
TOLERANCE = {"float16": 2e-3, "dynamic": 0.05, "int8": 0.08}
MEAN_TOLERANCE = {"float16": 2e-4, "dynamic": 0.01, "int8": 0.02}


@pytest.fixture(scope="module", params=["dense", "conv"])
def model(request):
    """A VAE whose outputs differ from picture to picture, without training it."""
    keras.utils.set_random_seed(3)
    hidden = (256, 128) if request.param == "dense" else (16, 32)
    vae = VAE.for_images(SHAPE, LATENT, network=request.param, hidden=hidden)
    gain = 1.8 if request.param == "dense" else 2.5
    for kernel in [w for w in vae.trainable_weights if w.path.endswith("kernel")]:
        kernel.assign(gain * kernel)
    return vae


@pytest.fixture(scope="module")
def data():
    """Smooth pictures in [0, 1]."""
    noise = np.random.default_rng(0).normal(size=(300, 4, 4, 1)).repeat(3, 1).repeat(3, 2)
    return (1 / (1 + np.exp(-2 * noise))).astype(np.float32)


@pytest.fixture(scope="module")
def files(model, data, tmp_path_factory):
    """The model in every precision, with signatures of 1 and of 16 rows."""
    folder = tmp_path_factory.mktemp("files")
    kinds = (None, "float16", "dynamic", "int8")
    return {
        kind: tflite(
            model, folder / f"{kind}.tflite", kind, batch_sizes=(1, 16), representative=data
        )
        for kind in kinds
    }


@pytest.mark.parametrize("kind", ["float16", "dynamic", "int8"])
def test_pictures_stay_close(kind, model, files, data):
    run = runners(files[kind].read_bytes())
    codes = model.code(data[:16]).numpy()
    expected = model.decode(codes).mean().numpy()
    assert expected.std(axis=0).mean() > 0.02
    found = run["decode_16"](z=codes)["mean"]
    assert np.abs(found - expected).max() < TOLERANCE[kind]
    assert np.abs(found - expected).mean() < MEAN_TOLERANCE[kind]
    restored = run["reconstruct_16"](x=data[:16])["x"]
    assert np.abs(restored - expected).mean() < 2 * MEAN_TOLERANCE[kind]


@pytest.mark.parametrize("kind", ["float16", "dynamic", "int8"])
def test_posteriors_stay_close(kind, model, files, data):
    found = runners(files[kind].read_bytes())["encode_16"](x=data[:16])
    q = model.encode(data[:16])
    spread = q.mean().numpy().std()
    assert np.abs(found["loc"] - q.mean()).mean() < 0.05 * spread
    np.testing.assert_allclose(found["scale"], q.stddev(), rtol=0.15)


@pytest.mark.parametrize("kind", [None, "float16", "dynamic", "int8"])
def test_a_seed_means_the_same_code_in_every_precision(kind, files):
    run = runners(files[kind].read_bytes())
    seeds = random.seeds(123, 16)
    expected = random.normal(seeds, LATENT)
    np.testing.assert_allclose(run["sample_16"](seed=seeds)["z"], expected, atol=1e-5)
    np.testing.assert_allclose(run["sample"](seed=seeds[5:6])["z"][0], expected[5], atol=1e-5)


@pytest.mark.parametrize("kind", [None, "float16", "dynamic", "int8"])
def test_batch_sizes_compute_the_same_function(kind, files, data):
    run = runners(files[kind].read_bytes())
    together = run["reconstruct_16"](x=data[:16])["x"]
    for row in (0, 9):
        alone = run["reconstruct"](x=data[row : row + 1])["x"]
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


def weight_bytes(path):
    """Bytes of the constants of at least a kilobyte."""
    sizes = [0 if b.data is None else len(b.data) for b in unpack(path.read_bytes()).buffers]
    return sum(size for size in sizes if size >= 1024)


def test_weights_are_stored_once_and_small(files, model):
    parameters = sum(int(np.prod(w.shape)) for w in model.trainable_weights if len(w.shape) > 1)
    sizes = {kind: weight_bytes(path) for kind, path in files.items()}
    card = 10_000
    assert sizes[None] == pytest.approx(4 * parameters, abs=card)
    assert sizes["float16"] == pytest.approx(2 * parameters, abs=card)
    for kind in ("dynamic", "int8"):
        assert sizes[kind] == pytest.approx(parameters, abs=card)


def test_networks_are_int8_and_the_generator_is_float(files):
    model = unpack(files["int8"].read_bytes())
    kinds = schema().TensorType
    names = operators(files["int8"].read_bytes())
    for entry in model.signatureDefs:
        subgraph = model.subgraphs[entry.subgraphIndex]
        name = entry.signatureKey.decode()
        for kind, operator in zip(names[name], subgraph.operators, strict=True):
            (output,) = {subgraph.tensors[index].type for index in operator.outputs}
            if kind in ("FULLY_CONNECTED", "CONV_2D", "TRANSPOSE_CONV"):
                assert output == kinds.INT8, (name, kind)
            if kind in ("LOG", "SIN", "COS", "SQRT", "EXP", "MUL", "DIV"):
                assert output != kinds.INT8, (name, kind)


def test_integer_inputs_and_outputs(model, data, tmp_path):
    path = tflite(model, tmp_path / "m.tflite", "int8", representative=data, integer_io=True)
    interpreter = Interpreter(model_path=str(path))
    decode = interpreter.get_signature_runner("decode_16")
    (z,), (mean,) = decode.get_input_details().values(), decode.get_output_details().values()
    assert z["dtype"] == mean["dtype"] == np.int8
    assert interpreter.get_signature_runner("encode").get_input_details()["x"]["dtype"] == np.int8
    codes = model.code(data[:16]).numpy()
    found = runners(path.read_bytes())["decode_16"](z=codes)["mean"]
    assert np.abs(found - model.decode(codes).mean()).mean() < MEAN_TOLERANCE["int8"]


def test_the_report_says_what_each_lost(files):
    for kind, path in files.items():
        card = read_card(path)
        assert card["quantization"] == (kind or "float32")
        # The card itself comes on top of the bytes that it reports.
        assert 0 < path.stat().st_size - card["report"]["bytes"] < 12_000
        measured = card["report"]["signatures"]["decode_16"]
        assert measured["milliseconds_batch_16"] > 0
        bound = 1e-5 if kind is None else TOLERANCE[kind]
        assert 0 < measured["outputs"]["mean"]["max_error"] < bound
