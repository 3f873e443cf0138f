"""`tfvae export` writes what `tfvae.export` does, and refuses options of the other format."""

import json

import numpy as np
import pytest
import tensorflow as tf

import tfvae


def test_a_saved_model_samples_like_the_run(run_folder, run_command, tmp_path):
    for _ in range(2):
        assert run_command("export", run_folder, "--out", tmp_path / "digits").exit_code == 0
    versions = sorted(path.name for path in (tmp_path / "digits").iterdir() if path.is_dir())
    assert versions == ["1", "2"]
    loaded = tf.saved_model.load(str(tmp_path / "digits" / "2")).signatures["sample"]
    x = loaded(seed=tf.constant(tfvae.random.seeds(4, 3)))["x"]
    np.testing.assert_allclose(x, tfvae.load(run_folder).sample(3, seed=4), atol=1e-5)


def test_a_tflite_file_has_a_card(run_folder, run_command, tmp_path):
    file = tmp_path / "digits.tflite"
    result = run_command(
        "export", run_folder, "--format", "tflite", "--quantization", "dynamic", "--out", file
    )
    assert result.exit_code == 0
    card = json.loads((tmp_path / "digits.model_card.json").read_text())
    assert {"encode", "decode", "sample"} <= {
        name.removesuffix("_16") for name in card["signatures"]
    }
    assert file.read_bytes()[4:8] == b"TFL3"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--quantization", "int8"], "SavedModel is float32"),
        (["--format", "tflite", "--version", "3"], "leave --version out"),
    ],
)
def test_options_of_the_other_format(options, message, run_folder, run_command, tmp_path):
    with pytest.raises(ValueError, match=message):
        run_command("export", run_folder, *options, "--out", tmp_path / "out")
    assert not list(tmp_path.iterdir())
