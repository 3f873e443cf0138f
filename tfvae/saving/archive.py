"""The check that a `.keras` file passes before Keras sees it.

Loading a model makes objects by the names that the file gives and reads arrays of the sizes that
it declares; Keras had more than a dozen CVEs in two years in doing so. This module reads the file
without making anything: the zip container, then the two JSON members, then every class and
function named (`allowlist`), then every array (`weights`). A `.keras` file as Keras writes it is a
very plain zip: three members, uncompressed. Whatever is more than that is refused; this one rule
leaves no room for traversal, symlinks, assets, encryption or decompression bombs.

What the check cannot do: it does not make up for a fault in the HDF5 library's own parser, and it
does not know how much memory a configuration will ask for (`Dense(10**9)` is a valid layer). Load
files of strangers in a process with a memory limit.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import struct
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from tfvae.saving.allowlist import check_config
from tfvae.saving.weights import check_weights

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
MAX_INFLATED_BYTES = 4 * 2**30
"""Default bound on a model file: 4 GiB, a billion float32 weights."""

_MAX_JSON_BYTES = {CONFIG: 16 * 2**20, METADATA: 64 * 2**10}
_MAX_NESTING = 100
# The closing quote is optional, or an unclosed string would be tried again from each inner quote.
_JSON_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
# What `zipfile` raises on a container that is cut short, scrambled or encrypted.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    EOFError,
    OSError,
    RuntimeError,
    UnicodeDecodeError,
    struct.error,
)
_OTHER_FORMATS = {
    ".h5": "HDF5 model files carry code that Keras runs in spite of `safe_mode`",
    ".hdf5": "HDF5 model files carry code that Keras runs in spite of `safe_mode`",
    ".pkl": "pickles run whatever code they hold",
    ".pickle": "pickles run whatever code they hold",
    ".pb": "a SavedModel is a program for a server, not a model to go on with",
}


def check_archive(
    path: str | os.PathLike[str],
    *,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    max_inflated_bytes: int = MAX_INFLATED_BYTES,
) -> dict[str, Any]:
    """Checks a `.keras` file without loading it.

    Args:
        path: the file.
        custom_objects: classes and functions by name that the file may use beside those that are
            registered, as `keras.saving.load_model` takes them.
        compile: whether the configuration for training will be used; if not, what it names is
            not checked, since Keras will not look at it.
        max_inflated_bytes: the largest accepted size in bytes.

    Returns:
        The model's configuration, as parsed from `config.json`.

    Raises:
        ValueError: the file is not what Keras writes, is too large, or names something that is
            not on the list; the message says what was found and what to do.

    Example:

    >>> import keras, pathlib, tempfile
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.keras"
    >>> model.save(path)
    >>> check_archive(path)["class_name"]
    'Sequential'

    Reference: CVE-2024-3660, CVE-2025-1550, CVE-2025-8747, CVE-2025-9905, CVE-2025-9906,
    CVE-2025-12058, CVE-2025-49655, CVE-2026-0897, CVE-2026-1462 and CVE-2026-1669 are the attacks
    on model loading that its tests replay.
    """
    with open_archive(path, max_inflated_bytes) as file:
        return check_open_archive(file, str(path), custom_objects, compile, max_inflated_bytes)


@contextmanager
def open_archive(path: str | os.PathLike[str], max_bytes: int) -> Iterator[BinaryIO]:
    """Opens a file that by name, kind and size can be a `.keras` file.

    Args:
        path: the file.
        max_bytes: the largest accepted size.

    Yields:
        The file, open for reading.

    Raises:
        ValueError: it cannot be one.
    """
    path = Path(path)
    source = str(path)
    if path.suffix != ".keras":
        reason = _OTHER_FORMATS.get(path.suffix.lower(), "its name does not end in .keras")
        _refuse(f"only .keras files are loaded; {reason}", source)
    if path.is_dir():
        _refuse("it is a directory; pass a .keras file", source)
    if not path.is_file():
        _refuse("there is no such file", source)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            _refuse(
                f"it has {size} bytes, the limit is {max_bytes}; raise max_inflated_bytes if you "
                "expect a model of this size",
                source,
            )
        yield file


def check_open_archive(
    file: BinaryIO,
    source: str,
    custom_objects: Mapping[str, Any] | None,
    compile: bool,
    max_inflated_bytes: int,
) -> dict[str, Any]:
    """`check_archive` on an open file; `source` is the name that errors give."""
    try:
        with zipfile.ZipFile(file) as archive:
            _check_members(archive.infolist(), max_inflated_bytes, source)
            texts = {name: archive.read(name) for name in _MAX_JSON_BYTES}
            with extracted_weights(archive) as weights:
                check_weights(weights, source)
    except _ZIP_ERRORS as error:
        _refuse(f"it is not a zip file, or is cut short, damaged or encrypted ({error})", source)
    _parse(METADATA, texts[METADATA], source)
    config = _parse(CONFIG, texts[CONFIG], source)
    # Keras drops this one key, and only at the top, when it is not to compile.
    used = config if compile else {key: config[key] for key in config if key != "compile_config"}
    check_config(used, custom_objects, source)
    return config


@contextmanager
def extracted_weights(archive: zipfile.ZipFile) -> Iterator[BinaryIO]:
    """The archive's HDF5 member as a file of its own, gone when the block ends."""
    with tempfile.TemporaryFile() as copy, archive.open(WEIGHTS) as member:
        shutil.copyfileobj(member, copy, 2**20)
        copy.seek(0)
        yield copy


def _check_members(members: list[zipfile.ZipInfo], max_bytes: int, source: str) -> None:
    expected = {CONFIG, METADATA, WEIGHTS}
    for member in members:
        name = member.filename
        if name.startswith("assets/"):
            _refuse(
                f"it holds {name!r}: text look-up layers write assets. Look tokens up in the "
                "input pipeline, not in the model",
                source,
            )
        if name not in expected or member.orig_filename != name:
            _refuse(f"it holds {member.orig_filename!r}, which Keras does not write", source)
        if stat.S_ISLNK(member.external_attr >> 16):
            _refuse(f"its member {name!r} is a symbolic link", source)
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            _refuse(
                f"its member {name!r} is compressed, {member.compress_size} bytes that become "
                f"{member.file_size}; Keras stores members as they are, so save the model again",
                source,
            )
        if member.file_size > _MAX_JSON_BYTES.get(name, max_bytes):
            _refuse(
                f"its member {name!r} has {member.file_size} bytes, the limit is "
                f"{_MAX_JSON_BYTES.get(name, max_bytes)}",
                source,
            )
    names = [member.filename for member in members]
    if len(names) != len(set(names)):
        _refuse(f"it holds a member twice: {sorted(names)}", source)
    if missing := expected.difference(names):
        _refuse(f"it lacks {', '.join(sorted(missing))}", source)
    if (total := sum(member.file_size for member in members)) > max_bytes:
        _refuse(f"its members have {total} bytes, the limit is {max_bytes}", source)


def _parse(name: str, data: bytes, source: str) -> dict[str, Any]:
    if (depth := _nesting(data)) > _MAX_NESTING:
        _refuse(
            f"its {name} nests brackets at least {depth} deep; {_MAX_NESTING} is enough", source
        )
    try:
        # As text, so that Keras cannot find another encoding in the same bytes.
        content = json.loads(data.decode("utf-8"))
    except ValueError as error:
        _refuse(f"its {name} is not JSON ({error})", source)
    if not isinstance(content, dict):
        _refuse(f"its {name} is a {type(content).__name__}, not a dictionary", source)
    return content


def _nesting(data: bytes) -> int:
    """The depth of the brackets, before a recursive parser meets them; stops past the limit."""
    depth = deepest = 0
    for byte in _JSON_STRING.sub(b"", data).translate(None, _NOT_BRACKETS):
        depth += 1 if byte in b"[{" else -1
        deepest = max(deepest, depth)
        if deepest > _MAX_NESTING:
            break
    return deepest


def _refuse(what: str, source: str) -> NoReturn:
    raise ValueError(f"Refused to load a model: {what}. Received: {source!r}")
