"""Cartoon faces drawn from known attributes: a data set with its ground truth, made on the spot.

Nothing is downloaded, nobody's likeness is used, and the true factors of every picture are known,
so a latent space can be tested against them: is there a direction that smiles?

The generator is counter-based. Example `i` of seed `s` is the same however many are asked for, so
prefixes agree; every seed has a stream of its own.

Reference:
    Salmon, Moraes, Dror and Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3" (Philox).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from tfvae.data.checks import check_integer
from tfvae.data.drawing import render


class Attribute(NamedTuple):
    """The range of one ground-truth factor and what its two ends look like."""

    low: float
    high: float
    meaning: str


ATTRIBUTES: Mapping[str, Attribute] = MappingProxyType(
    {
        "smile": Attribute(-1, 1, "-1 a frown, 0 a straight mouth, 1 an open grin with teeth"),
        "hair_colour": Attribute(0, 1, "black, brown, auburn, ginger, blond; iris colour follows"),
        "hair_length": Attribute(0, 1, "0 cropped with the ears free, 1 over the shoulders"),
        "skin_tone": Attribute(0, 1, "0 light, 1 dark"),
        "age": Attribute(0, 1, "0 young with large eyes, 1 old: grey hair, wrinkles"),
        "glasses": Attribute(0, 1, "0 none, 1 worn; values between fade"),
        "head_turn": Attribute(-1, 1, "-1 towards the left of the picture, 1 towards the right"),
        "head_tilt": Attribute(-1, 1, "-1 leaning to the left of the picture, 1 to the right"),
        "eye_openness": Attribute(0, 1, "0 shut, 1 wide open"),
        "brows": Attribute(-1, 1, "-1 low and angry, 1 raised and worried"),
        "beard": Attribute(0, 1, "0 shaved, 1 full; values between fade"),
        "face_width": Attribute(-1, 1, "-1 narrow, 1 wide"),
        "background": Attribute(0, 1, "blue, teal, green, yellow, pink wall; the shirt follows"),
    }
)
"""Every factor of a face, in the order in which `faces` draws them."""

NEUTRAL_FACE: Mapping[str, float] = MappingProxyType(
    {name: (a.low + a.high) / 2 for name, a in ATTRIBUTES.items()}
    | {"hair_colour": 0.35, "skin_tone": 0.25, "age": 0.2, "glasses": 0.0}
    | {"eye_openness": 0.85, "beard": 0.0}
)
"""What `draw_face` takes for every attribute that is not given."""


def faces(
    num_examples: int, size: int = 32, seed: int = 0
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draw cartoon faces with random attributes.

    The attributes are independent and uniform over their ranges, except that 30 % wear glasses
    (0 or 1), 25 % have a beard (uniform in [0.5, 1], else 0) and eyes tend to be open (the square
    root of a uniform number).

    Args:
        num_examples: How many faces; at least 1.
        size: Height and width in pixels, 16 to 512; made for 32 and 64.
        seed: Any integer from 0 to 2**64 - 1.

    Returns:
        The images, uint8 `[N, size, size, 3]`, and the attributes: each name of `ATTRIBUTES` with
        its values, float32 `[N]`.

    Raises:
        ValueError: If a number is out of range.
        TypeError: If a number is not an integer.

    Example:
        >>> images, attributes = faces(10, seed=1)
        >>> images.shape, images.dtype.name
        ((10, 32, 32, 3), 'uint8')
        >>> bool((images[:4] == faces(4, seed=1)[0]).all())
        True
    """
    num_examples = check_integer(num_examples, "num_examples", 1, 10_000_000)
    size = check_integer(size, "size", 16, 512)
    attributes = _draw_attributes(num_examples, check_integer(seed, "seed", 0, 2**64 - 1))
    images = np.empty((num_examples, size, size, 3), np.uint8)
    # Drawing passes over each picture some hundred times. In small chunks every intermediate result
    # stays in the cache and below the size at which the C library asks the kernel for fresh pages.
    chunk = max(1, 2**13 // size**2)
    for start in range(0, num_examples, chunk):
        part = slice(start, start + chunk)
        images[part] = render({name: v[part] for name, v in attributes.items()}, size)
    return images, attributes


def draw_face(attributes: Mapping[str, float], size: int = 32) -> np.ndarray:
    """Draw one face from given attributes, for instance to sweep one of them.

    Args:
        attributes: Values by the names of `ATTRIBUTES`; what is missing is as in `NEUTRAL_FACE`.
        size: Height and width in pixels, 16 to 512.

    Returns:
        uint8 `[size, size, 3]`.

    Raises:
        ValueError: If a name is unknown or a value is out of its range.
        TypeError: If `size` is not an integer.

    Example:
        >>> grin, frown = draw_face({"smile": 1.0}), draw_face({"smile": -1.0})
        >>> changed = (grin != frown).any(axis=-1)
        >>> bool(changed[16:].any()), bool(changed[:10].any())
        (True, False)
    """
    size = check_integer(size, "size", 16, 512)
    for name, value in attributes.items():
        if name not in ATTRIBUTES:
            raise ValueError(
                f"A face has the attributes {', '.join(ATTRIBUTES)}. Received: {name!r}"
            )
        low, high, _ = ATTRIBUTES[name]
        if not low <= value <= high:
            raise ValueError(f"`{name}` must lie in [{low}, {high}]. Received: {value!r}")
    whole = {**NEUTRAL_FACE, **attributes}
    return render({name: np.array([value], np.float32) for name, value in whole.items()}, size)[0]


def _draw_attributes(num_examples: int, seed: int) -> dict[str, np.ndarray]:
    # NumPy promises that the raw stream of a bit generator never changes, which it does not for
    # `Generator`. A row takes the same share of the stream wherever the rows end: prefixes agree.
    raw = np.random.Philox(key=seed).random_raw(num_examples * len(ATTRIBUTES))
    uniform = (raw >> np.uint64(11)).reshape(num_examples, -1) * 2.0**-53
    values = {
        name: low + (high - low) * uniform[:, column]
        for column, (name, (low, high, _)) in enumerate(ATTRIBUTES.items())
    }
    values["glasses"] = np.where(values["glasses"] < 0.3, 1.0, 0.0)
    values["beard"] = np.where(values["beard"] < 0.25, 0.5 + 2 * values["beard"], 0)
    values["eye_openness"] = np.sqrt(values["eye_openness"])
    return {name: value.astype(np.float32) for name, value in values.items()}
