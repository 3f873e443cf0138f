"""The commands, on a small run."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import tfvae
from tfvae.callbacks import read_history
from tfvae.cli.app import main


def run_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )


def test_help_does_not_import_tensorflow():
    code = (
        "import sys; sys.argv = ['tfvae', '--help']\n"
        "from tfvae.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = run_python(code)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "evaluate" in result.stdout


def test_stderr_holds_no_start_up_noise(run_folder):
    code = f"import sys; sys.argv = ['tfvae', 'info', {str(run_folder)!r}]\n"
    result = run_python(code + "from tfvae.cli import main; main()")
    assert result.stderr == ""
    assert "VAE with" in result.stdout


def test_a_run_folder_holds_everything(run_folder):
    names = {path.name for path in run_folder.iterdir()}
    pictures = {"samples", "reconstructions", "interpolations", "training", "manifold", "scatter"}
    assert {"model.keras", "config.json", "history.csv", "logs"} <= names
    assert {f"{picture}.png" for picture in pictures} <= names
    for picture in pictures:
        assert Image.open(run_folder / f"{picture}.png").size > (50, 50)
    assert json.loads((run_folder / "config.json").read_text())["likelihood"] == "bernoulli"


def test_the_history_says_what_becomes_of_the_code(run_folder):
    rows = read_history(run_folder / "history.csv")
    assert len(rows) == 3
    for row in rows:
        assert row["active_units"] in (0.0, 1.0, 2.0)
        assert row["mutual_information"] + row["marginal_kl"] == pytest.approx(row["rate"])
    assert list((run_folder / "logs" / "latent").glob("events*"))


def test_evaluate_prints_one_json_object(run_folder, run_command):
    result = run_command("evaluate", run_folder, "--num-samples", 50, "--json")
    scores = json.loads(result.stdout)
    assert list(scores) == [
        "nll",
        "elbo",
        "reconstruction",
        "kl",
        "bits_per_dim",
        "active_units",
        "num_samples",
        "num_examples",
    ]
    assert scores["elbo"] == pytest.approx(scores["reconstruction"] - scores["kl"], rel=1e-5)
    # The importance-weighted bound is tighter: 360 examples leave no doubt.
    assert scores["nll"] < -scores["elbo"]
    assert scores["bits_per_dim"] == pytest.approx(scores["nll"] / (64 * math.log(2)))
    assert (scores["num_samples"], scores["num_examples"]) == (50, 360)
    assert 0 <= scores["active_units"] <= 2


def test_evaluate_gives_the_same_numbers_twice(run_folder, run_command):
    first, second = (
        run_command("evaluate", run_folder, "--num-samples", 5, "--json").stdout for _ in range(2)
    )
    assert first == second


def test_sample_draws_what_the_model_samples(run_folder, run_command, tmp_path):
    for name in ("a.png", "b.png"):
        run_command("sample", run_folder, "-n", 4, "--seed", 3, "--out", tmp_path / name)
    run_command("sample", run_folder, "-n", 4, "--seed", 4, "--out", tmp_path / "c.png")
    a, b, c = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_pictures_of_other_data(run_folder, run_command, tmp_path):
    images = np.zeros((40, 8, 8), np.uint8)
    np.save(tmp_path / "black.npy", images)
    for command in ("reconstruct", "interpolate"):
        out = tmp_path / f"{command}.png"
        run_command(command, run_folder, "--data", tmp_path / "black.npy", "--out", out)
        assert Image.open(out).size[0] > 50


def test_an_autoencoder_trains_and_does_not_sample(run_command, tmp_path):
    options = ["--data", "digits", "--model", "ae", "--hidden", "16", "--epochs", "1"]
    assert run_command("train", *options, "--out", tmp_path / "ae").exit_code == 0
    assert not (tmp_path / "ae" / "samples.png").exists()
    scores = json.loads(run_command("evaluate", tmp_path / "ae", "--json").stdout)
    assert scores["nll"] is None
    assert scores["kl"] is None
    assert -64 * math.log(2) * 2 < scores["reconstruction"] < 0
    with pytest.raises(TypeError, match="cannot generate"):
        run_command("sample", tmp_path / "ae", "--out", tmp_path / "x.png")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--hidden", "2,x", "--data", "digits"], "--hidden takes sizes"),
        (["train", "--data", "no-such-file.npz"], "no-such-file"),
        (["train", "--resume"], "add --out DIR"),
        (
            ["train", "--data", "digits", "--likelihood", "normal", "--binarize", "static"],
            "Bernoulli likelihood",
        ),
        (["info", "no-such-run"], "not a run folder"),
    ],
)
def test_bad_input_is_one_line(arguments, message, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tfvae", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


def test_a_folder_with_a_run_is_not_overwritten(run_folder, run_command):
    before = (run_folder / "model.keras").read_bytes()
    with pytest.raises(ValueError, match="holds a run already"):
        run_command("train", "--data", "digits", "--out", run_folder)
    assert (run_folder / "model.keras").read_bytes() == before


def test_doctor_names_versions_devices_and_extras(run_command):
    lines = run_command("doctor").stdout
    assert f"tfvae {tfvae.__version__}" in lines
    assert "CPU" in lines
