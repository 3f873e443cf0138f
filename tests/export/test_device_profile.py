"""TFLite files: static, of built-in operators alone, and as the Keras model means them."""

from __future__ import annotations

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from small_models import LATENT, SHAPE, make_parts, make_vae

from tfvae import Autoencoder, layers, priors, random
from tfvae.export import read_card, tflite
from tfvae.export.draws import POSTERIOR_STREAM
from tfvae.export.flatbuffer import operators, schema
from tfvae.export.interpreter import runners

BUILTIN = set(vars(schema().BuiltinOperator)) - {"CUSTOM"}


@pytest.fixture(scope="module")
def exported(vae, pictures, tmp_path_factory):
    """A float32 file with what an export has by default, and draws."""
    path = tmp_path_factory.mktemp("files") / "tiny.tflite"
    about = {"label": "run 7", "licence": "Apache-2.0", "version": "1.2"}
    return tflite(vae, path, likelihood_draws=True, representative=pictures, about=about)


@pytest.mark.parametrize("posterior", ["diagonal", "full"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "normal"])
@pytest.mark.parametrize("network", ["dense", "conv"])
def test_no_flex_and_no_custom_operator(network, likelihood, posterior, pictures, tmp_path):
    full = layers.MultivariateNormalTriL(LATENT) if posterior == "full" else None
    vae = make_vae(network, likelihood, full)
    content = tflite(vae, tmp_path / "model.tflite").read_bytes()
    for name, kinds in operators(content).items():
        assert set(kinds) <= BUILTIN, name
    for reference in (False, True):
        run = runners(content, reference_kernels=reference)
        encoded = run["encode"](x=pictures[:1])
        np.testing.assert_allclose(encoded["loc"], vae.code(pictures[:1]), atol=1e-5)
        q = vae.encode(pictures[:1])
        np.testing.assert_allclose(encoded["scale"], q.stddev(), atol=1e-5)
        if full is not None:
            product = encoded["scale_tril"] @ np.swapaxes(encoded["scale_tril"], 1, 2)
            np.testing.assert_allclose(product, q.covariance(), atol=1e-5)
        sampled = run["sample"](seed=random.seeds(5, 1))
        np.testing.assert_allclose(sampled["x"], vae.sample(1, seed=5), atol=1e-5)
        restored = run["reconstruct"](x=pictures[:1])["x"]
        np.testing.assert_allclose(restored, vae.reconstruct(pictures[:1]), atol=1e-5)


def test_signatures_have_a_fixed_order_and_static_shapes(exported):
    interpreter = Interpreter(model_path=str(exported))
    names = ["encode", "decode", "decode_16", "reconstruct", "sample"]
    assert list(interpreter.get_signature_list()) == names
    for name in names:
        runner = interpreter.get_signature_runner(name)
        batch = 16 if name.endswith("_16") else 1
        for details in (runner.get_input_details(), runner.get_output_details()):
            for entry in details.values():
                assert entry["shape"][0] == batch
                assert (entry["shape_signature"] == entry["shape"]).all()
    decode = interpreter.get_signature_runner("decode")
    assert list(decode.get_input_details()) == ["z"]
    assert list(decode.get_output_details()) == ["mean"]


def test_decode_is_pure_float(exported):
    kinds = operators(exported.read_bytes())
    assert not {"CAST", "BITWISE_XOR", "RIGHT_SHIFT"} & {*kinds["decode"], *kinds["encode"]}
    assert "BITWISE_XOR" in kinds["sample"]


def test_a_seed_is_one_sample_at_any_place_and_in_another_process(vae, exported, tmp_path):
    expected = vae.sample(8, seed=77)
    draws = {}
    for row in (0, 3, 7):
        seed = random.seeds(77, 8)[row : row + 1]
        found = runners(exported.read_bytes())["sample"](seed=seed)
        np.testing.assert_allclose(found["x"][0], expected[row], atol=1e-5)
        np.testing.assert_allclose(found["z"], vae.prior.draw(seed), atol=1e-5)
        draws[row] = found["draw"]
    code = (
        "import sys, numpy as np\n"
        "from ai_edge_litert.interpreter import Interpreter\n"
        "run = Interpreter(model_path=sys.argv[1]).get_signature_runner('sample')\n"
        "np.savez(sys.argv[2], **run(seed=np.int32([[77, 3]])))\n"
        "assert not {'tensorflow', 'keras', 'tfvae'} & set(sys.modules)\n"
    )
    target = tmp_path / "other.npz"
    command = [sys.executable, "-c", code, str(exported), str(target)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    other = np.load(target)
    np.testing.assert_array_equal(other["draw"], draws[3])
    np.testing.assert_allclose(other["x"][0], expected[3], atol=1e-5)


def test_batches_equal_their_rows(vae, tmp_path):
    path = tflite(vae, tmp_path / "m.tflite", batch_sizes=(1, 4), signatures=["sample", "decode"])
    run = runners(path.read_bytes())
    assert list(run) == ["decode", "decode_4", "sample", "sample_4"]
    seeds = random.seeds(9, 4)
    together = run["sample_4"](seed=seeds)
    for row in range(4):
        alone = run["sample"](seed=seeds[row : row + 1])
        np.testing.assert_allclose(alone["z"][0], together["z"][row], atol=1e-6)
        np.testing.assert_allclose(alone["x"][0], together["x"][row], atol=1e-6)


def test_serving_signatures_convert_too(vae, pictures, tmp_path):
    names = ["interpolate", "log_prob", "anomaly_score", "decode"]
    path = tflite(
        vae,
        tmp_path / "m.tflite",
        signatures=names,
        batch_sizes={"log_prob": (2,)},
        num_importance_samples=5,
        likelihood_parameters=True,
    )
    run = runners(path.read_bytes())
    assert list(run) == ["decode", "interpolate", "log_prob_2", "anomaly_score"]
    assert sorted(run["decode"](z=np.zeros((1, LATENT), np.float32))) == ["logits", "mean"]
    seeds = random.seeds(1, 2)
    bound = run["log_prob_2"](x=pictures[:2], seed=seeds)["log_prob"]
    score = run["anomaly_score"](x=pictures[:1], seed=seeds[:1])["score"]
    np.testing.assert_allclose(score, -bound[:1], rtol=1e-5)
    t = np.float32([0.25])
    blend = run["interpolate"](a=pictures[:1], b=pictures[1:2], t=t)["x"]
    codes = 0.75 * vae.code(pictures[:1]) + 0.25 * vae.code(pictures[1:2])
    np.testing.assert_allclose(blend, vae.decode(codes).mean(), atol=1e-5)


def test_a_trained_prior_is_in_the_file(tmp_path):
    prior = priors.TrainableNormal(LATENT)
    prior.loc.assign([1.0, -2.0, 3.0])
    vae = make_vae(prior=prior)
    path = tflite(vae, tmp_path / "m.tflite", signatures=["sample"])
    found = runners(path.read_bytes())["sample"](seed=random.seeds(4, 1))
    np.testing.assert_allclose(found["z"], prior.draw(random.seeds(4, 1)), atol=1e-5)


@pytest.mark.parametrize(
    "prior",
    [priors.GaussianMixture(LATENT, 4), priors.VampPrior(LATENT, pseudo_inputs=4)],
    ids=lambda prior: prior.name,
)
def test_the_density_of_a_mixture_runs_on_a_device(prior, pictures, tmp_path):
    vae, x, seed = make_vae(prior=prior), pictures[:1], random.seeds(1, 1)
    path = tflite(vae, tmp_path / "m.tflite", signatures=["log_prob"], num_importance_samples=1)
    found = runners(path.read_bytes())["log_prob"](x=x, seed=seed)["log_prob"]
    q = vae.encode(x)
    z = q.mean() + q.stddev() * random.normal(seed, LATENT, stream=POSTERIOR_STREAM)
    expected = vae.decode(z).log_prob(x) + prior().log_prob(z) - q.log_prob(z)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_card_is_inside_the_file_and_beside_it(exported):
    beside = exported.with_suffix(".model_card.json")
    card = read_card(exported)
    assert card == json.loads(beside.read_text())
    assert (card["format"], card["quantization"], card["name"]) == ("tflite", "float32", "tiny")
    assert card["about"]["version"] == "1.2"
    names = ["encode", "decode", "decode_16", "reconstruct", "sample"]
    assert list(card["signatures"]) == names
    assert card["signatures"]["decode_16"]["inputs"]["z"]["shape"] == [16, LATENT]
    assert card["signatures"]["encode"]["inputs"]["x"]["from_bytes"] == {"mean": 0, "std": 255}
    for name in names:
        measured = card["report"]["signatures"][name]
        assert any(key.startswith("milliseconds_batch_") for key in measured)
        assert all(entry["max_error"] < 1e-5 for entry in measured["outputs"].values())


def test_tools_see_the_label(exported):
    model = schema().Model.GetRootAs(exported.read_bytes(), 0)
    assert model.Description() == b"run 7"
    kept = [model.Metadata(i).Name() for i in range(model.MetadataLength())]
    assert b"min_runtime_version" in kept


@keras.saving.register_keras_serializable(package="test")
class Inverse(keras.layers.Layer):
    """Needs an operator that TFLite does not have."""

    def call(self, x):
        return tf.math.erfinv(0.9 * tf.tanh(x))


def test_a_flex_operator_fails_and_names_the_layer(tmp_path):
    vae = make_parts(Inverse(name="culprit"))
    with pytest.raises(ValueError, match=r"Received: .*layer 'culprit' needs Erfinv in `encode`"):
        tflite(vae, tmp_path / "folder" / "model.tflite")
    assert list((tmp_path / "folder").iterdir()) == []
    # Without the layer's signatures the rest is exported.
    path = tflite(vae, tmp_path / "model.tflite", signatures=["decode", "sample"])
    assert set(runners(path.read_bytes())) == {"decode", "decode_16", "sample"}


def test_a_failing_export_keeps_the_file_that_was_there(vae, tmp_path):
    path = tflite(vae, tmp_path / "model.tflite", signatures=["decode"])
    before = path.read_bytes()
    with pytest.raises(ValueError, match="needs Erfinv"):
        tflite(make_parts(Inverse()), path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_mixed_precision_becomes_float32(pictures, tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = make_vae("conv")
    finally:
        keras.config.set_dtype_policy("float32")
    content = tflite(mixed, tmp_path / "m.tflite", signatures=["reconstruct"]).read_bytes()
    found = runners(content)["reconstruct"](x=pictures[:1])["x"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, mixed.reconstruct(pictures[:1]), atol=0.01)


def test_an_autoencoder_exports_what_it_has(pictures, tmp_path):
    model = Autoencoder.for_images(SHAPE, LATENT, hidden=(8,))
    path = tflite(model, tmp_path / "ae.tflite")
    run = runners(path.read_bytes())
    assert list(run) == ["encode", "decode", "decode_16", "reconstruct"]
    np.testing.assert_allclose(
        run["encode"](x=pictures[:1])["loc"], model.code(pictures[:1]), atol=1e-5
    )
    assert "sample" in read_card(path)["left_out"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"quantization": "int4"}, r"one of \('float16', 'dynamic', 'int8'\)\. Received: 'int4'"),
        ({"quantization": "int8"}, "int8 needs `representative` data"),
        ({"integer_io": True}, "`integer_io` is for quantization='int8'"),
        ({"batch_sizes": {"sampel": (1,)}}, "Received: 'sampel'"),
        ({"batch_sizes": ()}, "distinct sizes"),
        ({"batch_sizes": (1, 1)}, "distinct sizes"),
        ({"batch_sizes": (0,)}, "at least 1"),
        ({"signatures": ["nonsense"]}, "Signatures are"),
        ({"num_importance_samples": 0}, "at least 1. Received: 0"),
    ],
)
def test_refuses_wrong_arguments(vae, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        tflite(vae, tmp_path / "folder" / "model.tflite", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_refuses_another_ending(vae, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.tflite"):
        tflite(vae, tmp_path / "model.onnx")
