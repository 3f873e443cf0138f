"""Write `tfvae/data/digits.npz` from the copy of the UCI digits that scikit-learn ships.

Run it from the root of the repository: `python tools/make_digits.py`. The result has the same
bytes every time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

NUM_TRAIN = 1437
TARGET = Path(__file__).parents[1] / "tfvae" / "data" / "digits.npz"


def main() -> None:
    """Scale the pixels from 0..16 to 0..255, split, and write."""
    source = load_digits()
    images = np.rint(source.images[..., None] * 255 / 16).astype(np.uint8)
    labels = source.target.astype(np.uint8)
    np.savez_compressed(
        TARGET,
        x_train=images[:NUM_TRAIN],
        y_train=labels[:NUM_TRAIN],
        x_test=images[NUM_TRAIN:],
        y_test=labels[NUM_TRAIN:],
    )
    print(f"{TARGET}: {len(images)} images, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
