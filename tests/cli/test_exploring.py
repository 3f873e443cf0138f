"""`tfvae explore` builds a page once, completes it and shows it."""

import json

import numpy as np
import pytest

from tfvae import explorer
from tfvae.cli import exploring
from tfvae.data import DataSplits, Images


@pytest.fixture(scope="module")
def page(run_folder, run_command, tmp_path_factory):
    out = tmp_path_factory.mktemp("explore") / "page"
    result = run_command("explore", run_folder, "-o", out, "--bare")
    assert result.exit_code == 0
    assert result.stdout == f"wrote {out}\n"
    return out


@pytest.fixture
def runtime_folder(tmp_path):
    """What looks like LiteRT.js."""
    for package, path in explorer.runtime.FILES.values():
        file = tmp_path / "modules" / package / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
        version = json.dumps({"version": explorer.runtime.VERSION})
        (tmp_path / "modules" / package / "package.json").write_text(version)
    return tmp_path / "modules"


def test_a_runs_page_knows_its_data(page):
    content = explorer.read_page(page)
    assert content["about"]["data"] == "digits"
    assert content["noun"] == "digit"
    assert content["examples"] == 8
    found = {entry["name"] for entry in content["attributes"]} | {*content["attributes_left_out"]}
    assert found == {f"is {digit}" for digit in range(10)}


def test_a_page_is_built_once(page, run_folder, run_command, monkeypatch):
    def fail(*_):
        raise RuntimeError("built again")

    monkeypatch.setattr(exploring, "_build", fail)
    assert run_command("explore", run_folder, "-o", page, "--bare").exit_code == 0
    content = json.loads((page / "page.json").read_text())
    content["about"]["model_sha256"] = "of another model"
    kept = (page / "page.json").read_text()
    (page / "page.json").write_text(json.dumps(content))
    try:
        with pytest.raises(RuntimeError, match="built again"):
            run_command("explore", run_folder, "-o", page, "--bare")
    finally:
        (page / "page.json").write_text(kept)


def test_a_page_is_completed_shown_and_closed(
    page, run_command, runtime_folder, monkeypatch, request
):
    opened = []

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(exploring.webbrowser, "open", lambda url: opened.append(url) or True)
    monkeypatch.setattr(explorer.PageServer, "wait", interrupt)
    result = run_command("explore", page, "--runtime", runtime_folder)
    assert result.exit_code == 0
    assert explorer.is_complete(page)
    assert result.stdout.startswith("http://127.0.0.1:")
    assert opened == [result.stdout.split()[0]]
    run_command("explore", page, "--no-open")
    assert len(opened) == 1


@pytest.mark.parametrize("options", [["-o", "elsewhere"], ["--data", "digits"]])
def test_a_page_is_not_built_from_a_page(options, page, run_command):
    with pytest.raises(ValueError, match="a page already"):
        run_command("explore", page, *options)


def test_a_folder_without_one_model_is_refused(tmp_path, run_command):
    with pytest.raises(ValueError, match=r"with 0 of them"):
        run_command("explore", tmp_path)
    for name in "ab":
        (tmp_path / f"{name}.keras").write_text("")
    with pytest.raises(ValueError, match=r"with 2 of them"):
        run_command("explore", tmp_path)


def splits(labels, names=None, **attributes):
    images = np.zeros((len(labels), 4, 4, 1), np.uint8)
    part = Images(images, labels=labels, attributes=attributes or None)
    return DataSplits("data", part, part, part, class_names=names)


def test_classes_become_yes_or_no():
    labels = np.array([2, 0, 1, 0])
    examples = exploring.examples_of(splits(labels, names=("cat", "dog", "owl")))
    assert list(examples["labels"]) == ["is cat", "is dog", "is owl"]
    cats = examples["labels"]["is cat"]
    # Of the training part, and a few of the test part behind them.
    np.testing.assert_array_equal(cats[:4], [False, True, False, True])
    assert len(cats) == len(examples["images"])


def test_attributes_come_before_classes():
    examples = exploring.examples_of(splits(np.array([0, 1]), size=np.array([0.5, 0.7])))
    assert list(examples["labels"]) == ["size"]


def test_numbers_are_no_classes():
    assert exploring.examples_of(splits(np.arange(40)))["labels"] == {}
    assert exploring.examples_of(splits(np.array([0.5, 1.5])))["labels"] == {}
