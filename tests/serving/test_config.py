"""The files beside the versions."""

from __future__ import annotations

import pytest

from tfvae.serving.config import (
    BatchingOptions,
    read_batching,
    read_model_config,
    versions_in,
    wanted_versions,
)


def model(folder):
    (config,) = read_model_config(folder).model_config_list.config
    return config


def test_without_files(tmp_path):
    folder = tmp_path / "faces"
    folder.mkdir()
    config = model(folder)
    assert (config.name, config.base_path) == ("faces", str(folder.resolve()))
    assert wanted_versions(config.model_version_policy, [3, 1, 2]) == [3]
    assert read_batching(folder) == BatchingOptions()
    assert read_batching(folder, enabled=False) == BatchingOptions(enabled=False)


def test_what_an_export_writes(export):
    """The files of `tfvae.export`, one of them edited as a user would."""
    config = model(export)
    assert (config.name, config.base_path) == ("shapes", str(export.resolve()))
    assert dict(config.version_labels) == {"stable": 1, "ghost": 9}
    assert sorted(versions_in(export)) == [1, 2]
    options = read_batching(export)
    assert (options.max_batch_size, options.timeout_seconds) == (16, 0.001)


ENTRY = 'config {{ name: "{0}" base_path: "/models/{1}" }}'


@pytest.mark.parametrize(
    ("entries", "name"),
    [
        ([("other", "elsewhere")], "other"),
        ([("a", "faces"), ("b", "digits")], "a"),
        ([("a", "digits"), ("b", "faces/")], "b"),
    ],
)
def test_the_model_of_a_folder(tmp_path, entries, name):
    folder = tmp_path / "faces"
    folder.mkdir()
    text = " ".join(ENTRY.format(*entry) for entry in entries)
    (folder / "models.config").write_text(f"model_config_list {{ {text} }}")
    assert model(folder).name == name
    assert model(folder).base_path == str(folder.resolve())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model_config_list {", "The file is damaged"),
        (
            f"model_config_list {{ {ENTRY.format('a', 'x')} {ENTRY.format('b', 'y')} }}",
            r"one model whose base path ends in 'faces'\. Received: \['/models/x', '/models/y'\]",
        ),
    ],
)
def test_a_config_that_is_refused(tmp_path, text, message):
    folder = tmp_path / "faces"
    folder.mkdir()
    (folder / "models.config").write_text(text)
    with pytest.raises(ValueError, match=message):
        model(folder)


def test_no_folder(tmp_path):
    with pytest.raises(ValueError, match=r"no such folder to serve\. Received: .*nowhere"):
        read_model_config(tmp_path / "nowhere")


def test_batching_parameters(tmp_path):
    (tmp_path / "batching_parameters.txt").write_text(
        "# a comment\nmax_batch_size { value: 8 } batch_timeout_micros { value: 0 }\n"
        "num_batch_threads { value: 3 } max_enqueued_batches { value: 5 }\n"
        "allowed_batch_sizes: 8 enable_large_batch_splitting { value: true }"
    )
    assert read_batching(tmp_path) == BatchingOptions(True, 8, 0.0, 5, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size { value: 0 }", "`max_batch_size` in .* must be positive. Received: 0"),
        ("batch_timeout_micros { value: -1 }", "`batch_timeout_micros` in .* Received: -1"),
        ("max_batch_size 8", "The file is damaged"),
        ("\0", "The file is damaged"),
    ],
)
def test_batching_parameters_that_are_refused(tmp_path, text, message):
    (tmp_path / "batching_parameters.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_batching(tmp_path)


def test_policies(tmp_path):
    (tmp_path / "models.config").write_text(
        'model_config_list { config { name: "m" base_path: "/m" '
        "model_version_policy { latest { num_versions: 2 } } } }"
    )
    policy = model(tmp_path).model_version_policy
    assert wanted_versions(policy, [1, 2, 3]) == [3, 2]
    assert wanted_versions(policy, [1]) == [1]
