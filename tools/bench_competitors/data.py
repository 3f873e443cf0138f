"""The images of the comparison, made once by the environment that runs the bench."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench_competitors.cases import CASES, save_inputs
from tfvae.data import binarize_images, digits, faces
from tfvae.data.pictures import resize

_FACES = 256


def grey_images(mnist: Path | None) -> tuple[np.ndarray, str]:
    """Training images of MNIST, or the package's digits at its size; and their name."""
    if mnist is None:
        images = resize(digits()[0].images, (28, 28))
        return images, "the package's digits, resized to 28x28 and repeated, binarised once"
    with np.load(mnist, allow_pickle=False) as archive:
        return archive["x_train"][..., None], "MNIST, binarised once"


def make_inputs(folder: Path, cases: list[str], mnist: Path | None, factor: int = 1) -> str:
    """Writes the inputs of the cases, `CASE.npz`; returns what the images are.

    Args:
        folder: where to.
        cases: names.
        mnist: an `.npz` in Keras' layout.
        factor: how many times the cases' number of images.
    """
    grey, name = grey_images(mnist)
    for case in (CASES[each] for each in cases):
        number = case.num_images * factor
        if case.image_shape[2] == 1:
            images = binarize_images(np.resize(grey, (number, *case.image_shape)))
        else:
            drawn, _ = faces(_FACES, case.image_shape[0])
            images = np.resize(drawn, (number, *case.image_shape))
        save_inputs(folder / f"{case.name}.npz", case, images)
    colour = any(CASES[each].image_shape[2] == 3 for each in cases)
    return f"{name}; the package's drawn faces, 64x64 RGB" if colour else name
