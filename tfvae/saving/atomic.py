"""Files that are either the old one or the new one, never half of each.

A crash, a full disk or a killed process must not cost the file that was there before. So the new
content goes to a hidden neighbour, is forced to the disk, and takes the name in one rename; the
rename itself is forced to the disk too, because a rename that only the page cache has seen is
undone by a power cut.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def fsync(path: Path) -> None:
    """Forces one file or directory to the disk.

    Args:
        path: an existing file or directory.
    """
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no directories; NTFS journals its renames itself.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def write_atomically(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a path to write to, and moves it to `path` once the block has ended well.

    The temporary path has the ending of `path`, for writers that choose a format by it, and lies
    in the same directory, because a rename is atomic only within one file system. If the block
    raises, the temporary file is removed and `path` is as it was.

    Args:
        path: the file to create or replace. Its directory must exist.

    Yields:
        The path to write to. Nothing exists there yet.

    Raises:
        ValueError: the directory does not exist, `path` is a directory, or the block wrote nothing.

    Example:

    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> with write_atomically(folder / "history.json") as temporary:
    ...     _ = temporary.write_text("{}")
    >>> [item.name for item in folder.iterdir()]
    ['history.json']
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(
            "The directory of the file to write does not exist: create it first. "
            f"Received: path={str(path)!r}"
        )
    if path.is_dir():
        raise ValueError(
            "A file is to be written where a directory stands: choose another name. "
            f"Received: path={str(path)!r}"
        )
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(8)}{path.suffix}")
    try:
        yield temporary
        if not temporary.is_file():
            raise ValueError(
                "Nothing was written: write to the path that `write_atomically` gives, not to "
                f"its argument. Received: path={str(path)!r}"
            )
        fsync(temporary)
        os.replace(temporary, path)
        fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
