"""What every way into the library asks of its data, in one place, so that it is asked once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def check_integer(value: int, name: str, low: int, high: int | None = None) -> int:
    """Return `value` as an `int` if it is an integer in [low, high].

    Args:
        value: What to check; a NumPy integer will do, a bool will not.
        name: What to call it in an error.
        low: The smallest allowed value.
        high: The largest allowed value, or None for no limit.

    Returns:
        The value.

    Raises:
        TypeError: If it is not an integer.
        ValueError: If it is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"`{name}` must be an integer. Received: {value!r}")
    if value < low or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"in [{low}, {high}]"
        raise ValueError(f"`{name}` must be {bounds}. Received: {value!r}")
    return int(value)


def check_images(
    images: npt.ArrayLike, *, name: str = "images", unit_interval: bool = True
) -> np.ndarray:
    """Check a set of images and give it a channel axis.

    Args:
        images: `[N, H, W, C]`, `[N, H, W]` (a channel axis is added) or vectors `[N, D]`: uint8 in
            0..255, floats, or bool (False becomes 0 and True 255).
        name: What to call them in an error.
        unit_interval: Whether floats must lie in [0, 1]. uint8 always may use all of 0..255.

    Returns:
        The images, `[N, H, W, C]` or `[N, D]`, in the dtype they came in; not copied unless they
        were bool or in another machine's byte order.

    Raises:
        TypeError: If the dtype is neither uint8, a float nor bool.
        ValueError: If there are none, the rank is wrong, or a value is NaN, infinite or, with
            `unit_interval`, outside [0, 1].

    Example:
        >>> import numpy as np
        >>> check_images(np.zeros((5, 28, 28), "uint8")).shape
        (5, 28, 28, 1)
        >>> check_images(np.full((5, 28, 28), 255.0))
        Traceback (most recent call last):
            ...
        ValueError: `images` holds floats outside [0, 1]: divide pixels of 0..255 by 255, or cast \
them to uint8. Received: values from 255.0 to 255.0
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 and images.dtype.kind not in "fb":
        hint = "cast pixels of 0..255 with `.astype('uint8')`"
        if images.dtype == object:
            hint = "stack the images into one array; mixed sizes must be resized first"
        raise TypeError(
            f"`{name}` must be uint8 in 0..255 or floats in [0, 1]: {hint}. "
            f"Received: dtype {images.dtype}"
        )
    if images.ndim not in (2, 3, 4):
        raise ValueError(
            f"`{name}` must have shape [N, H, W, C], [N, H, W] or [N, D]. "
            f"Received: shape {images.shape}"
        )
    if images.size == 0:
        raise ValueError(f"`{name}` is empty. Received: shape {images.shape}")
    if images.dtype.kind == "f":
        _check_floats(images, name, unit_interval)
    if images.dtype == bool:
        images = np.where(images, np.uint8(255), np.uint8(0))
    if not images.dtype.isnative:
        images = images.astype(images.dtype.newbyteorder("="))
    return images[..., None] if images.ndim == 3 else images


def _check_floats(images: np.ndarray, name: str, unit_interval: bool) -> None:
    # Both extremes are NaN if any value is: two passes, and no temporary the size of the data.
    low, high = float(images.min()), float(images.max())
    if not np.isfinite([low, high]).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(images))[0])
        raise ValueError(
            f"`{name}` must be finite: drop or repair the example. "
            f"Received: {images[at]} at index {at}"
        )
    if unit_interval and (low < 0 or high > 1):
        raise ValueError(
            f"`{name}` holds floats outside [0, 1]: divide pixels of 0..255 by 255, or cast them "
            f"to uint8. Received: values from {low} to {high}"
        )
