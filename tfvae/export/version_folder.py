"""Numbered version folders, as TensorFlow Serving watches them.

A server looks at its model's folder every second or so and loads any numbered folder that it finds
there. So a version is written under a hidden name, forced to the disk, and renamed in one step: no
server ever sees half of one. A version that exists is never touched; a server may be reading it.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfvae.saving.atomic import fsync, write_atomically


def next_version(folder: Path, version: int | None) -> int:
    """Checks a version number, or finds the next one.

    Args:
        folder: the model's folder; it need not exist.
        version: the number asked for, or `None` for one more than the highest there is.

    Returns:
        The number.

    Raises:
        ValueError: if the number is not at least 1, or the version exists.

    Example:
        >>> next_version(Path("no/such/folder"), None)
        1
    """
    existing = [int(path.name) for path in folder.glob("*") if path.name.isdecimal()]
    if version is None:
        return max(existing, default=0) + 1
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ValueError(f"`version` must be an integer of at least 1. Received: {version!r}")
    if version in existing:
        raise ValueError(
            f"Version {version} exists, and a server may be reading it: leave `version` out for "
            f"the next one, {max(existing) + 1}. Received: path={str(folder)!r}"
        )
    return version


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Gives a hidden folder to write to, and moves it to `path` once the block has ended well.

    Args:
        path: the folder to make; nothing may be there. Missing parents are made.

    Yields:
        The folder to write to; it exists and is empty.

    Raises:
        OSError: if another process has made `path` in the meantime.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    temporary.mkdir()
    try:
        yield temporary
        for written in sorted(temporary.rglob("*"), reverse=True):
            fsync(written)
        fsync(temporary)
        # Fails if a version is there: a rename replaces empty folders only.
        temporary.rename(path)
        fsync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_if_missing(path: Path, text: str) -> None:
    """Writes a text file, all of it or nothing; one that is there is somebody's, and stays.

    Args:
        path: the file, in an existing folder.
        text: what to write.
    """
    if not path.exists():
        with write_atomically(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(os.path.getsize(path) for path in folder.rglob("*") if path.is_file())
