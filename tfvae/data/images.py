"""The two records that loading hands over: some images with what is known about them, and a split.

They hold plain NumPy arrays. What turns these into batches is `tfvae.data.pipeline`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Images:
    """Images and, example by example, what is known about them.

    Args:
        images: uint8 in 0..255 or float32 in [0, 1], `[N, H, W, C]`.
        labels: `[N, ...]`, or None.
        attributes: Ground-truth factors by name, each `[N]`, or None.

    Raises:
        ValueError: If labels or attributes are not as many as the images.

    Example:
        >>> import numpy as np
        >>> digits = Images(np.zeros((3, 8, 8, 1), "uint8"), labels=np.array([4, 1, 7]))
        >>> len(digits), digits[1:].labels.tolist()
        (3, [1, 7])
    """

    images: np.ndarray
    labels: np.ndarray | None = None
    attributes: dict[str, np.ndarray] | None = None

    def __post_init__(self) -> None:
        named = dict(self.attributes or {})
        if self.labels is not None:
            named["labels"] = self.labels
        for name, values in named.items():
            if np.shape(values)[:1] != np.shape(self.images)[:1]:
                raise ValueError(
                    f"There must be as many `{name}` as images. Received: {name} of shape "
                    f"{np.shape(values)} for images of shape {np.shape(self.images)}"
                )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, which: slice | np.ndarray) -> Images:
        """The examples at a slice or an array of indices."""
        return Images(
            self.images[which],
            None if self.labels is None else self.labels[which],
            self.attributes and {name: v[which] for name, v in self.attributes.items()},
        )


@dataclass(frozen=True, eq=False)
class DataSplits:
    """A data set in three parts that share no example.

    Args:
        name: What the data set is called.
        train: What a model is fitted to.
        validation: What choices are made on; carved out of the training part, possibly empty.
        test: What results are reported on.
        class_names: The name of each label, where the source has names, else None.
    """

    name: str
    train: Images
    validation: Images
    test: Images
    class_names: tuple[str, ...] | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels
