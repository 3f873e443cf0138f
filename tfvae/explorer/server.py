"""A file server for one folder on the loopback interface, for looking at a page."""

from __future__ import annotations

import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"


class _Handler(SimpleHTTPRequestHandler):
    # What a browser insists on, whatever the machine's own table of types says.
    extensions_map = {  # noqa: RUF012 (the base class's own form)
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".json": "application/json",
        ".wasm": "application/wasm",
        ".tflite": "application/octet-stream",
        ".bin": "application/octet-stream",
    }

    def end_headers(self) -> None:
        # A page that was built anew must not meet parts of the old one.
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Says nothing: the page says itself what it could not load."""


class PageServer:
    """Serves a folder until it is closed; for one user, on this machine alone.

    Args:
        folder: what to serve.
        port: 0 for any free one.

    Raises:
        ValueError: if the folder is not there.
        OSError: if the port is taken.

    Example:
        >>> import pathlib, tempfile, urllib.request
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "index.html").write_text("hello")
        >>> with PageServer(folder) as server:
        ...     urllib.request.urlopen(server.url).read()
        b'hello'
    """

    def __init__(self, folder: str | os.PathLike[str], port: int = 0) -> None:
        folder = Path(folder)
        if not folder.is_dir():
            raise ValueError(f"There is no such folder to serve. Received: {folder}")
        handler = partial(_Handler, directory=str(folder))
        self._server = ThreadingHTTPServer((HOST, port), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{HOST}:{self._server.server_port}/"

    def wait(self) -> None:
        """Returns when the server is closed; an interrupt (Ctrl-C) comes through."""
        while self._thread.is_alive():
            self._thread.join(timeout=0.5)

    def close(self) -> None:
        """Stops serving and frees the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> PageServer:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()
