"""The file server gives a page's files with their types, to this machine alone."""

import urllib.error
import urllib.request

import pytest

from tfvae.explorer import PageServer

TYPES = {
    "a.js": "text/javascript",
    "a.wasm": "application/wasm",
    "a.json": "application/json",
    "a.css": "text/css",
    "index.html": "text/html",
    "model.tflite": "application/octet-stream",
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    page = tmp_path / "page"
    page.mkdir()
    for name in TYPES:
        (page / name).write_text(name)
    return page


@pytest.mark.parametrize("name", TYPES)
def test_types(name, folder):
    with PageServer(folder) as server, urllib.request.urlopen(server.url + name) as answer:
        assert answer.headers.get_content_type() == TYPES[name]
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.read().decode() == name


def test_it_listens_on_loopback(folder):
    with PageServer(folder) as server:
        assert server._server.server_address[0] == "127.0.0.1"


def test_nothing_outside_the_folder_is_given(folder):
    with PageServer(folder) as server:
        for path in ("../secret.txt", "%2e%2e/secret.txt", "/etc/passwd"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(server.url + path)


def test_closing_frees_the_port(folder):
    with PageServer(folder) as server:
        port = int(server.url.rstrip("/").rpartition(":")[2])
    server.wait()
    with PageServer(folder, port) as again:
        assert again.url == server.url


def test_a_missing_folder_is_refused(folder):
    with pytest.raises(ValueError, match=r"no such folder to serve\. Received: .*nowhere"):
        PageServer(folder / "nowhere")
