from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tfvae.data import DataSplits, Images


def test_indexing_keeps_everything_together():
    images = Images(
        np.arange(4, dtype=np.uint8)[:, None, None, None],
        labels=np.array([10, 11, 12, 13]),
        attributes={"smile": np.array([0.0, 0.1, 0.2, 0.3])},
    )
    assert len(images) == 4
    part = images[np.array([3, 1])]
    assert part.images.ravel().tolist() == [3, 1]
    assert part.labels.tolist() == [13, 11]
    assert part.attributes["smile"].tolist() == [0.3, 0.1]


def test_what_is_unknown_stays_unknown():
    part = Images(np.zeros((4, 2, 2, 1)))[:2]
    assert len(part) == 2
    assert part.labels is None
    assert part.attributes is None


@pytest.mark.parametrize(
    "known", [{"labels": np.zeros(3)}, {"attributes": {"labels": np.zeros((5, 2))}}]
)
def test_a_wrong_number_of_labels(known):
    with pytest.raises(ValueError, match=r"as many `labels` as images. Received: .*\(4, 2, 2, 1\)"):
        Images(np.zeros((4, 2, 2, 1)), **known)


def test_splits_know_their_shape_and_are_frozen():
    part = Images(np.zeros((4, 6, 5, 3)))
    splits = DataSplits("toy", part, part[:0], part)
    assert splits.image_shape == (6, 5, 3)
    assert len(splits.validation) == 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        splits.name = "other"
