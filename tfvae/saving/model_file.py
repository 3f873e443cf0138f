"""A whole model in one `.keras` file: written atomically, read only after a check."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from tfvae.saving.archive import (
    MAX_INFLATED_BYTES,
    check_open_archive,
    extracted_weights,
    open_archive,
)
from tfvae.saving.atomic import write_atomically
from tfvae.saving.weights import check_restored

MODEL_FILE = "model.keras"
"""The name of the model in a run folder."""


def save_model(model: keras.Model, path: str | os.PathLike[str]) -> Path:
    """Writes a model to a `.keras` file, all of it or nothing.

    Keras writes in place, so a crash leaves half a file where a good one was. Here a save that
    fails leaves nothing behind and does not touch the file that is there.

    Args:
        model: a model whose weights exist.
        path: a file name ending in `.keras`, in an existing directory.

    Returns:
        The path written.

    Raises:
        TypeError: `model` is not a Keras model.
        ValueError: the name has another ending, or the model is not built.

    Example:

    >>> import keras, pathlib, tempfile
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> save_model(model, pathlib.Path(tempfile.mkdtemp()) / "model.keras").name
    'model.keras'
    """
    path = Path(path)
    require_built(model)
    if path.suffix != ".keras":
        raise ValueError(
            "Models are saved as .keras files alone; other formats cannot be loaded safely. "
            f"Received: path={str(path)!r}"
        )
    with write_atomically(path) as temporary:
        model.save(temporary)
    return path


def load(
    path: str | os.PathLike[str],
    *,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    max_inflated_bytes: int = MAX_INFLATED_BYTES,
) -> keras.Model:
    """Loads a model from a `.keras` file, or from a run folder that holds `model.keras`.

    The file is copied to a private directory, the copy is checked (`check_archive`) and the copy is
    loaded: nobody can change it in between. Keras' safe mode is on, always. What Keras only warns
    about, such as an optimizer whose state does not fit, is an error here.

    Args:
        path: the file, or the folder it is in.
        custom_objects: classes and functions by name that the file may use beside those that are
            registered. Name only code that you trust.
        compile: whether to compile the model as it was, with the state of its optimizer.
        max_inflated_bytes: the largest accepted size in bytes.

    Returns:
        The model, with the weights and, if compiled, the optimizer of the one that was saved, bit
        for bit.

    Raises:
        ValueError: the file was refused, or what Keras made of it is not what it holds.

    Example:

    >>> import keras, pathlib, tempfile
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> path = save_model(model, pathlib.Path(tempfile.mkdtemp()) / "model.keras")
    >>> load(path).count_params()
    3
    """
    path = Path(path)
    if path.is_dir() and path.suffix != ".keras":
        if not (path / MODEL_FILE).is_file():
            raise ValueError(
                f"The folder holds no {MODEL_FILE}. Only .keras files are loaded: a SavedModel "
                f"or a checkpoint is something else. Received: path={str(path)!r}"
            )
        path = path / MODEL_FILE
    source = str(path)
    with tempfile.TemporaryDirectory(prefix="tfvae-") as folder:
        copy = Path(folder) / MODEL_FILE
        with open_archive(path, max_inflated_bytes) as original, copy.open("wb") as target:
            shutil.copyfileobj(original, target, 2**20)
        with open_archive(copy, max_inflated_bytes) as file:
            check_open_archive(file, source, custom_objects, compile, max_inflated_bytes)
        model = keras.saving.load_model(
            copy, custom_objects=dict(custom_objects or {}), compile=compile, safe_mode=True
        )
        again = Path(folder) / "again.keras"
        model.save(again)
        with (
            zipfile.ZipFile(copy) as before,
            zipfile.ZipFile(again) as after,
            extracted_weights(before) as saved,
            extracted_weights(after) as restored,
        ):
            check_restored(saved, restored, compile, source)
    return model


def require_built(model: keras.Model) -> None:
    """Refuses what is not a model, or one whose weights do not exist yet.

    Args:
        model: the model to save.

    Raises:
        TypeError: it is not a Keras model.
        ValueError: it is not built.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"A keras.Model is needed. Received: {type(model).__name__}")
    if not model.built:
        raise ValueError(
            "The model has no weights yet: call it on a batch, or call its build(), before it is "
            f"saved. Received: {model.name!r}"
        )
