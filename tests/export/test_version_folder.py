"""Version folders appear whole or not at all, and are never touched again."""

from __future__ import annotations

import threading

import pytest

from tfvae.export.version_folder import folder_size, new_folder, next_version, write_if_missing


def test_versions_count_up(tmp_path):
    assert next_version(tmp_path / "missing", None) == 1
    for name in ("1", "7", "10", "notes", ".3.tmp"):
        (tmp_path / name).mkdir()
    assert next_version(tmp_path, None) == 11
    assert next_version(tmp_path, 3) == 3


@pytest.mark.parametrize("version", [0, -1, True, "2", 1.0])
def test_refuses_what_is_no_version(tmp_path, version):
    with pytest.raises(ValueError, match=r"at least 1\. Received"):
        next_version(tmp_path, version)


def test_refuses_a_version_that_exists(tmp_path):
    (tmp_path / "4").mkdir()
    with pytest.raises(ValueError, match=r"Version 4 exists.*the next one, 5"):
        next_version(tmp_path, 4)


def test_the_folder_appears_when_it_is_whole(tmp_path):
    target = tmp_path / "model" / "1"
    with new_folder(target) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "file").write_text("content")
        assert not target.exists()
        visible = [path.name for path in target.parent.iterdir() if path.name.isdecimal()]
        assert visible == []
    assert (target / "inner" / "file").read_text() == "content"
    assert folder_size(target) == 7
    assert [path.name for path in target.parent.iterdir()] == ["1"]


def test_a_failure_leaves_nothing(tmp_path):
    def write_half():
        with new_folder(tmp_path / "1") as folder:
            (folder / "file").write_text("content")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_of_two_writers_one_wins_and_the_other_says_so(tmp_path):
    start, results = threading.Barrier(2), []

    def write(text):
        try:
            with new_folder(tmp_path / "1") as folder:
                (folder / "file").write_text(text)
                start.wait()
            results.append(text)
        except OSError:
            results.append("lost")

    writers = [threading.Thread(target=write, args=(text,)) for text in ("one", "two")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(results) in (["lost", "one"], ["lost", "two"])
    assert (tmp_path / "1" / "file").read_text() in results
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_a_file_that_is_there_stays(tmp_path):
    path = tmp_path / "models.config"
    write_if_missing(path, "first")
    write_if_missing(path, "second")
    assert path.read_text() == "first"
