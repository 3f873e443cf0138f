"""Readers of the files that hold whole arrays: NumPy's `.npz` and `.npy`, and MNIST's IDX.

A file is untrusted input: nothing here unpickles, and a header is believed only as far as the
file's size allows. Every error names the file.
"""

from __future__ import annotations

import gzip
import math
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from tfvae.data.images import Images

_IMAGE_KEYS = ("x", "images", "arr_0")
_LABEL_KEYS = ("y", "labels")
_BROKEN = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, MemoryError)


def read_npz(path: Path) -> tuple[Images, Images | None]:
    """Read an archive in Keras' layout, or one with a single set of images.

    Args:
        path: An `.npz` with `x_train` and perhaps `y_train`, `x_test` and `y_test`; or with
            `x`, `images` or `arr_0` and perhaps `y` or `labels`.

    Returns:
        The training part and, where the archive has one, the test part.

    Raises:
        ValueError: If the file is damaged, holds pickled objects or none of those keys.
    """
    arrays = _load_numpy(path)
    if not isinstance(arrays, dict):
        raise ValueError(f"{path} is not an archive: name it `.npy`. Received: one array")
    if "x_train" in arrays:
        train = Images(arrays["x_train"], _labels(arrays.get("y_train")))
        if "x_test" not in arrays:
            return train, None
        return train, Images(arrays["x_test"], _labels(arrays.get("y_test")))
    for key in _IMAGE_KEYS:
        if key in arrays:
            found = [arrays[name] for name in _LABEL_KEYS if name in arrays]
            return Images(arrays[key], _labels(found[0] if found else None)), None
    raise ValueError(
        f"{path} must hold `x_train` (with `y_train`, `x_test`, `y_test`) or one of "
        f"{', '.join(f'`{key}`' for key in _IMAGE_KEYS)}. Received: the keys {sorted(arrays)}"
    )


def read_npy(path: Path) -> tuple[Images, None]:
    """Read a file that holds one array of images.

    Args:
        path: An `.npy` file.

    Returns:
        The images and, as a file of this kind has no test part, None.

    Raises:
        ValueError: If the file is damaged or holds pickled objects.
    """
    array = _load_numpy(path)
    if isinstance(array, dict):
        raise ValueError(f"{path} is an archive: name it `.npz`. Received: keys {sorted(array)}")
    return Images(array), None


def is_idx_folder(folder: Path) -> bool:
    """Whether a folder holds MNIST's training images as an IDX file."""
    return _find_idx(folder, "train-images", 3) is not None


def read_idx_folder(folder: Path) -> tuple[Images, Images | None]:
    """Read MNIST's four files, or Fashion-MNIST's, which have the same names.

    Args:
        folder: Has `train-images-idx3-ubyte` and perhaps `train-labels-idx1-ubyte`,
            `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, each plain or `.gz`.

    Returns:
        The training part and, where there is one, the test part.

    Raises:
        ValueError: If a file is damaged or its header does not fit its size.
    """
    train = _read_idx_part(folder, "train")
    if train is None:
        raise ValueError(
            f"A folder of IDX files needs `train-images-idx3-ubyte`. Received: {folder}"
        )
    return train, _read_idx_part(folder, "t10k")


def _load_numpy(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return {key: loaded[key] for key in loaded.files}
    except _BROKEN as error:
        raise ValueError(
            f"{path} cannot be read: it is damaged, or holds pickled objects, which are never "
            f"loaded. Received: {type(error).__name__}: {error}"
        ) from error


def _labels(labels: np.ndarray | None) -> np.ndarray | None:
    """CIFAR's labels, among others, come as a column."""
    return labels[:, 0] if labels is not None and labels.shape[1:] == (1,) else labels


def _find_idx(folder: Path, name: str, rank: int) -> Path | None:
    # Some unpackers turn the hyphen before `idx` into a dot.
    for candidate in (f"{name}-idx{rank}-ubyte", f"{name}.idx{rank}-ubyte"):
        for path in (folder / candidate, folder / f"{candidate}.gz"):
            if path.is_file():
                return path
    return None


def _read_idx_part(folder: Path, prefix: str) -> Images | None:
    images = _find_idx(folder, f"{prefix}-images", 3)
    labels = _find_idx(folder, f"{prefix}-labels", 1)
    if images is None:
        return None
    return Images(_read_idx(images, 3), None if labels is None else _read_idx(labels, 1))


def _read_idx(path: Path, rank: int) -> np.ndarray:
    magic = bytes([0, 0, 8, rank])  # two zeros, the code of unsigned bytes, the rank
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(4 + 4 * rank)
            if header[:4] != magic or len(header) < 4 + 4 * rank:
                raise ValueError(
                    f"{path} must be an IDX file of unsigned bytes of rank {rank}, which starts "
                    f"with {magic.hex(' ')}. Received: {header[:4].hex(' ') or 'an empty file'}"
                )
            shape = struct.unpack(f">{rank}I", header[4:])
            expected = math.prod(shape)
            # Deflate shrinks at most 1032 times: a larger claim is false, and not allocated.
            if expected > 1032 * path.stat().st_size:
                raise _wrong_length(path, shape, expected, "a file too small for that")
            data = file.read(expected + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path} cannot be read: it is damaged or cut short. "
            f"Received: {type(error).__name__}: {error}"
        ) from error
    if len(data) != expected:
        found = f"{len(data)} bytes" if len(data) < expected else "more bytes"
        raise _wrong_length(path, shape, expected, found)
    return np.frombuffer(data, np.uint8).reshape(shape)


def _wrong_length(path: Path, shape: tuple[int, ...], expected: int, found: str) -> ValueError:
    return ValueError(
        f"The header of {path} declares the shape {shape}, that is {expected} bytes: "
        f"it is damaged or cut short. Received: {found}"
    )
