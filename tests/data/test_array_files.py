from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from tfvae.data.array_files import is_idx_folder, read_idx_folder, read_npy, read_npz


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (10, 4, 3), dtype=np.uint8)


def test_npz_in_keras_layout(tmp_path, images):
    path = tmp_path / "a.npz"
    columns = np.arange(10)[:, None]
    np.savez(path, x_train=images, y_train=columns, x_test=images[:2], y_test=columns[:2])
    train, test = read_npz(path)
    np.testing.assert_array_equal(train.images, images)
    assert train.labels.tolist() == list(range(10))
    np.testing.assert_array_equal(test.images, images[:2])
    assert test.labels.tolist() == [0, 1]


def test_npz_without_test_or_labels(tmp_path, images):
    path = tmp_path / "a.npz"
    np.savez(path, x_train=images)
    train, test = read_npz(path)
    assert len(train) == 10
    assert train.labels is None
    assert test is None


@pytest.mark.parametrize("key", ["x", "images", "arr_0"])
@pytest.mark.parametrize("label_key", ["y", "labels", None])
def test_npz_with_one_array(tmp_path, images, key, label_key):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **{key: images}, **({label_key: np.arange(10)} if label_key else {}))
    train, test = read_npz(path)
    np.testing.assert_array_equal(train.images, images)
    assert test is None
    assert (train.labels is None) == (label_key is None)


def test_npz_with_other_keys(tmp_path, images):
    path = tmp_path / "a.npz"
    np.savez(path, pictures=images)
    with pytest.raises(
        ValueError, match=r"must hold `x_train` .*Received: the keys \['pictures'\]"
    ):
        read_npz(path)


def test_npz_with_a_wrong_number_of_labels(tmp_path, images):
    path = tmp_path / "a.npz"
    np.savez(path, x=images, y=np.arange(9))
    with pytest.raises(ValueError, match=r"as many `labels` as images. Received: .*\(9,\)"):
        read_npz(path)


def test_npy(tmp_path, images):
    path = tmp_path / "a.npy"
    np.save(path, images)
    train, test = read_npy(path)
    np.testing.assert_array_equal(train.images, images)
    assert test is None


@pytest.mark.parametrize("suffix", ["npz", "npy"])
def test_pickled_objects_are_refused(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    objects = np.array([{"a": 1}, None], dtype=object)
    if suffix == "npz":
        np.savez(path, x=objects)
    else:
        np.save(path, objects, allow_pickle=True)
    with pytest.raises(ValueError, match=r"pickled objects, which are never loaded. Received: "):
        (read_npz if suffix == "npz" else read_npy)(path)


@pytest.mark.parametrize("suffix", ["npz", "npy"])
@pytest.mark.parametrize("keep", [0, 3, 100, 0.5, 0.99])
def test_files_cut_short(tmp_path, suffix, keep):
    path = tmp_path / f"cut.{suffix}"
    big = np.random.default_rng(0).integers(0, 256, (50, 8, 8), dtype=np.uint8)
    if suffix == "npz":
        np.savez_compressed(path, x=big)
    else:
        np.save(path, big)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    with pytest.raises(ValueError, match=r"cut\.np. cannot be read: it is damaged.*Received: "):
        (read_npz if suffix == "npz" else read_npy)(path)


def test_a_flipped_byte_in_an_archive(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).integers(0, 256, (50, 64), dtype=np.uint8))
    broken = bytearray(path.read_bytes())
    broken[len(broken) // 2] ^= 0x10
    path.write_bytes(broken)
    with pytest.raises(ValueError, match=r"cannot be read: it is damaged"):
        read_npz(path)


def test_wrong_suffixes(tmp_path, images):
    np.save(tmp_path / "a.npy", images)
    (tmp_path / "a.npy").rename(tmp_path / "array.npz")
    with pytest.raises(ValueError, match=r"name it `.npy`. Received: one array"):
        read_npz(tmp_path / "array.npz")
    np.savez(tmp_path / "b.npz", x=images)
    (tmp_path / "b.npz").rename(tmp_path / "archive.npy")
    with pytest.raises(ValueError, match=r"name it `.npz`. Received: keys \['x'\]"):
        read_npy(tmp_path / "archive.npy")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("mark", ["-", "."])
def test_idx(tmp_path, images, packed, mark):
    labels = np.arange(10) % 3
    for prefix, rows in (("train", slice(0, 8)), ("t10k", slice(8, 10))):
        for kind, array in (("images", images[rows]), ("labels", labels[rows])):
            name = f"{prefix}-{kind}{mark}idx{array.ndim}-ubyte"
            data = idx(array)
            if packed:
                (tmp_path / f"{name}.gz").write_bytes(gzip.compress(data))
            else:
                (tmp_path / name).write_bytes(data)
    assert is_idx_folder(tmp_path)
    train, test = read_idx_folder(tmp_path)
    np.testing.assert_array_equal(train.images, images[:8])
    np.testing.assert_array_equal(train.labels, labels[:8])
    np.testing.assert_array_equal(test.images, images[8:])
    np.testing.assert_array_equal(test.labels, labels[8:])


def test_idx_without_labels_or_test(tmp_path, images):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(images))
    train, test = read_idx_folder(tmp_path)
    assert train.labels is None
    assert test is None


def test_no_idx(tmp_path):
    assert not is_idx_folder(tmp_path)
    with pytest.raises(ValueError, match=r"needs `train-images-idx3-ubyte`. Received: "):
        read_idx_folder(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", r"starts with 00 00 08 03. Received: an empty file"),
        (lambda data: data[:9], r"starts with 00 00 08 03. Received: 00 00 08 03"),
        (lambda data: b"\x00\x00\x0d\x03" + data[4:], r"Received: 00 00 0d 03"),
        (lambda data: b"\x00\x00\x08\x01" + data[4:], r"of rank 3, .*Received: 00 00 08 01"),
        (lambda data: data[:-1], r"shape \(10, 4, 3\), that is 120 bytes.*Received: 119 bytes"),
        (lambda data: data + b"\x00", r"that is 120 bytes.*Received: more bytes"),
        (lambda data: data[:4] + b"\xff" * 12 + data[16:], r"Received: a file too small for that"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_bad_idx(tmp_path, images, change, message, packed):
    data = change(idx(images))
    name = "train-images-idx3-ubyte" + (".gz" if packed else "")
    (tmp_path / name).write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(ValueError, match=message):
        read_idx_folder(tmp_path)


@pytest.mark.parametrize(
    "change",
    [lambda data: data[:-20], lambda data: b"not gzip", lambda data: data[:30] + b"\xff" * 40],
)
def test_bad_gzip(tmp_path, images, change):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(change(gzip.compress(idx(images))))
    with pytest.raises(ValueError, match=r"ubyte.gz cannot be read: it is damaged.*Received: "):
        read_idx_folder(tmp_path)
