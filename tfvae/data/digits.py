"""Real handwritten digits that come with the package: 1,797 images of 8 by 8 pixels.

They are the test set of the UCI data set below, licensed CC BY 4.0, as scikit-learn ships it
(BSD 3-clause). Pixels are scaled from 0..16 to 0..255; `tools/make_digits.py` writes the file, and
`digits.LICENSE.txt` beside it carries the licences.

The split is fixed: in the order of the source the first 1,437 train and the last 360 test. UCI
says that 13 people wrote these digits, but not who wrote which, so one hand may be in both parts.

Reference:
    Alpaydin and Kaynak (1998), "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, https://doi.org/10.24432/C50P49.
"""

from __future__ import annotations

from importlib import resources

import numpy as np

from tfvae.data.images import Images


def digits() -> tuple[Images, Images]:
    """Read the digits.

    Returns:
        The training and the test part: uint8 `[1437, 8, 8, 1]` and `[360, 8, 8, 1]`, each with
        uint8 labels 0..9.

    Example:
        >>> train, test = digits()
        >>> train.images.shape, test.labels[:5].tolist()
        ((1437, 8, 8, 1), [2, 3, 4, 5, 6])
    """
    packed = resources.files("tfvae.data").joinpath("digits.npz")
    with packed.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return (
            Images(archive["x_train"], archive["y_train"]),
            Images(archive["x_test"], archive["y_test"]),
        )
