"""One door for every source of images, and one rule for how they are split.

The rule: nothing is ever moved between the test part and the rest. Where a source has a test part,
that is the test part. Where it has none, a tenth is set aside in a way that depends on nothing but
the number of examples, so that two runs with different seeds test on the same images and neither
has trained on them. Validation is carved out of the training part, and only that depends on `seed`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfvae.data.array_files import is_idx_folder, read_idx_folder, read_npy, read_npz
from tfvae.data.checks import check_images, check_integer
from tfvae.data.digits import digits
from tfvae.data.faces import faces
from tfvae.data.images import DataSplits, Images
from tfvae.data.pictures import PictureFiles, find_pictures, resize, set_channels, survey

KERAS_DATASETS = ("mnist", "fashion_mnist", "cifar10", "cifar100")
"""The names that are handed to `keras.datasets`, which downloads them."""

TEST_FRACTION = 0.1
"""The share that is set aside for testing where a source has no test part of its own."""

_NUM_FACES = 12_000
_TEST_STREAM, _SUBSET_STREAM, _VALIDATION_STREAM = range(3)


@dataclass(frozen=True)
class _Source:
    """What was found, before it is split: both parts can be counted and indexed by rows."""

    name: str
    train: Images | PictureFiles
    test: Images | PictureFiles | None
    class_names: tuple[str, ...] | None = None


def load(
    source: str | os.PathLike[str],
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    validation_fraction: float = 0.1,
    seed: int = 0,
    num_examples: int | None = None,
) -> DataSplits:
    """Load images and split them into training, validation and test parts.

    Args:
        source: One of
            - `"digits"`: real 8 by 8 digits, in the package (see `tfvae.data.digits`);
            - `"faces"`: cartoon faces with known attributes, drawn on the spot;
            - `"mnist"`, `"fashion_mnist"`, `"cifar10"`, `"cifar100"`: through `keras.datasets`,
              which downloads them once;
            - the path of an `.npz` (Keras' layout, or one array `x`, `images` or `arr_0` with
              `y` or `labels`) or `.npy` file;
            - the path of a folder of MNIST's IDX files, plain or `.gz`;
            - the path of a folder of pictures, searched at every depth. Its `train` and `test`
              folders, if it has them, are the parts. Folders below are the classes.
            A name wins over a path; write `./mnist` for a folder of that name.
        image_size: Height and width in pixels, or one number for both. Images are cropped at the
            centre to this shape and resized, not stretched. None keeps the size they have.
        channels: 1 for grey, 3 for RGB, None for what the source has.
        validation_fraction: Share of the training part to carve out, in [0, 1); 0 for none.
        seed: Decides which training examples become validation.
        num_examples: Use only this many in all, shared between training and test as in the source
            and picked at random, the same whatever the seed; a smaller number picks from what a
            larger one picks. None uses all; of faces, 12,000.

    Returns:
        The parts. Images are uint8 where the source is, otherwise float32 in [0, 1].

    Raises:
        TypeError: If an argument or the pixels have a wrong type.
        ValueError: If the source does not exist, is empty, damaged, of the wrong shape or not
            finite, or an argument is out of range.
        OSError: If `keras.datasets` fails, as it does without a network.

    Example:
        >>> splits = load("digits")
        >>> len(splits.train), len(splits.validation), len(splits.test), splits.image_shape
        (1293, 144, 360, (8, 8, 1))
    """
    size = _check_size(image_size)
    if channels not in (None, 1, 3):
        raise ValueError(f"`channels` must be 1, 3 or None. Received: {channels!r}")
    if not 0 <= validation_fraction < 1:
        raise ValueError(
            f"`validation_fraction` must lie in [0, 1). Received: {validation_fraction!r}"
        )
    seed = check_integer(seed, "seed", 0, 2**64 - 1)
    if num_examples is not None:
        num_examples = check_integer(num_examples, "num_examples", 3)

    found = _open(source, size, channels, num_examples)
    train, test = found.train, found.test
    if test is None:
        order = _order(len(train), _TEST_STREAM)
        cut = max(1, round(TEST_FRACTION * len(train)))
        test, test_rows, train_rows = train, order[:cut], order[cut:]
    else:
        train_rows, test_rows = np.arange(len(train)), np.arange(len(test))
    if num_examples is not None:
        train_rows, test_rows = _subset(train_rows, test_rows, num_examples)
    train_rows = train_rows[_order(len(train_rows), _VALIDATION_STREAM, seed)]
    cut = round(validation_fraction * len(train_rows))
    cut = max(cut, 1) if validation_fraction else 0
    if cut >= len(train_rows):
        raise ValueError(
            f"`{found.name}` has too few examples for three parts. Received: {len(train_rows)} "
            f"to train on, of which {cut} would be for validation"
        )
    fitting = _take(train, train_rows[cut:], size, channels)
    choosing = _take(train, train_rows[:cut], size, channels)
    testing = _take(test, test_rows, size, channels)
    kinds = [f"{p.images.dtype}{list(p.images.shape[1:])}" for p in (fitting, testing)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"The parts of `{found.name}` differ: choose `image_size=` and `channels=`, and store "
            f"both in one dtype. Received: {kinds[0]} to train on and {kinds[1]} to test on"
        )
    return DataSplits(found.name, fitting, choosing, testing, found.class_names)


def _check_size(image_size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if image_size is None:
        return None
    pair = image_size if isinstance(image_size, Sequence) else (image_size, image_size)
    if len(pair) != 2:
        raise ValueError(
            f"`image_size` must be one number or (height, width). Received: {image_size!r}"
        )
    return check_integer(pair[0], "image_size", 1), check_integer(pair[1], "image_size", 1)


def _open(
    source: str | os.PathLike[str],
    size: tuple[int, int] | None,
    channels: int | None,
    num_examples: int | None,
) -> _Source:
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"`source` must be a name or a path. Received: {source!r}")
    if source == "digits":
        return _Source("digits", *digits())
    if source == "faces":
        return _open_faces(size, num_examples or _NUM_FACES)
    if source in KERAS_DATASETS:
        return _open_keras(str(source))
    path = Path(source)
    if not path.exists():
        names = ", ".join(repr(name) for name in ("digits", "faces", *KERAS_DATASETS))
        raise ValueError(
            f"`source` must be one of {names}, or the path of something that exists. "
            f"Received: {os.fspath(source)!r}"
        )
    if path.is_dir() and not is_idx_folder(path):
        return _open_pictures(path, size, channels)
    by_suffix = {".npz": read_npz, ".npy": read_npy}
    read = read_idx_folder if path.is_dir() else by_suffix.get(path.suffix.lower())
    if read is None:
        raise ValueError(
            f"`source` must be a folder, an `.npz` or an `.npy` file. Received: {path}"
        )
    return _checked(path.resolve().stem, *read(path))


def _open_faces(size: tuple[int, int] | None, num_examples: int) -> _Source:
    # Seeds apart, so that no number of examples can bring a training face into the test part.
    num_test = max(1, num_examples // 6)
    side = max(16, *size) if size else 32
    train, train_attributes = faces(num_examples - num_test, side, seed=0)
    test, test_attributes = faces(num_test, side, seed=1)
    return _Source(
        "faces",
        Images(train, attributes=train_attributes),
        Images(test, attributes=test_attributes),
    )


def _open_keras(name: str) -> _Source:
    import keras

    try:
        (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:  # keras.utils.get_file raises a bare Exception
        raise OSError(
            f"`keras.datasets.{name}` could not be loaded; it needs the network the first time. "
            f"Without one, pass the path of a file. Received: {type(error).__name__}: {error}"
        ) from error
    return _checked(name, Images(x_train, y_train.ravel()), Images(x_test, y_test.ravel()))


def _open_pictures(folder: Path, size: tuple[int, int] | None, channels: int | None) -> _Source:
    train, test = folder / "train", folder / "test"
    roots = [train, test] if test.is_dir() else [train] if train.is_dir() else [folder]
    parts = [find_pictures(root) for root in roots]
    for root, paths in zip(roots, parts, strict=True):
        if not paths:
            raise ValueError(
                "A folder must hold pictures (png, jpg, jpeg, bmp, gif, webp) or MNIST's IDX "
                f"files. Received: none at or below {root}"
            )
    every = tuple(path for paths in parts for path in paths)
    stray = set(find_pictures(folder)).difference(every)
    if stray:
        raise ValueError(
            "Beside `train` and `test` there must be no other pictures: move them into `train`, or "
            f"load `train` alone. Received: {min(stray)}"
        )
    size, channels = survey(every, size, channels)
    class_names, labels = _classes(roots, parts)
    pools = [
        PictureFiles(paths, numbers, size, channels)
        for paths, numbers in zip(parts, labels, strict=True)
    ]
    return _Source(
        folder.resolve().name, pools[0], pools[1] if len(pools) > 1 else None, class_names
    )


def _classes(
    roots: list[Path], parts: list[tuple[Path, ...]]
) -> tuple[tuple[str, ...] | None, list[np.ndarray | None]]:
    """A picture's class is the first folder below its root; a lone folder is not a class."""
    folders = [
        [path.relative_to(root).parts[:-1][:1] for path in paths]
        for root, paths in zip(roots, parts, strict=True)
    ]
    known = sorted({folder for part in folders for folder in part})
    if () in known or len(known) < 2:
        return None, [None] * len(parts)
    number = {folder: index for index, folder in enumerate(known)}
    labels = [np.array([number[folder] for folder in part]) for part in folders]
    return tuple(folder[0] for folder in known), list(labels)


def _checked(name: str, train: Images, test: Images | None) -> _Source:
    parts = []
    for part, label in ((train, "training"), (test, "test")):
        if part is None:
            continue
        images = check_images(part.images, name=f"{label} images of {name}")
        if images.ndim != 4:
            raise ValueError(
                f"The {label} images of `{name}` must have shape [N, H, W, C] or [N, H, W]: "
                f"reshape vectors first. Received: shape {images.shape}"
            )
        parts.append(Images(images, part.labels))
    return _Source(name, parts[0], parts[1] if len(parts) > 1 else None)


def _order(num: int, stream: int, seed: int = 0) -> np.ndarray:
    # A permutation from a raw stream, which NumPy keeps the same across versions.
    raw = np.random.Philox(key=seed + (stream << 64)).random_raw(num)
    return np.argsort(raw, kind="stable")


def _subset(
    train_rows: np.ndarray, test_rows: np.ndarray, num_examples: int
) -> tuple[np.ndarray, np.ndarray]:
    available = len(train_rows) + len(test_rows)
    if num_examples > available:
        raise ValueError(
            f"`num_examples` must be at most the {available} examples of the source. "
            f"Received: {num_examples}"
        )
    # At random, for files are often sorted by class.
    num_test = max(1, round(num_examples * len(test_rows) / available))
    test_rows = test_rows[_order(len(test_rows), _SUBSET_STREAM)[:num_test]]
    keep = _order(len(train_rows), _SUBSET_STREAM)[: num_examples - num_test]
    return train_rows[keep], test_rows


def _take(
    pool: Images | PictureFiles,
    rows: np.ndarray,
    size: tuple[int, int] | None,
    channels: int | None,
) -> Images:
    part = pool[np.sort(rows)]
    images = part.images
    if images.dtype != np.uint8:
        images = images.astype(np.float32, copy=False)
    if channels is not None:
        images = set_channels(images, channels)
    if size is not None:
        images = resize(images, size)
    return Images(images, part.labels, part.attributes)
