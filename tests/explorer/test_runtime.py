"""LiteRT.js comes from a folder or from npm, and only the release that pages are tested with."""

import base64
import hashlib
import io
import json
import tarfile

import pytest

from tfvae.explorer import runtime


def fake_files(package):
    names = [path for owner, path in runtime.FILES.values() if owner == package]
    found = {name: f"{package} {name}".encode() for name in names}
    return found | {"package.json": json.dumps({"version": runtime.VERSION}).encode()}


@pytest.fixture
def modules(tmp_path):
    """A node_modules folder with packages of the right names."""
    folder = tmp_path / "node_modules"
    for package in (runtime.CORE, runtime.WASM_UTILS):
        for name, text in fake_files(package).items():
            path = folder / package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
    return folder


def archive_of(files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
    return stream.getvalue()


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """A program called npm that packs fake archives, and counts how often it is called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for package in (runtime.CORE, runtime.WASM_UTILS):
        archive = archive_of(fake_files(package))
        name = package.removeprefix("@").replace("/", "-")
        (folder / f"{name}-{runtime.VERSION}.tgz").write_bytes(archive)
        digest = base64.b64encode(hashlib.sha512(archive).digest()).decode()
        monkeypatch.setitem(runtime.SHA512, package, digest)
    program = folder / "npm"
    program.write_text(
        f'#!/bin/sh\necho "$2" >> {folder}/calls\n'
        f'name=$(echo "$2" | sed "s/^@//; s,/,-,; s/@/-/")\ncp "{folder}/$name.tgz" "$4"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


@pytest.mark.parametrize("above", [False, True])
def test_installing_from_a_folder(above, modules, tmp_path):
    page = tmp_path / "page"
    page.mkdir()
    assert not runtime.is_complete(page)
    runtime.install_runtime(page, modules.parent if above else modules)
    assert runtime.is_complete(page)
    text = (page / "litert" / "wasm-utils.js").read_text()
    assert text == "@litertjs/wasm-utils dist/index.js"
    assert "Apache License" in (page / "litert" / "NOTICE.txt").read_text()


def test_another_release_is_refused(modules, tmp_path):
    (modules / runtime.CORE / "package.json").write_text('{"version": "9.9.9"}')
    with pytest.raises(ValueError, match=r"Received: @litertjs/core 9\.9\.9"):
        runtime.install_runtime(tmp_path, modules)


def test_a_missing_file_is_named(modules, tmp_path):
    (modules / runtime.CORE / "wasm" / "litert_wasm_internal.wasm").unlink()
    with pytest.raises(ValueError, match=r"Received: no wasm/litert_wasm_internal\.wasm"):
        runtime.install_runtime(tmp_path, modules)


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must hold @litertjs/core"):
        runtime.install_runtime(tmp_path, tmp_path)


def test_fetching_happens_once(npm, tmp_path):
    for _ in range(2):
        folder = runtime.fetch_runtime(tmp_path / "cache")
    for package, path in runtime.FILES.values():
        assert (folder / package / path).read_text() == f"{package} {path}"
    calls = (npm / "calls").read_text().split()
    assert calls == [f"{name}@{runtime.VERSION}" for name in (runtime.CORE, runtime.WASM_UTILS)]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [folder.name]


def test_the_cache_is_the_users(npm, tmp_path, monkeypatch):
    monkeypatch.setattr(runtime.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert runtime.fetch_runtime().parent == tmp_path / "caches" / "tfvae"


def test_a_changed_archive_is_refused(npm, tmp_path, monkeypatch):
    monkeypatch.setitem(runtime.SHA512, runtime.WASM_UTILS, "something else")
    with pytest.raises(ValueError, match="expect sha512-something else"):
        runtime.fetch_runtime(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_npm_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match=r"pass the folder they are in as --runtime.*no npm"):
        runtime.fetch_runtime(tmp_path / "cache")


def test_what_npm_says_is_passed_on(npm, tmp_path):
    (npm / "npm").write_text(
        "#!/bin/sh\necho 'npm notice' >&2\necho 'npm error no net' >&2\nexit 1\n"
    )
    with pytest.raises(OSError, match="Received: npm error no net"):
        runtime.fetch_runtime(tmp_path / "cache")


def test_the_sums_are_sha512():
    for text in runtime.SHA512.values():
        assert len(base64.b64decode(text)) == 64
