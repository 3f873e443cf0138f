"""`tools/reproduce.py` on small images: what it trains, how it goes on, and what it prints."""

import doctest
import importlib
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import reproduce
from reproductions import methods_report, results, rows_report, scores
from reproductions.methods import BASELINE, GROUPS, METHODS
from reproductions.rows import ROWS
from reproductions.setting import HIDDEN, LATENT, Setting
from reproductions.training import Budget, Clock, Training, begin_with

ROOT = Path(__file__).parents[2]
PLAN = {"learning_rate": 0.01, "seed": 3, "epochs": 2}


pytestmark = pytest.mark.usefixtures("without_graphs")


@pytest.fixture(scope="module")
def setting():
    rng = np.random.default_rng(0)
    train = rng.integers(0, 256, (120, 8, 8, 1)).astype(np.uint8)
    test = rng.integers(0, 2, (6, 8, 8, 1)).astype(np.float32)
    return Setting(train, test, batch_size=120, hidden=(4,), latent_dim=3)


@pytest.fixture(scope="module")
def mnist(setting, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "mnist.npz"
    test = 255 * setting.test[..., 0].astype(np.uint8)
    np.savez(path, x_train=setting.train[..., 0], x_test=test)
    return path


def training(setting, folder, test=lambda self: 0.0, **plan):
    keras.utils.set_random_seed(1)
    part = Training("vae", setting.vae(), setting, folder, PLAN | plan, Clock.now(), curve=True)
    part._test = lambda: test(part)
    return part


@pytest.mark.parametrize("module", ["training", "scores", "methods_report"])
def test_examples(module):
    outcome = doctest.testmod(importlib.import_module(f"reproductions.{module}"))
    assert outcome.attempted
    assert not outcome.failed


@pytest.mark.parametrize("name", [*(f"rows {n}" for n in ROWS), *(f"methods {n}" for n in METHODS)])
def test_every_entry_makes_a_model(name, setting):
    kind, name = name.split()
    model = reproduce.KINDS[kind][name].make(setting)
    assert model.built
    assert model.encoder.input_shape == (None, 8, 8, 1)


@pytest.mark.parametrize("name", ["factorvae", "iwae5", "spline", "raegp"])
def test_a_method_has_a_cost_with_gradients(name, setting):
    model = METHODS[name].make(setting)
    x = tf.constant(setting.test)
    with tf.GradientTape() as tape:
        cost = model.example_terms(x, training=True).cost
    assert cost.shape == (len(setting.test),)
    assert np.isfinite(cost).all()
    for gradient in tape.gradient(cost, model.trainable_weights):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", METHODS)
def test_the_oracle_test_of_every_method_exists(name):
    path, test = METHODS[name].test.split("::")
    assert f"\ndef {test}(" in (ROOT / path).read_text()


def test_the_methods_are_those_of_the_groups():
    assert list(METHODS) == [name for group in GROUPS.values() for name in group]
    assert len(METHODS) == sum(map(len, GROUPS.values()))
    assert next(iter(METHODS)) == BASELINE


def test_a_training_that_is_killed_goes_on_where_it_was(setting, tmp_path):
    whole = training(setting, tmp_path / "whole")
    assert whole.run() == 2

    def kill(part):
        if len(part.rows) == 1:
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        training(setting, tmp_path / "killed", kill).run()
    again = training(setting, tmp_path / "killed")
    assert [row["epoch"] for row in again.rows] == [1]
    assert again.earlier == (again.rows[0]["elapsed_seconds"], again.rows[0]["elapsed_cpu_seconds"])
    again.run()
    done = training(setting, tmp_path / "killed")
    done.run()
    for part in (again, done):
        for mine, theirs in zip(part.model.weights, whole.model.weights, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert [row["loss"] for row in done.rows] == [row["loss"] for row in whole.rows]
    elapsed = [row["elapsed_cpu_seconds"] for row in done.rows]
    assert elapsed == sorted(elapsed)
    # A hundredth of the rate is left.
    assert float(whole.model.optimizer.learning_rate) == pytest.approx(1e-4, rel=1e-3)
    with pytest.raises(ValueError, match=r"begun with other options.*Received: .*'seed': 4"):
        training(setting, tmp_path / "killed", seed=4)


def test_a_budget_ends_with_the_epoch_that_spends_it():
    rates = []
    budget = Budget(18.0, spent=3.0, rate=0.01)
    budget.set_model(keras.Sequential([keras.layers.Dense(1)]))
    budget.model.optimizer, budget.model.stop_training = keras.optimizers.Adam(), False
    for epoch, cost in enumerate((6.0, 8.0, 4.0)):
        assert not budget.model.stop_training
        budget.on_epoch_begin(epoch)
        rates.append(float(budget.model.optimizer.learning_rate))
        budget.on_epoch_end(epoch, {"training_cpu_seconds": cost})
    assert budget.model.stop_training
    # Half a cosine to a hundredth, after 3, 9 and 17 of 18 seconds.
    left = np.cos(np.pi * np.array([3, 9, 17]) / 18) / 2 + 0.5
    np.testing.assert_allclose(rates, 0.0001 + 0.0099 * left, rtol=1e-5)


def test_a_training_of_minutes_counts_what_was_spent_before(setting, tmp_path, monkeypatch):
    plan = {key: PLAN[key] for key in ("learning_rate", "seed")} | {"minutes": 1e9}
    budgets = []
    monkeypatch.setattr(
        "reproductions.training.Budget", lambda *args: budgets.append(Budget(*args)) or budgets[-1]
    )

    def kill(part):
        if len(part.rows) == 1:
            raise KeyboardInterrupt
        return 0.0

    for _ in range(2):
        part = training(setting, tmp_path, kill)
        part.plan = plan
        with pytest.raises(KeyboardInterrupt):
            part.run()
    # Of the epoch that was cut short nothing counts.
    assert budgets[0].seconds == 6e10
    assert budgets[1].spent == part.rows[0]["training_cpu_seconds"] > 0
    # What has no time left is loaded as it is.
    part = training(setting, tmp_path)
    part.plan = plan | {"minutes": 1e-9}
    assert part.run() == len(part.rows) == 1


def test_a_method_is_trained_once_and_printed(mnist, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scores, "ELBO_SAMPLES", 2)
    options = ["--mnist", str(mnist), "--out", str(tmp_path), "--methods", BASELINE]
    options += ["--minutes", "1e-6", "--samples", "3", "--images", "5", "--batch-size", "120"]
    assert reproduce.main(options) == 0
    first = capsys.readouterr().out
    folder = tmp_path / "methods"
    result = json.loads((folder / BASELINE / results.RESULT).read_text())
    nll = results.read_nll(folder, BASELINE)
    assert (len(nll), result["epochs"], result["num_samples"]) == (5, 1, 3)
    assert result["nll"] == pytest.approx(nll.mean(), abs=1e-4)
    assert result["elbo"] == pytest.approx(result["reconstruction"] - result["kl"], abs=1e-3)
    assert f"{result['nll']:.2f} ± {result['nll_error']:.2f}" in first
    assert result["command"].startswith("python tools/reproduce.py --mnist ")
    assert "--learning-rate 0.003 --out" in result["command"]
    assert result["command"].endswith("--batch-size 120 --samples 3 --images 5")
    assert f" {tmp_path}" not in result["command"]
    # What the command says is what was asked for.
    again = reproduce._parse(result["command"].split()[2:])
    assert (again.methods, again.minutes, again.batch_size) == ([BASELINE], 1e-6, 120)
    # There is a result: nothing is trained.
    assert reproduce.main(options) == 0
    assert capsys.readouterr().out == first


def test_a_row_begins_with_the_weights_of_another(setting, mnist, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scores, "ELBO_SAMPLES", 2)
    options = ["--mnist", str(mnist), "--out", str(tmp_path), "--epochs", "1", "--samples", "3"]
    options += ["--images", "5", "--batch-size", "120"]
    rows = tmp_path / "rows"
    with pytest.raises(ValueError, match=r"train it first.*Received: .*iwae5 without"):
        reproduce.main([*options, "--rows", "iwae50", "--start", "iwae5"])
    assert reproduce.main([*options, "--rows", "iwae5"]) == 0
    assert reproduce.main([*options, "--rows", "iwae50", "--start", "iwae5"]) == 0
    first, second = (results.read_results(rows, ROWS)[name] for name in ("iwae5", "iwae50"))
    assert (second["start"], second["start_epochs"], second["epochs"]) == ("iwae5", 1, 1)
    for cost in ("training_cpu_seconds", "elapsed_seconds"):
        assert second[cost] > first[cost]
    assert "--start iwae5" in second["command"]
    text = capsys.readouterr().out
    assert "| 1 + 1 (3,280) |" in text
    assert "after 0.1% of its epochs, the first 1 of them as IWAE, K = 5." in text
    # Two trainings of no epoch more than that have its weights, and no others.
    papers = setting._replace(hidden=HIDDEN, latent_dim=LATENT)
    model, again, fresh, earlier, other = (
        ROWS[name].make(papers) for name in ("iwae50", "iwae50", "iwae50", "iwae5", "vampprior")
    )
    for each in (model, again):
        epochs, costs = begin_with(each, ROWS["iwae5"].make(papers), papers, rows / "iwae5")
        assert (epochs, costs["training_seconds"]) == (1, first["training_seconds"])
    for mine, same, new in zip(*(m.trainable_weights for m in (model, again, fresh)), strict=True):
        np.testing.assert_array_equal(mine, same)
        assert not np.array_equal(mine, new)
    with pytest.raises(ValueError, match="another network"):
        begin_with(other, earlier, papers, rows / "iwae5")
    for rows in ("vae,iwae50", "iwae5"):
        with pytest.raises(SystemExit):
            reproduce.main([*options, "--rows", rows, "--start", "iwae5"])
    assert "--start is for one row, and names another" in capsys.readouterr().err


def test_an_autoencoder_has_a_distortion_and_no_likelihood(setting, tmp_path):
    keras.utils.set_random_seed(1)
    model = METHODS["rael2"].make(setting)
    figures, nll = scores.measure(model, setting.test, 7)
    assert nll is None
    assert {name for name, value in figures.items() if value is not None} == {
        "reconstruction",
        "num_images",
    }
    # Bernoulli pixels: x log m + (1 - x) log(1 - m) of the means m.
    x, means = np.float64(setting.test), np.float64(model.reconstruct(setting.test))
    expected = (x * np.log(means) + (1 - x) * np.log1p(-means)).sum((1, 2, 3)).mean()
    assert figures["reconstruction"] == pytest.approx(expected, rel=1e-5)
    write(tmp_path, BASELINE, [80.0, 100.0], epochs=9, minutes=5.0)
    del figures["nll"]
    write(tmp_path, "rael2", None, **figures | {"num_images": 2}, epochs=8, minutes=5.0)
    assert not (tmp_path / "rael2" / results.NLLS).exists()
    text = methods_report.report(tmp_path)
    label = METHODS["rael2"].label
    assert f"| {label} | - | - | - | {-expected:.2f} | - | - | 8 | 60 |" in text
    assert "cannot all be compared" not in text
    assert "5,000 importance samples on 2 test images" in text


def test_a_process_for_each_of_several(tmp_path, monkeypatch, capsys):
    started = []

    class Process:
        def __init__(self, words, **kwargs):
            started.append(words[words.index("--rows") + 1])

        def wait(self):
            return int(started[-1] == "vae")

        def terminate(self):
            pass

    monkeypatch.setattr(reproduce.subprocess, "Popen", Process)
    options = ["--mnist", "mnist.npz", "--out", str(tmp_path), "--rows", "vae,iwae50"]
    assert reproduce.main(options) == 1
    assert started == ["vae", "iwae50"]
    assert "vae failed with exit status 1" in capsys.readouterr().err


def write(folder, name, nll, **values):
    costs = ("training_seconds", "training_cpu_seconds", "elapsed_seconds", "elapsed_cpu_seconds")
    result = {
        **dict.fromkeys(costs, 60.0),
        "nll": None if nll is None else float(np.mean(nll)),
        "nll_error": 0.25,
        "elbo": -90.0,
        "kl": 20.0,
        "reconstruction": -70.0,
        "active_units": 21,
        "num_samples": 5000,
        "num_images": 2,
        "learning_rate": 1e-3,
        "seed": 0,
        "batch_size": 100,
        "command": f"python tools/reproduce.py {name}",
        **values,
    }
    (folder / name).mkdir(parents=True)
    results.write_result(folder / name, result, nll)


def test_published_stands_beside_obtained(tmp_path):
    write(tmp_path, "vae", [88.0, 89.0], epochs=328)
    (tmp_path / "vae" / "history.csv").write_text("epoch,test_nll\n1,120\n2,\n328,88.7\n")
    text = rows_report.report(tmp_path)
    lines = {line.split(" | ")[0][2:]: line.split(" | ")[1:] for line in text.splitlines()}
    assert lines["VAE"][:2] == ["86.76", "88.50 ± 0.25"]
    assert lines["VAE"][5] == "328 (3,280)"
    assert "1.74 nats above it after 10.0% of its epochs." in text
    published = [float(lines[row.label][0]) for row in ROWS.values()]
    assert published == [86.76, 85.54, 84.78, 84.32, 82.38]
    assert lines["DReG, K = 50"][1] == "not run"
    assert "python tools/reproduce.py vae" in text
    with Image.open(tmp_path / rows_report.PICTURE) as picture:
        assert picture.size == (1024, 614)
        assert len(picture.convert("RGB").getcolors(2**24)) > 100


def test_differences_are_paired_by_image(tmp_path):
    write(tmp_path, BASELINE, [80.0, 100.0], epochs=9, minutes=5.0)
    write(tmp_path, "iwae5", [79.0, 97.0], epochs=9, minutes=5.0)
    text = methods_report.report(tmp_path)
    assert (
        "| IWAE, K = 5 | 88.00 ± 0.25 | -2.00 ± 1.00 | -90.00 | 70.00 | 20.00 | 21 | 9 | 60 |"
        in text
    )
    assert "5,000 importance samples on 2 test images; 5.0 processor minutes" in text
    assert text.count("not run") == len(METHODS) - 2
    titles = [line[4:-2].split("**")[0] for line in text.splitlines() if line.startswith("| **")]
    assert titles == list(GROUPS)
    assert "cannot all be compared" not in text
    write(tmp_path, "beta4", [79.0, 97.0], epochs=9, minutes=1.0)
    assert "cannot all be compared" in methods_report.report(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what to train"),
        (["--rows", "vae"], "--mnist is needed"),
        (["--rows", "vae,none", "--mnist", "x"], "unknown: none; known: all,vae,"),
    ],
)
def test_refuses(arguments, message, capsys):
    with pytest.raises(SystemExit):
        reproduce.main(arguments)
    assert message in capsys.readouterr().err
