"""Either the old file or the new one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfvae.saving import atomic
from tfvae.saving.atomic import fsync, write_atomically


def test_a_file_is_created_and_replaced(tmp_path):
    path = tmp_path / "plot.png"
    for content in (b"one", b"two"):
        with write_atomically(str(path)) as temporary:
            assert temporary.parent == tmp_path
            assert temporary.suffix == ".png"
            assert not temporary.exists()
            temporary.write_bytes(content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    with write_atomically(tmp_path / "file") as temporary:
        temporary.touch()
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_block_that_raises_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "history.json"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), write_atomically(path) as temporary:
        temporary.write_text("half, then \ud800", encoding="utf-8")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_written_is_an_error(tmp_path):
    path = tmp_path / "history.json"
    with (
        pytest.raises(ValueError, match="Nothing was written: write to the path"),
        write_atomically(path),
    ):
        path.write_text("beside")


def test_the_place_must_be_right(tmp_path):
    with pytest.raises(ValueError, match="create it first"), write_atomically(tmp_path / "a" / "b"):
        pass
    (tmp_path / "a").mkdir()
    with (
        pytest.raises(ValueError, match="where a directory stands"),
        write_atomically(tmp_path / "a"),
    ):
        pass


def test_the_order_is_content_rename_directory(tmp_path, monkeypatch):
    """The content must be on the disk before the name is, and the name before we go on."""
    path, events = tmp_path / "file", []
    real_fsync, real_replace = atomic.fsync, os.replace

    def spy_fsync(target: Path) -> None:
        events.append(target.name)
        real_fsync(target)

    def spy_replace(source: Path, target: Path) -> None:
        events.append(f"{source.name} -> {target.name}")
        real_replace(source, target)

    monkeypatch.setattr(atomic, "fsync", spy_fsync)
    monkeypatch.setattr(os, "replace", spy_replace)
    with write_atomically(path) as temporary:
        temporary.write_text("new")
    assert events == [temporary.name, f"{temporary.name} -> file", tmp_path.name]


def test_fsync_takes_files_and_directories_to_the_disk(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append(os.fstat(descriptor).st_ino))
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path):
        fsync(path)
        assert calls.pop() == path.stat().st_ino
    with pytest.raises(FileNotFoundError):
        fsync(tmp_path / "absent")
