"""Checkpoints that a kill or the disk has damaged: the last whole one is always found."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

from tfvae.saving import checkpoint
from tfvae.saving.checkpoint import (
    _fingerprint,
    latest_checkpoint,
    load_checkpoint,
    read_state,
    save_checkpoint,
)

FILES = ["manifest.json", "state.json", "variables.json", "variables.npz"]


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """A small model; saving does not change it."""
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])


@pytest.fixture
def saved(tmp_path: Path, model: keras.Model) -> Path:
    """A directory with one checkpoint, of step 3."""
    save_checkpoint(tmp_path, model, {"step": 3})
    return tmp_path


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "short", "flipped", "empty"])
def test_a_damaged_file_is_named_and_the_one_before_is_used(saved, model, name, damage):
    path = save_checkpoint(saved, model, {"step": 4})
    file = path / name
    data = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        file.write_bytes({"short": data[:-1], "flipped": flipped, "empty": b""}[damage])
    with pytest.raises(ValueError, match=f"is damaged: .*step-00000004/{name}"):
        load_checkpoint(path, model)
    with pytest.warns(UserWarning, match=f"Passing over a damaged checkpoint: .*/{name}"):
        assert latest_checkpoint(saved) == saved / "step-00000003"
    with pytest.warns(UserWarning, match="Passing over"):
        assert load_checkpoint(saved, model) == {"step": 3}

    # And the training can go on from there: the damaged one is in nobody's way.
    save_checkpoint(saved, model, {"step": 3})
    assert [item.name for item in saved.iterdir()] == ["step-00000003"]


def test_when_all_are_damaged_nothing_starts_again_in_silence(saved):
    (saved / "step-00000003" / "state.json").write_text("{}")
    with (
        pytest.warns(UserWarning, match="Passing over"),
        pytest.raises(ValueError, match="No checkpoint is whole: restore one"),
    ):
        latest_checkpoint(saved)


def test_no_checkpoint_is_none_or_an_error_where_one_is_needed(tmp_path, model):
    assert latest_checkpoint(tmp_path) is None
    assert latest_checkpoint(tmp_path / "absent") is None
    for name in ("step-1", "step-00000001x", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-00000009").touch()
    assert latest_checkpoint(tmp_path) is None
    for function in (read_state, lambda path: load_checkpoint(path, model)):
        with pytest.raises(ValueError, match="There is no checkpoint here"):
            function(tmp_path)


def test_pickles_are_not_read(saved, model):
    """Even with a manifest to match."""
    path = saved / "step-00000003"
    table = json.loads((path / "variables.json").read_text())
    with (path / "variables.npz").open("wb") as file:
        np.savez(file, **{entry["name"]: np.array([print], object) for entry in table})
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["variables.npz"] = _fingerprint(path / "variables.npz")
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="allow_pickle"):
        load_checkpoint(path, model)


# --- Crashes ---------------------------------------------------------------------------------


class KilledError(BaseException):
    """Like a kill: no handler for errors sees it, and nothing is cleaned up."""


def count_and_kill(monkeypatch: pytest.MonkeyPatch, after: int) -> list[str]:
    """Dies at the `after`-th call of what makes a write safe; does not clean up afterwards."""
    calls: list[str] = []

    def wrap(name: str):
        real = getattr(os, name)

        def wrapped(*args, **kwargs):
            if len(calls) == after:
                monkeypatch.setattr(shutil, "rmtree", lambda *_a, **_k: None)
                raise KilledError
            calls.append(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, wrapped)

    wrap("fsync")
    wrap("replace")
    return calls


@pytest.mark.parametrize("keep", [1, 2])
@pytest.mark.parametrize(
    ("step", "steps", "after"),
    # Five fsyncs, the rename, an fsync; saving the same step again takes one rename more.
    [(4, 7, after) for after in range(7)] + [(3, 8, after) for after in range(8)],
)
def test_a_kill_at_any_step_leaves_a_whole_checkpoint(
    saved, model, monkeypatch, step, steps, after, keep
):
    """Of a new step, or of the same step again; a kill after the rename leaves the new one."""
    with monkeypatch.context() as patch:
        count_and_kill(patch, after)
        with pytest.raises(KilledError):
            save_checkpoint(saved, model, {"step": step, "new": True}, keep=keep)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Nothing that is found is damaged.
        found = latest_checkpoint(saved)
    state = read_state(found)
    last = steps - 1  # Only the fsync after the last rename is missing.
    assert state == ({"step": step, "new": True} if after == last else {"step": 3})

    # The next save works, and clears up.
    path = save_checkpoint(saved, model, {"step": 5}, keep=1)
    assert list(saved.iterdir()) == [path]


def test_an_error_on_the_way_is_cleaned_up_at_once(saved, model, monkeypatch):
    def fail(*_args):
        raise OSError("the disk is full")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(OSError, match="the disk is full"):
                save_checkpoint(saved, model, {"step": 4})
        assert [item.name for item in saved.iterdir()] == ["step-00000003"]


def test_every_file_is_on_the_disk_before_the_rename_and_the_rename_before_any_removal(
    saved, model, monkeypatch
):
    events = []
    real = {"fsync": checkpoint.fsync, "replace": os.replace, "rmtree": shutil.rmtree}

    def fsync(path):
        events.append(path.name)
        real["fsync"](path)

    def replace(source, target):
        events.append(f"-> {Path(target).name}")
        real["replace"](source, target)

    def rmtree(path, **options):
        if Path(path).exists():
            events.append(f"removed {Path(path).name}")
        real["rmtree"](path, **options)

    monkeypatch.setattr(checkpoint, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(shutil, "rmtree", rmtree)
    save_checkpoint(saved, model, {"step": 4}, keep=1)
    assert sorted(events[:4]) == FILES
    assert events[4].startswith(".tmp-")
    assert events[5:] == ["-> step-00000004", saved.name, "removed step-00000003"]


def test_how_many_are_kept(tmp_path, model):
    for step in (1, 5, 9, 200_000_000):
        save_checkpoint(tmp_path, model, {"step": step}, keep=3)
    names = sorted(item.name for item in tmp_path.iterdir())
    assert names == ["step-00000005", "step-00000009", "step-200000000"]
    assert latest_checkpoint(tmp_path).name == "step-200000000"


def test_a_later_checkpoint_means_another_training(saved, model):
    with pytest.raises(ValueError, match=r"holds a later checkpoint.*step=2, found step-00000003"):
        save_checkpoint(saved, model, {"step": 2})
