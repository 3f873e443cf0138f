"""Picture files, and the size and channels of pictures, both left to Pillow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tfvae.data.images import Images

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"}
_GREY_MODES = {"1", "L", "LA", "I;16"}
_BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, UnidentifiedImageError)


@dataclass(frozen=True)
class PictureFiles:
    """Picture files that are opened only when their turn comes.

    Args:
        paths: The files.
        labels: One for each file, or None.
        size: Height and width to fit the pictures to.
        channels: 1 for grey, 3 for RGB.
    """

    paths: tuple[Path, ...]
    labels: np.ndarray | None
    size: tuple[int, int]
    channels: int

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, which: np.ndarray) -> Images:
        """Read the pictures at some indices."""
        images = np.empty((len(which), *self.size, self.channels), np.uint8)
        for row, index in enumerate(which):
            images[row] = _read(self.paths[index], self.size, self.channels)
        return Images(images, None if self.labels is None else self.labels[which])


def find_pictures(folder: Path) -> tuple[Path, ...]:
    """Every picture file at or below a folder, in the order of their names.

    Hidden ones are left out: macOS packs a `._name.jpg`, which is no picture, beside `name.jpg`.
    """
    found = (path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    return tuple(sorted(path for path in found if path.is_file() and path.name[0] != "."))


def survey(
    paths: tuple[Path, ...], size: tuple[int, int] | None, channels: int | None
) -> tuple[tuple[int, int], int]:
    """Settle the size and the channels of a set of picture files from their headers.

    Args:
        paths: The files; at least one.
        size: Height and width, or None for those of the files, which must then agree.
        channels: 1 or 3, or None for 1 if every file is grey, else 3.

    Returns:
        The size and the channels.

    Raises:
        ValueError: If a file is damaged, or the sizes differ and none was asked for.
    """
    seen: dict[tuple[int, int], Path] = {}
    grey = True
    for path in paths:
        try:
            with Image.open(path) as picture:
                turned = picture.getexif().get(0x0112, 1) >= 5
                shape = (picture.width, picture.height) if turned else picture.size[::-1]
                seen.setdefault(shape, path)
                grey = grey and picture.mode in _GREY_MODES
        except _BROKEN as error:
            raise _damaged(path, error) from error
    if size is None and len(seen) > 1:
        (one, first), (other, second) = list(seen.items())[:2]
        raise ValueError(
            "The pictures differ in size: choose one with `image_size=`. Received: "
            f"{one[0]}x{one[1]} in {first} and {other[0]}x{other[1]} in {second}"
        )
    return size or next(iter(seen)), channels or (1 if grey else 3)


def resize(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Fit arrays of images to a size as `PictureFiles` fits files: cropped, never stretched.

    Args:
        images: uint8, or float32 in [0, 1], `[N, H, W, C]`.
        size: Height and width.

    Returns:
        The images, `[N, height, width, C]`, in the same dtype.
    """
    if images.shape[1:3] == size:
        return images
    fitted = np.empty((len(images), *size, images.shape[-1]), images.dtype)
    for source, target in zip(images, fitted, strict=True):
        for channel in range(images.shape[-1]):
            target[..., channel] = _fit(Image.fromarray(source[..., channel]), size)
    # Lanczos overshoots at edges; in uint8 Pillow clips by itself.
    return fitted if fitted.dtype == np.uint8 else fitted.clip(0, 1)


def set_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """Turn grey images to RGB or back, with the luma weights of ITU-R BT.601.

    Args:
        images: `[N, H, W, 1]` or `[N, H, W, 3]`.
        channels: 1 or 3.

    Returns:
        The images, `[N, H, W, channels]`, in the same dtype.

    Raises:
        ValueError: If the images have neither 1 nor 3 channels, and not the asked number.
    """
    have = images.shape[-1]
    if have == channels:
        return images
    if have == 1:
        return images.repeat(channels, axis=-1)
    if have != 3:
        raise ValueError(
            f"Only grey and RGB images convert to `channels={channels}`. "
            f"Received: images of {have} channels"
        )
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    grey = np.empty((*images.shape[:-1], 1), images.dtype)
    for source, target in zip(images, grey, strict=True):
        luma = source @ weights
        target[..., 0] = np.rint(luma) if images.dtype == np.uint8 else luma.clip(0, 1)
    return grey


def _read(path: Path, size: tuple[int, int], channels: int) -> np.ndarray:
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode.startswith("I"):
                # Pillow clips deep pixels instead of scaling them.
                deep = np.asarray(picture).clip(0, 65535)
                picture = Image.fromarray((deep // 257).astype(np.uint8))
            if picture.has_transparency_data:
                paper = Image.new("RGBA", picture.size, "white")
                picture = Image.alpha_composite(paper, picture.convert("RGBA"))
            picture = _fit(picture.convert("L" if channels == 1 else "RGB"), size)
            return np.asarray(picture).reshape(*size, channels)
    except _BROKEN as error:
        raise _damaged(path, error) from error


def _fit(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    if picture.size == size[::-1]:
        return picture
    return ImageOps.fit(picture, size[::-1], Image.Resampling.LANCZOS)


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path} cannot be read as a picture: repair or remove it. "
        f"Received: {type(error).__name__}: {error}"
    )
