"""The zip container and its JSON members."""

from __future__ import annotations

import re
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest

from tfvae.saving.archive import MAX_INFLATED_BYTES, check_archive
from tfvae.saving.model_file import load


def write(path: Path, members: dict[str, bytes], **options: int) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_a_file_of_keras_is_accepted_and_its_configuration_returned(forge):
    config = check_archive(forge())
    assert config["class_name"] == "Functional"
    assert [layer["name"] for layer in config["config"]["layers"]] == ["pixels", "code"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("model.h5", "carry code that Keras runs in spite of `safe_mode`"),  # CVE-2025-9905
        ("model.HDF5", "carry code that Keras runs in spite of `safe_mode`"),
        ("model.pkl", "pickles run whatever code they hold"),
        ("saved_model.pb", "SavedModel"),
        ("model.weights", r"does not end in \.keras"),
        ("keras", r"does not end in \.keras"),
    ],
)
def test_other_formats_are_refused_with_the_reason(tmp_path, name, reason):
    path = tmp_path / name
    path.write_bytes(b"anything")
    with pytest.raises(ValueError, match=reason):
        check_archive(path)


def test_cve_2025_9905_an_h5_model_with_a_lambda_is_not_loaded(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x)])
    path = tmp_path / "model.h5"
    model.save(path)
    with pytest.raises(ValueError, match=r"only \.keras files are loaded"):
        load(path)
    # Under the right name it is still not a zip.
    with pytest.raises(ValueError, match="not a zip file"):
        load(path.rename(tmp_path / "model.keras"))


def test_missing_directory_empty_and_other_content(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        check_archive(tmp_path / "absent.keras")
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(ValueError, match="is a directory"):
        check_archive(tmp_path / "folder.keras")
    for data in (b"", b"\x89HDF\r\n\x1a\n" + bytes(99), b"PK\x05\x06" + bytes(17)):
        (tmp_path / "other.keras").write_bytes(data)
        with pytest.raises(ValueError, match="not a zip file"):
            check_archive(tmp_path / "other.keras")


def test_every_truncation_and_a_flip_in_every_stretch_is_refused_cleanly(forge):
    path = forge()
    data = path.read_bytes()
    for end in range(0, len(data), 701):
        path.write_bytes(data[:end])
        with pytest.raises(ValueError, match="Refused to load a model"):
            check_archive(path)
    messages = []
    for position in range(0, len(data), 97):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :])
        try:
            check_archive(path)
        except ValueError as error:
            messages.append(str(error))
    assert all(message.startswith("Refused to load a model") for message in messages)
    # The contents are under a CRC; a few bytes of the directory (dates, versions) mean nothing.
    assert len(messages) >= 0.95 * len(range(0, len(data), 97))


@pytest.mark.parametrize(
    "name",
    ["../evil.py", "/etc/cron.d/evil", "evil.py", "model.weights.npz", "config.json/", "a\\..\\b"],
)
def test_members_outside_the_list_are_refused(members, tmp_path, name):
    path = write(tmp_path / "model.keras", {**members, name: b"x"})
    with pytest.raises(ValueError, match=rf"it holds {re.escape(repr(name))}"):
        check_archive(path)


def test_a_name_that_zipfile_would_cut_at_a_null_byte_is_refused(members, tmp_path):
    path = tmp_path / "model.keras"
    content = {name.replace("config.json", "config.json_x"): data for name, data in members.items()}
    write(path, content)
    path.write_bytes(path.read_bytes().replace(b"config.json_x", b"config.json\0x"))
    with zipfile.ZipFile(path) as archive:
        assert "config.json" in archive.namelist()
    with pytest.raises(ValueError, match=r"holds 'config\.json\\x00x', which Keras does not write"):
        check_archive(path)


def test_assets_are_refused_with_advice(tmp_path):
    lookup = keras.layers.StringLookup()
    lookup.adapt(["a", "b", "a"])
    model = keras.Sequential([keras.Input((1,), dtype="string"), lookup])
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"assets/.*input pipeline"):
        check_archive(tmp_path / "model.keras")


@pytest.mark.parametrize("name", ["config.json", "metadata.json", "model.weights.h5"])
def test_a_missing_or_repeated_member_is_refused(members, tmp_path, name):
    rest = {key: value for key, value in members.items() if key != name}
    with pytest.raises(ValueError, match=f"it lacks {name}"):
        check_archive(write(tmp_path / "model.keras", rest))
    with zipfile.ZipFile(tmp_path / "model.keras", "a") as archive:
        archive.writestr(name, members[name])
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(name, b"{}")
    with pytest.raises(ValueError, match="holds a member twice"):
        check_archive(tmp_path / "model.keras")


def test_a_symbolic_link_is_refused(members, tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            if name == "config.json":
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
                data = b"/etc/passwd"
            archive.writestr(info, data)
    with pytest.raises(ValueError, match=r"'config\.json' is a symbolic link"):
        check_archive(path)


def test_an_encrypted_member_is_refused(forge):
    path = forge()
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")  # The first entry of the central directory.
    data[entry + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"encrypted \(File 'metadata\.json' is encrypted"):
        check_archive(path)


def test_compressed_members_are_refused_and_so_are_bombs(members, tmp_path):
    path = write(
        tmp_path / "model.keras",
        {**members, "model.weights.h5": bytes(50 * 2**20)},
        compression=zipfile.ZIP_DEFLATED,
    )
    assert path.stat().st_size < 100_000
    with pytest.raises(ValueError, match=r"is compressed, .* Keras stores members as they are"):
        check_archive(path)


def test_a_member_that_lies_about_its_size_is_refused(members, tmp_path):
    """Stored, says the entry, and a gigabyte; the file has a few bytes."""
    path = write(tmp_path / "model.keras", {**members, "metadata.json": b"{}"})
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    assert zlib.crc32(b"{}") == struct.unpack_from("<I", data, entry + 16)[0]
    struct.pack_into("<II", data, entry + 20, 60_000, 60_000)
    path.write_bytes(data)
    with pytest.raises(ValueError, match="cut short, damaged or encrypted"):
        check_archive(path)


def test_the_size_limits(members, forge, tmp_path):
    path = forge()
    size = path.stat().st_size
    assert size < MAX_INFLATED_BYTES == 4 * 2**30
    check_archive(path, max_inflated_bytes=size)
    with pytest.raises(ValueError, match=f"it has {size} bytes, the limit is {size - 1}; raise"):
        check_archive(path, max_inflated_bytes=size - 1)
    with pytest.raises(ValueError, match=r"'metadata\.json' has 70000 bytes, the limit is 65536"):
        check_archive(forge(metadata_json=bytes(70_000)))
    with pytest.raises(ValueError, match=r"'config\.json' has 16777217 bytes"):
        check_archive(forge(config_json=bytes(2**24 + 1)))


def test_overlapping_members_cannot_add_up_to_more_than_the_limit(members, forge):
    path = forge(config_json=members["config.json"].ljust(40_000))
    data = bytearray(path.read_bytes())
    entries = [match.start() for match in re.finditer(b"PK\x01\x02", bytes(data))]
    struct.pack_into("<II", data, entries[2] + 20, len(data) - 100, len(data) - 100)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"its members have .* bytes, the limit is"):
        check_archive(path, max_inflated_bytes=len(data))


@pytest.mark.parametrize("bracket", [b"[", b'{"a":'])
@pytest.mark.parametrize("member", ["config_json", "metadata_json"])
def test_deep_nesting_is_refused_before_it_is_parsed(forge, bracket, member):
    count = 100_000 if member == "config_json" else 10_000
    path = forge(**{member: bracket * count})
    with pytest.raises(ValueError, match="nests brackets at least 101 deep; 100 is enough"):
        check_archive(path)


def test_brackets_inside_strings_do_not_count(forge):
    name = "[{" * 500 + '"' + "\\" + "]"
    path = forge(lambda config: config["config"]["layers"][1].update(note=name))
    assert check_archive(path)["config"]["layers"][1]["note"] == name


@pytest.mark.parametrize("piece", [b'\\"', b'"\\', b'"', b"\\"])
def test_quotes_and_backslashes_without_end_do_not_hold_up_the_scan(forge, piece):
    """A pattern that backtracks or starts over would need hours for these."""
    with pytest.raises(ValueError, match="is not JSON"):
        check_archive(forge(config_json=b'"' + piece * 500_001))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe{\x00}\x00", "is not JSON"),
        ("{}".encode("utf-16-le"), "is not JSON"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is not JSON"),
        (b"[]", "is a list, not a dictionary"),
        (b"null", "is a NoneType, not a dictionary"),
    ],
)
@pytest.mark.parametrize("member", ["config_json", "metadata_json"])
def test_json_members_must_be_dictionaries_in_utf8(forge, member, data, reason):
    with pytest.raises(ValueError, match=rf"its {member.replace('_', '.')} {reason}"):
        check_archive(forge(**{member: data}))


def test_deeply_nested_models_are_accepted(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    for _ in range(15):
        model = keras.Sequential([keras.Input((3,)), model])
    path = tmp_path / "model.keras"
    model.save(path)
    x = np.ones((1, 3), "float32")
    assert np.array_equal(load(path)(x), model(x))
