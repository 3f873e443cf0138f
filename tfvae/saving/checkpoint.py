"""Checkpoints of a training: all of its state, whole or not there.

A checkpoint is a directory `step-00000123` with

- `variables.npz`: every variable as a NumPy array. Flat and without pickles, so it opens anywhere;
  Keras' own weight files leave out the state of seed generators and of metrics.
- `variables.json`: name, shape and type of each, in order. NumPy cannot write bfloat16 and its
  like by name, so their bits are in the archive as unsigned integers, and the type stands here.
- `state.json`: what the caller wants back (step, epoch, seeds, ...).
- `manifest.json`: size and SHA-256 sum of the three.

It is written under a hidden name, forced to the disk, and renamed; only then do older ones go. At
every moment of a save a kill leaves at least one whole checkpoint, and a later bit flip is found by
its sum.

Variables are matched by position and by name. Of the names, the counters that Keras appends to make
them unique (`dense_1`) do not count, for they depend on what else the process has built; nor do
outer names that only one side has, for they depend on where a layer was built.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import secrets
import shutil
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfvae.saving.atomic import fsync
from tfvae.saving.model_file import require_built

_ARRAYS, _TABLE, _STATE, _MANIFEST = (
    "variables.npz",
    "variables.json",
    "state.json",
    "manifest.json",
)
_NAME = re.compile(r"step-(\d{8,})(\.replaced)?")
_COUNTER = re.compile(r"_\d+(?=[_/]|$)")
_TEMPORARY = ".tmp-"


def save_checkpoint(
    directory: str | os.PathLike[str],
    model: keras.Model,
    state: dict[str, Any],
    *,
    keep: int = 2,
) -> Path:
    """Writes a checkpoint `step-00000123` below a directory, all of it or nothing.

    Args:
        directory: where the checkpoints of one training lie; made if it does not exist.
        model: the model. Its variables, those of its metrics, those of every optimizer that is one
            of its attributes, and the state of its seed generators are written.
        state: what else a resumed training needs, as JSON can hold it. `state["step"]`, a whole
            number of training steps, names the checkpoint.
        keep: how many checkpoints remain, this one included. With two, a checkpoint that the disk
            damages later has a predecessor.

    Returns:
        The directory of the new checkpoint.

    Raises:
        TypeError: `model` is not a Keras model, or `state` is not a dictionary.
        ValueError: the model is not built, `state` has no step or does not survive JSON, `keep` is
            below one, or the directory holds a later checkpoint: it is another training's.

    Example:

    >>> import keras, tempfile
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> folder = tempfile.mkdtemp()
    >>> save_checkpoint(folder, model, {"step": 10, "seed": 1}).name
    'step-00000010'
    >>> load_checkpoint(folder, model)
    {'step': 10, 'seed': 1}
    """
    require_built(model)
    text = _state_text(state)
    if keep < 1:
        raise ValueError(f"At least one checkpoint must be kept. Received: keep={keep}")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"step-{state['step']:08d}"
    _make_way(directory, state["step"])
    temporary = directory / f"{_TEMPORARY}{secrets.token_hex(8)}"
    try:
        temporary.mkdir()
        _write(temporary, model, text)
        replaced = path.with_name(f"{path.name}.replaced")
        if path.exists():
            # Still a checkpoint under this name, should we be killed before the next line.
            os.replace(path, replaced)
        os.replace(temporary, path)
        fsync(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in (replaced, *_checkpoints(directory)[keep:]):
        shutil.rmtree(old, ignore_errors=True)  # What stays now goes at the next save.
    return path


def load_checkpoint(directory: str | os.PathLike[str], model: keras.Model) -> dict[str, Any]:
    """Restores a model, its optimizer and its metrics, bit for bit.

    Everything is checked before anything is assigned: a load that fails leaves the model as it was.
    An optimizer without variables is built on the model's trainable variables first.

    The metrics of `compile` get their variables at the first batch: call `model.test_on_batch` once
    before, what it changes is overwritten. Inside `fit`, load in `on_epoch_begin`: Keras resets the
    metrics just before.

    Args:
        directory: a checkpoint, or the directory that it is in; then the last whole one is taken.
        model: a model built and compiled as the one that was saved.

    Returns:
        The `state` that was given to `save_checkpoint`.

    Raises:
        TypeError: `model` is not a Keras model.
        ValueError: there is no whole checkpoint, or it is of another model; the message names the
            damaged file or the variable.
    """
    require_built(model)
    path = _resolve(directory)
    variables = _variables(model)
    table = json.loads((path / _TABLE).read_text(encoding="utf-8"))
    _require_match(table, variables, path)
    arrays = []
    with np.load(path / _ARRAYS, allow_pickle=False) as archive:
        for entry in table:
            dtype = tf.as_dtype(entry["dtype"]).as_numpy_dtype
            arrays.append(archive[entry["name"]].view(dtype))
    for variable, array in zip(variables.values(), arrays, strict=True):
        variable.assign(array)
    return _state(path)


def latest_checkpoint(directory: str | os.PathLike[str]) -> Path | None:
    """Finds the last whole checkpoint, and warns of damaged ones that it passes over.

    Args:
        directory: where the checkpoints of one training lie.

    Returns:
        The directory of the checkpoint, or None if there is none.

    Raises:
        ValueError: there are checkpoints, and all are damaged. Starting again in silence would
            cost the training.
    """
    damages = []
    for path in _checkpoints(Path(directory)):
        damage = _damage(path)
        if damage is None:
            return path
        damages.append(damage)
        warnings.warn(f"Passing over a damaged checkpoint: {damage}", stacklevel=2)
    if damages:
        raise ValueError(
            "No checkpoint is whole: restore one from a backup, or remove them to start again. "
            f"Received: {'; '.join(damages)}"
        )
    return None


def read_state(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads what was saved beside the variables, without a model.

    Args:
        directory: a checkpoint, or the directory that it is in; then the last whole one is taken.

    Returns:
        The `state` that was given to `save_checkpoint`.

    Raises:
        ValueError: there is no whole checkpoint.
    """
    return _state(_resolve(directory))


def _state(path: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((path / _STATE).read_text(encoding="utf-8"))
    return state


def _state_text(state: dict[str, Any]) -> str:
    if not isinstance(state, dict):
        raise TypeError(f"`state` must be a dictionary. Received: {type(state).__name__}")
    step = state.get("step")
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        raise ValueError(
            f"state['step'] must be a whole number, at least 0. Received: {step!r} "
            f"({type(step).__name__})"
        )
    try:
        text = json.dumps(state, allow_nan=False, indent=1)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`state` must hold what JSON can hold: {error}. Received: state={state!r}"
        ) from error
    if json.loads(text) != state:
        raise ValueError(
            "`state` does not come back from JSON as it was: use lists for tuples and strings for "
            f"keys. Received: state={state!r}"
        )
    return text


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Every variable of a training by a name that sorts out where it belongs."""
    optimizers = {
        name: value for name, value in vars(model).items() if isinstance(value, keras.Optimizer)
    }
    main = optimizers.get("optimizer")
    if main is not None and not main.built:
        main.build(model.trainable_variables)
    groups = {
        "model": model.variables,
        **{name: optimizer.variables for name, optimizer in optimizers.items()},
        "metrics": model.metrics_variables,
    }
    return {
        f"{group}/{index}/{variable.path}": variable
        for group, variables in groups.items()
        for index, variable in enumerate(variables)
    }


def _write(folder: Path, model: keras.Model, state: str) -> None:
    table, arrays = [], {}
    for name, variable in _variables(model).items():
        array = np.asarray(variable.value.numpy())
        dtype = keras.backend.standardize_dtype(variable.dtype)
        table.append({"name": name, "shape": list(array.shape), "dtype": dtype})
        # 1 is NumPy's own; bfloat16 and float8 come from another package.
        native = array.dtype.isbuiltin == 1
        arrays[name] = array if native else array.view(f"u{array.dtype.itemsize}")
    with (folder / _ARRAYS).open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    (folder / _TABLE).write_text(json.dumps(table, indent=1), encoding="utf-8")
    (folder / _STATE).write_text(state, encoding="utf-8")
    manifest = {name: _fingerprint(folder / name) for name in (_ARRAYS, _TABLE, _STATE)}
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for path in (*folder.iterdir(), folder):
        fsync(path)


def _fingerprint(path: Path) -> dict[str, int | str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _damage(path: Path) -> str | None:
    """What is wrong with a checkpoint's files, or None."""
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
        expected = {name: manifest[name] for name in (_ARRAYS, _TABLE, _STATE)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{path / _MANIFEST} is missing or unreadable ({error})"
    for name, fingerprint in expected.items():
        if not (path / name).is_file():
            return f"{path / name} is missing"
        if (found := _fingerprint(path / name)) != fingerprint:
            return f"{path / name} is {found}, {path / _MANIFEST} says {fingerprint}"
    return None


def _checkpoints(directory: Path) -> list[Path]:
    """The checkpoints below a directory, whole or not, the newest first."""
    found = []
    for path in directory.iterdir() if directory.is_dir() else ():
        if _NAME.fullmatch(path.name) and path.is_dir():
            found.append((_step(path), path.suffix == "", path))
    return [path for *_, path in sorted(found, reverse=True)]


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def _make_way(directory: Path, step: int) -> None:
    """Removes what a killed save left, and damaged checkpoints that this one would hide behind."""
    for path in directory.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in _checkpoints(directory):
        if _step(path) <= step:
            continue
        if _damage(path) is None:
            raise ValueError(
                "The directory holds a later checkpoint, so it is of another training: resume "
                f"from it, or choose a new directory. Received: step={step}, found {path.name}"
            )
        shutil.rmtree(path)


def _resolve(directory: str | os.PathLike[str]) -> Path:
    """A whole checkpoint: the one named, or the last of those in the directory."""
    path = Path(directory)
    if _NAME.fullmatch(path.name):
        if damage := _damage(path):
            raise ValueError(f"The checkpoint is damaged: load an earlier one. Received: {damage}")
        return path
    latest = latest_checkpoint(path)
    if latest is None:
        raise ValueError(f"There is no checkpoint here. Received: directory={str(path)!r}")
    return latest


def _require_match(
    table: list[dict[str, Any]], variables: dict[str, keras.Variable], path: Path
) -> None:
    saved = [(entry["name"], tuple(entry["shape"]), entry["dtype"]) for entry in table]
    wanted = [
        (name, tuple(variable.shape), keras.backend.standardize_dtype(variable.dtype))
        for name, variable in variables.items()
    ]
    for ours, theirs in itertools.zip_longest(saved, wanted):
        if ours and theirs and ours[1:] == theirs[1:] and _alike(ours[0], theirs[0]):
            continue
        advice = "Build and compile the model as it was when the checkpoint was written"
        if str((ours or theirs)[0]).startswith("metrics/"):
            advice += (
                "; the metrics of compile() have no variables before the first batch, so call "
                "model.test_on_batch once before loading"
            )
        raise ValueError(
            f"The checkpoint is of another model: it has {ours or 'no variable'} where the model "
            f"has {theirs or 'no variable'}. {advice}. Received: {str(path)!r}"
        )


def _alike(one: str, other: str) -> bool:
    """Whether two names, `group/index/path`, can be of the same variable."""
    *place, path = _COUNTER.sub("", one).split("/", 2)
    *other_place, other_path = _COUNTER.sub("", other).split("/", 2)
    short, long = sorted((f"/{path}", f"/{other_path}"), key=len)
    return place == other_place and long.endswith(short)
