"""The HDF5 member: nothing but plain arrays, and all of them restored."""

from __future__ import annotations

import io

import h5py
import numpy as np
import pytest

from tfvae.saving.archive import check_archive
from tfvae.saving.model_file import load
from tfvae.saving.weights import check_restored, check_weights

KERNEL = "layers/dense/vars/0"


@pytest.fixture
def spoil(members):
    """The good HDF5 file after `edit` had its way with it."""

    def make(edit) -> bytes:
        buffer = io.BytesIO(members["model.weights.h5"])
        with h5py.File(buffer, "r+") as file:
            edit(file)
        return buffer.getvalue()

    return make


def external_link(file):
    del file[KERNEL]
    file[KERNEL] = h5py.ExternalLink("/etc/passwd", "/")


def soft_link(file):
    del file[KERNEL]
    file[KERNEL] = h5py.SoftLink("/layers/dense/vars/1")


def hard_link(file):
    file["layers/dense/vars/loop"] = file["layers"]


def external_storage(file):
    del file[KERNEL]
    file.create_dataset(KERNEL, (4, 2), "float32", external=[("/etc/passwd", 0, 32)])


def virtual(file):
    del file[KERNEL]
    layout = h5py.VirtualLayout((4, 2), "float32")
    layout[:] = h5py.VirtualSource("/etc/passwd", "secret", (4, 2))
    file.create_virtual_dataset(KERNEL, layout)


def chunked_bomb(file):
    del file[KERNEL]
    file.create_dataset(KERNEL, (2**20, 2**20), "float32", chunks=(1024, 1024))


def late_allocation_bomb(file):
    del file[KERNEL]
    file.create_dataset(KERNEL, (2**20, 2**20), "float32")


def compressed(file):
    del file[KERNEL]
    file.create_dataset(KERNEL, data=np.zeros((4, 2), "float32"), compression="gzip")


def python_objects(file):
    del file[KERNEL]
    file.create_dataset(KERNEL, data=np.array(["a", "b"], object), dtype=h5py.string_dtype())


def references(file):
    del file[KERNEL]
    file.create_dataset(KERNEL, data=file["layers"].ref, dtype=h5py.ref_dtype)


def records(file):
    del file[KERNEL]
    file[KERNEL] = np.zeros(8, [("a", "float32"), ("b", "int8")])


def wide_opaque(file):
    del file[KERNEL]
    file[KERNEL] = np.zeros(8, "V16")


def empty(file):
    del file[KERNEL]
    file[KERNEL] = h5py.Empty("float32")


def named_type(file):
    file["layers/dense/vars/type"] = np.dtype("float32")


def attribute(file):
    file["layers"].attrs["data"] = np.zeros(4)


ATTACKS = {
    external_link: "'/layers/dense/vars/0' is a ExternalLink, which may point anywhere",
    soft_link: "'/layers/dense/vars/0' is a SoftLink, which may point anywhere",
    hard_link: "reaches an object that another path reaches",
    external_storage: "stored outside the file",
    virtual: "virtual dataset, which reads other files",
    chunked_bomb: "chunked or compressed",
    late_allocation_bomb: "declares 4398046511104 bytes and stores 0",
    compressed: "chunked or compressed",
    python_objects: "holds object, not numbers",
    references: "holds object, not numbers",
    records: "not numbers",
    wide_opaque: r"holds \|V16, not numbers",
    empty: "declares",
    named_type: "neither a group nor an array",
    attribute: "attribute 'data' that is not a string",
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_whatever_keras_does_not_write_is_refused(forge, spoil, attack):
    """CVE-2026-1669 (files read from outside) and CVE-2026-0897 (declared sizes), and kin."""
    path = forge(model_h5=spoil(attack))
    for function in (check_archive, load):
        with pytest.raises(ValueError, match=ATTACKS[attack]):
            function(path)


def test_every_spoilt_file_is_valid_hdf5(spoil):
    """So that the refusals above are for what they say."""
    for attack in ATTACKS:
        with h5py.File(io.BytesIO(spoil(attack)), "r") as file:
            assert "layers" in file


@pytest.mark.parametrize("data", [b"", b"not HDF5 at all", b"\x89HDF\r\n\x1a\n" + bytes(500)])
def test_a_damaged_file_is_refused(forge, data):
    with pytest.raises(ValueError, match="its weights are damaged or not HDF5"):
        check_archive(forge(model_h5=data))


def test_flipped_bytes_are_accepted_or_refused_and_nothing_else(members):
    """The zip's CRC does not protect against someone who writes it."""
    data = members["model.weights.h5"]
    messages = []
    for position in range(0, len(data), 29):
        flipped = bytearray(data)
        flipped[position] ^= 0xFF
        try:
            check_weights(io.BytesIO(flipped), "x.keras")
        except ValueError as error:
            messages.append(str(error))
    assert all(message.startswith("Refused to load a model") for message in messages)
    assert len(messages) > 20


def test_numbers_of_all_kinds_are_accepted(tmp_path):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for index, dtype in enumerate(("float16", "float64", "int8", "uint32", "bool", "V2")):
            file[f"a/{index}"] = np.zeros((2, 3), dtype)
        file["scalar"] = np.int64(3)
        file["none"] = np.zeros((0, 3), "float32")
        file["a"].attrs["name"] = "layer"
    check_weights(buffer, "x.keras")


def h5(**arrays) -> io.BytesIO:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return buffer


def test_a_restored_file_must_be_the_saved_one():
    a, b = np.array([1.0, np.nan], "float32"), np.arange(3)
    check_restored(h5(a=a, b=b), h5(a=a, b=b), True, "x.keras")
    with pytest.raises(ValueError, match=r"in the file, but not in the model \(1\): b\. "):
        check_restored(h5(a=a, b=b), h5(a=a), True, "x.keras")
    check_restored(h5(a=a, b=b), h5(a=a), False, "x.keras")
    with pytest.raises(ValueError, match=r"in the model, but not in the file \(1\): b"):
        check_restored(h5(a=a), h5(a=a, b=b), False, "x.keras")
    for other in (-b, b[:2], b.astype("int32"), b[:, None]):
        with pytest.raises(ValueError, match=r"not the same in both \(1\): b"):
            check_restored(h5(a=a, b=b), h5(a=a, b=other), False, "x.keras")
