from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from tfvae.data import DataSplits, faces, load


def numbered(num: int, shape: tuple[int, ...] = (4, 4)) -> np.ndarray:
    """Images that carry their own number in the first two pixels."""
    images = np.zeros((num, *shape), np.uint8)
    flat = images.reshape(num, -1)
    flat[:, 0], flat[:, 1] = np.arange(num) // 256, np.arange(num) % 256
    return images


def numbers(splits: DataSplits) -> list[set[int]]:
    parts = (splits.train, splits.validation, splits.test)
    flat = [part.images.reshape(len(part), -1).astype(int) for part in parts]
    found = [set((rows[:, 0] * 256 + rows[:, 1]).tolist()) for rows in flat]
    assert [len(rows) for rows in flat] == [len(values) for values in found]
    return found


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "toy.npz"
    np.savez(path, x=numbered(500), y=np.arange(500))
    return path


@pytest.fixture
def split_archive(tmp_path):
    path = tmp_path / "halves.npz"
    every = numbered(500)
    np.savez(path, x_train=every[:400], x_test=every[400:])
    return path


def test_importing_the_package_loads_no_framework():
    code = "import sys, tfvae.data; print({'tensorflow', 'keras'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def test_digits():
    splits = load("digits")
    assert splits.name == "digits"
    assert splits.image_shape == (8, 8, 1)
    assert [len(p) for p in (splits.train, splits.validation, splits.test)] == [1293, 144, 360]
    assert splits.train.images.dtype == np.uint8
    assert set(splits.test.labels) == set(range(10))


def test_faces_are_fixed_and_test_on_a_stream_of_their_own():
    splits = load("faces", num_examples=60, validation_fraction=0.2)
    assert [len(p) for p in (splits.train, splits.validation, splits.test)] == [40, 10, 10]
    assert splits.image_shape == (32, 32, 3)
    pool, known = faces(50, seed=0)
    place = {image.tobytes(): row for row, image in enumerate(pool)}
    for part in (splits.train, splits.validation):
        rows = [place[image.tobytes()] for image in part.images]
        np.testing.assert_array_equal(part.attributes["smile"], known["smile"][rows])
    np.testing.assert_array_equal(splits.test.images, faces(10, seed=1)[0])


@pytest.mark.parametrize("image_size", [64, (16, 24), 8])
def test_faces_at_a_size(image_size):
    splits = load("faces", image_size=image_size, num_examples=6)
    height, width = image_size if isinstance(image_size, tuple) else (image_size, image_size)
    assert splits.image_shape == (height, width, 3)


def test_without_a_test_part_one_is_set_aside_whatever_the_seed(archive):
    one, other = load(archive, seed=1), load(archive, seed=2)
    for splits in (one, other):
        train, validation, test = numbers(splits)
        assert (len(train), len(validation), len(test)) == (405, 45, 50)
        assert train | validation | test == set(range(500))
    assert numbers(one)[2] == numbers(other)[2]
    assert numbers(one)[1] != numbers(other)[1]
    np.testing.assert_array_equal(one.train.images, load(archive, seed=1).train.images)


def test_labels_stay_with_their_images(archive):
    splits = load(archive)
    for part in (splits.train, splits.validation, splits.test):
        values = part.images[:, 0, 0, 0].astype(int) * 256 + part.images[:, 0, 1, 0]
        np.testing.assert_array_equal(part.labels, values)


@pytest.mark.parametrize("seed", [0, 5])
def test_nothing_crosses_from_the_test_part(split_archive, seed):
    train, validation, test = numbers(load(split_archive, validation_fraction=0.25, seed=seed))
    assert test == set(range(400, 500))
    assert len(validation) == 100
    assert train | validation == set(range(400))


def test_the_order_of_the_source_is_kept(split_archive):
    images = load(split_archive).train.images.reshape(-1, 16).astype(int)
    assert np.all(np.diff(images[:, 0] * 256 + images[:, 1]) > 0)


def test_fewer_examples_are_spread_over_the_parts_and_nested(archive, split_archive):
    for path in (archive, split_archive):
        some = numbers(load(path, num_examples=100, validation_fraction=0.1))
        more = numbers(load(path, num_examples=200, validation_fraction=0.1, seed=9))
        assert sum(map(len, some)) == 100
        assert some[2] < more[2]
        assert some[0] | some[1] < more[0] | more[1]
        assert max(some[0]) > 300
    assert len(some[2]) == 20


def test_no_validation(archive):
    splits = load(archive, validation_fraction=0)
    assert (len(splits.train), len(splits.validation)) == (450, 0)
    assert splits.validation.images.shape == (0, 4, 4, 1)


def test_floats_become_float32(tmp_path):
    np.save(tmp_path / "a.npy", np.linspace(0, 1, 10 * 4 * 4).reshape(10, 4, 4))
    splits = load(tmp_path / "a.npy")
    assert splits.name == "a"
    assert splits.train.images.dtype == np.float32
    assert splits.image_shape == (4, 4, 1)


def test_size_and_channels_of_arrays(archive):
    splits = load(archive, image_size=(6, 5), channels=3)
    assert splits.image_shape == (6, 5, 3)
    assert splits.test.images.shape == (50, 6, 5, 3)
    assert load("digits", image_size=16).image_shape == (16, 16, 1)


def test_idx_folder(tmp_path):
    header = bytes([0, 0, 8, 3]) + np.array([30, 4, 4], ">u4").tobytes()
    (tmp_path / "train-images-idx3-ubyte").write_bytes(header + numbered(30).tobytes())
    train, validation, test = numbers(load(tmp_path, validation_fraction=0.2))
    assert (len(train), len(validation), len(test)) == (22, 5, 3)


def save_pictures(folder, num, start=0, size=(4, 4), mode="L"):
    folder.mkdir(parents=True, exist_ok=True)
    for image, number in zip(numbered(start + num)[start:], range(start, start + num), strict=True):
        Image.fromarray(image).resize(size).convert(mode).save(folder / f"{number:04}.png")


def test_folder_of_pictures(tmp_path):
    save_pictures(tmp_path / "deep" / "deeper", 40)
    splits = load(tmp_path, validation_fraction=0.25)
    assert splits.image_shape == (4, 4, 1)
    assert splits.class_names is None
    assert splits.train.labels is None
    train, validation, test = numbers(splits)
    assert (len(train), len(validation), len(test)) == (27, 9, 4)
    assert train | validation | test == set(range(40))


def test_folder_with_parts_and_classes(tmp_path):
    for start, name in ((0, "train/cat"), (20, "train/dog"), (40, "test/dog"), (50, "test/emu")):
        save_pictures(tmp_path / name, 20 if name.startswith("train") else 5, start)
    splits = load(tmp_path)
    assert splits.name == tmp_path.name
    assert splits.class_names == ("cat", "dog", "emu")
    assert numbers(splits)[2] == {*range(40, 45), *range(50, 55)}
    assert splits.test.labels.tolist() == [1] * 5 + [2] * 5
    for part in (splits.train, splits.validation):
        np.testing.assert_array_equal(part.labels, part.images[:, 0, 1, 0] >= 20)
    some = load(tmp_path, num_examples=10)
    assert sum(map(len, numbers(some))) == 10
    assert numbers(some)[2] < numbers(splits)[2]


def test_folder_with_a_train_folder_alone(tmp_path):
    save_pictures(tmp_path / "train", 40)
    assert list(map(len, numbers(load(tmp_path)))) == [32, 4, 4]


def test_folder_of_mixed_pictures(tmp_path):
    save_pictures(tmp_path, 10)
    save_pictures(tmp_path, 10, start=10, size=(9, 7), mode="RGB")
    with pytest.raises(ValueError, match=r"choose one with `image_size=`. Received: 4x4 in .* 7x9"):
        load(tmp_path)
    splits = load(tmp_path, image_size=12)
    assert splits.image_shape == (12, 12, 3)
    assert load(tmp_path, image_size=12, channels=1).image_shape == (12, 12, 1)


def test_pictures_beside_the_parts(tmp_path):
    save_pictures(tmp_path / "train", 5)
    save_pictures(tmp_path / "val", 5)
    with pytest.raises(ValueError, match=r"no other pictures: .*Received: .*val.0000.png"):
        load(tmp_path)


@pytest.mark.parametrize("made", ["", "train", "test/dog"])
def test_folders_without_pictures(tmp_path, made):
    (tmp_path / made).mkdir(parents=True, exist_ok=True)
    if made.startswith("test"):
        save_pictures(tmp_path / made, 3)
    with pytest.raises(ValueError, match=r"must hold pictures .*Received: none at or below "):
        load(tmp_path)


def test_a_damaged_picture_is_named(tmp_path):
    save_pictures(tmp_path, 5)
    (tmp_path / "0002.png").write_bytes((tmp_path / "0002.png").read_bytes()[:45])
    with pytest.raises(ValueError, match=r"0002.png cannot be read as a picture"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
def test_keras_datasets(monkeypatch, name):
    def load_data():
        return (numbered(20), np.arange(20)[:, None]), (numbered(5), np.arange(5)[:, None])

    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", load_data)
    splits = load(name)
    assert splits.name == name
    assert splits.test.labels.tolist() == [0, 1, 2, 3, 4]


def test_keras_datasets_without_a_network(monkeypatch):
    def load_data():
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", load_data)
    with pytest.raises(
        OSError, match=r"needs the network .*Received: Exception: URL fetch failure"
    ):
        load("mnist")


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (np.zeros((5, 16)), ValueError, r"training images of `a` .* reshape vectors.*\(5, 16\)"),
        (np.zeros(5), ValueError, r"`training images of a` must have shape.*\(5,\)"),
        (np.zeros((0, 4, 4)), ValueError, r"`training images of a` is empty"),
        (np.full((5, 4, 4), np.nan), ValueError, r"must be finite.*nan at index \(0, 0, 0\)"),
        (np.full((5, 4, 4), np.inf), ValueError, r"must be finite.*inf at index"),
        (np.full((5, 4, 4), 200.0), ValueError, r"divide pixels of 0..255.*from 200.0 to 200.0"),
        (np.zeros((5, 4, 4), int), TypeError, r"must be uint8.*Received: dtype int64"),
        (np.zeros((2, 4, 4)), ValueError, r"too few examples for three parts. Received: 1 "),
    ],
)
def test_bad_arrays(tmp_path, array, error, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(error, match=message):
        load(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (numbered(9, (5, 4)), r"Received: uint8\[4, 4, 1\] to train on and uint8\[5, 4, 1\]"),
        (numbered(9, (4, 4, 3)), r"uint8\[4, 4, 1\] to train on and uint8\[4, 4, 3\] to test"),
        (np.zeros((9, 4, 4), "f4"), r"in one dtype.*uint8.* and float32\[4, 4, 1\] to test on"),
    ],
)
def test_parts_that_differ(tmp_path, test, message):
    path = tmp_path / "a.npz"
    np.savez(path, x_train=numbered(20), x_test=test)
    with pytest.raises(ValueError, match=message):
        load(path)
    if test.dtype == np.uint8:
        assert load(path, image_size=4, channels=1).image_shape == (4, 4, 1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"source": "no/such"}, ValueError, r"'faces', 'mnist'.*exists. Received: 'no/such'"),
        ({"source": 3}, TypeError, r"`source` must be a name or a path. Received: 3"),
        ({"image_size": 0}, ValueError, r"`image_size` must be at least 1. Received: 0"),
        ({"image_size": (8, 8, 1)}, ValueError, r"\(height, width\). Received: \(8, 8, 1\)"),
        ({"image_size": "8"}, ValueError, r"`image_size` must be .*Received: '8'"),
        ({"channels": 2}, ValueError, r"`channels` must be 1, 3 or None. Received: 2"),
        ({"validation_fraction": 1}, ValueError, r"`validation_fraction` must lie in .*: 1"),
        ({"validation_fraction": -0.1}, ValueError, r"must lie in \[0, 1\). Received: -0.1"),
        ({"validation_fraction": 0.9999}, ValueError, r"too few examples .*Received: 1437 "),
        ({"seed": 0.5}, TypeError, r"`seed` must be an integer. Received: 0.5"),
        ({"num_examples": 2}, ValueError, r"`num_examples` must be at least 3. Received: 2"),
        ({"num_examples": 1798}, ValueError, r"at most the 1797 examples .*Received: 1798"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        load(**{"source": "digits", **arguments})


def test_a_file_of_another_kind(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("1,2")
    with pytest.raises(ValueError, match=r"a folder, an `.npz` or an `.npy` file. Received: .*csv"):
        load(path)
