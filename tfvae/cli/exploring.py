"""`tfvae explore`: a model in a web page."""

from __future__ import annotations

import hashlib
import webbrowser
from pathlib import Path
from typing import Any

import numpy as np

from tfvae import __version__, data, explorer
from tfvae.cli import console
from tfvae.cli.datasets import absolute_source, load_splits
from tfvae.cli.run import CONFIG, MODEL, RunConfig

PAGE_FOLDER = "page"
# Enough to fit attributes, few enough to encode in a few seconds.
_NUM_IMAGES = 6000
_MAX_CLASSES = 20
_NOUNS = {"faces": "face", "digits": "digit", "mnist": "digit"}


def explore(
    folder: Path, out: Path | None, source: str | None, runtime: Path | None, bare: bool
) -> Path:
    """Builds the page of a model, or completes one that is there.

    Args:
        folder: a run, a folder with one `.keras` file, or a page.
        out: the page's folder; `None` is `folder / "page"`.
        source: data that the model knows, in place of the run's own.
        runtime: a folder with LiteRT.js in it; `None` fetches it.
        bare: whether to leave LiteRT.js out.

    Returns:
        The page's folder.

    Raises:
        ValueError: if there is no model, or the data do not fit it.
        OSError: if LiteRT.js cannot be fetched.
    """
    if (folder / explorer.PAGE_FILE).is_file():
        if out is not None or source is not None:
            raise ValueError(
                "This folder is a page already, which can be opened but not built anew: give the "
                f"folder of the model. Received: {folder}"
            )
        page = folder
    else:
        page = out or folder / PAGE_FOLDER
        model_file = find_model(folder)
        digest = hashlib.sha256(model_file.read_bytes()).hexdigest()
        if source is not None or not _is_page_of(page, digest):
            _build(folder, model_file, digest, page, source)
    explorer.read_page(page)
    if not bare and (runtime is not None or not explorer.is_complete(page)):
        explorer.install_runtime(page, runtime)
    return page


def show(page: Path, port: int, open_browser: bool) -> None:
    """Serves a page on loopback until Ctrl-C, and opens it in the user's browser."""
    with explorer.PageServer(page, port) as server:
        console.out.print(f"{server.url}  (Ctrl-C ends it)", markup=False)
        if open_browser and not webbrowser.open(server.url):
            console.err.print("no browser to open: visit the address above", markup=False)
        try:
            server.wait()
        except KeyboardInterrupt:
            console.err.print("\nclosed", markup=False)


def find_model(folder: Path) -> Path:
    """The `.keras` file of a run or of an export's folder.

    Raises:
        ValueError: if there is none, or more than one.
    """
    if (folder / MODEL).is_file():
        return folder / MODEL
    found = sorted(folder.glob("*.keras")) if folder.is_dir() else []
    if len(found) != 1:
        raise ValueError(
            "A page is built from a run folder, as `tfvae train` makes it, or a folder with one "
            f".keras file in it. Received: {folder} with {len(found)} of them"
        )
    return found[0]


def _is_page_of(page: Path, digest: str) -> bool:
    try:
        about = explorer.read_page(page)["about"]
    except ValueError:
        return False
    return bool(about.get("model_sha256") == digest and about.get("tfvae") == __version__)


def _build(folder: Path, model_file: Path, digest: str, page: Path, source: str | None) -> None:
    console.load_tensorflow()
    from tfvae.models import load

    model = load(model_file, compile=False)
    config = RunConfig.read(folder) if (folder / CONFIG).is_file() else None
    name = folder.resolve().name
    about = {"model": name, "tfvae": __version__, "model_sha256": digest}
    examples: dict[str, Any] = {}
    splits = _splits(model, config, source)
    if splits is not None:
        examples = examples_of(splits)
        about["data"] = splits.name
    noun = _NOUNS.get(splits.name if splits else name, "picture")
    title = f"{name}: the latent space of a {type(model).__name__}"
    explorer.build(model, page, **examples, title=title, noun=noun, about=about, runtime=False)


def _splits(model: Any, config: RunConfig | None, source: str | None) -> data.DataSplits | None:
    if config is not None:
        return load_splits(config, source)
    if source is None:
        return None
    height, width, channels = model.data_shape
    return data.load(absolute_source(source), image_size=(height, width), channels=channels)


def examples_of(splits: data.DataSplits) -> dict[str, Any]:
    """Pictures, their labels and what these mean; the last few are the test part's."""
    train, test = splits.train[:_NUM_IMAGES], splits.test[: _NUM_IMAGES // 10]
    images = np.concatenate([train.images, test.images])
    labels: dict[str, Any] = {}
    meanings: dict[str, str] = {}
    if train.attributes and test.attributes:
        for name, values in train.attributes.items():
            labels[name] = np.concatenate([values, test.attributes[name]])
        if splits.name == "faces":
            meanings = {name: a.meaning for name, a in data.ATTRIBUTES.items()}
    elif train.labels is not None and test.labels is not None:
        labels = _class_labels(np.concatenate([train.labels, test.labels]), splits.class_names)
    return {"images": images, "labels": labels, "meanings": meanings}


def _class_labels(labels: np.ndarray, names: tuple[str, ...] | None) -> dict[str, np.ndarray]:
    """Whether an example is of a class, for each class; nothing if labels are no classes."""
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        return {}
    classes = np.unique(labels)
    if not 2 <= len(classes) <= _MAX_CLASSES:
        return {}
    return {
        f"is {names[int(label)] if names else int(label)}": labels == label for label in classes
    }
