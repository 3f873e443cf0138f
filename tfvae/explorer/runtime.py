"""LiteRT.js, which a page runs its model with: fetched once, checked, copied beside the page.

It is Google's, Apache-2.0, on npm as two packages. Of its five builds of WebAssembly a page needs
two: the plain one, and `compat` for browsers without relaxed SIMD. The threaded one wants headers
(COOP, COEP) that a plain file server does not send. Nothing is loaded from elsewhere when the page
is looked at.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

VERSION = "2.5.3"
"""The release of LiteRT.js that pages are tested with."""

RUNTIME_FOLDER = "litert"
"""The runtime's folder in a page."""

CORE, WASM_UTILS = "@litertjs/core", "@litertjs/wasm-utils"
# As npm publishes them.
SHA512 = {
    CORE: (
        "PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ=="
    ),
    WASM_UTILS: (
        "4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9OYBVdFawteZ/sI1kQ=="
    ),
}
# Where each file lies in a page's runtime folder, and where it comes from.
FILES: Mapping[str, tuple[str, str]] = {
    "index.js": (CORE, "dist/index.js"),
    "wasm-utils.js": (WASM_UTILS, "dist/index.js"),
    "wasm/litert_wasm_internal.js": (CORE, "wasm/litert_wasm_internal.js"),
    "wasm/litert_wasm_internal.wasm": (CORE, "wasm/litert_wasm_internal.wasm"),
    "wasm/litert_wasm_compat_internal.js": (CORE, "wasm/litert_wasm_compat_internal.js"),
    "wasm/litert_wasm_compat_internal.wasm": (CORE, "wasm/litert_wasm_compat_internal.wasm"),
}
_NOTICE = (
    f"LiteRT.js {VERSION}: {CORE} and {WASM_UTILS} of npm, unchanged.\n"
    "Copyright Google LLC, licensed under the Apache License, Version 2.0:\n"
    "http://www.apache.org/licenses/LICENSE-2.0\n"
    "Source: https://github.com/google-ai-edge/LiteRT\n"
)
_NPM_SECONDS = 600


def is_complete(page: Path) -> bool:
    """Whether a page's folder has all of the runtime."""
    return all((page / RUNTIME_FOLDER / name).is_file() for name in FILES)


def install_runtime(
    page: str | os.PathLike[str], source: str | os.PathLike[str] | None = None
) -> Path:
    """Copies LiteRT.js into the folder of a page, 19 MB.

    Args:
        page: the folder of the page.
        source: a folder with `@litertjs/core` and `@litertjs/wasm-utils` in it, such as the
            `node_modules` of `npm install @litertjs/core@2.5.3`, or the folder above. `None`
            fetches them with npm, once: see `fetch_runtime`.

    Returns:
        The runtime's folder in the page.

    Raises:
        ValueError: if the source has not the files of this release.
        OSError: as `fetch_runtime`.
    """
    packages = fetch_runtime() if source is None else find_packages(source)
    target = Path(page) / RUNTIME_FOLDER
    for name, (package, path) in FILES.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(packages / package / path, target / name)
    (target / "NOTICE.txt").write_text(_NOTICE, encoding="utf-8")
    return target


def fetch_runtime(cache: str | os.PathLike[str] | None = None) -> Path:
    """Finds LiteRT.js in the user's cache, or fetches it with `npm pack`.

    The archives are compared with the SHA-512 sums that stand in this file before anything is
    taken from them.

    Args:
        cache: the folder to keep it in; `None` is `tfvae` in the user's cache folder.

    Returns:
        A folder with the files of `@litertjs/core` and `@litertjs/wasm-utils`.

    Raises:
        OSError: if npm is not there, or cannot fetch them.
        ValueError: if what it fetched is not what it should be.
    """
    folder = Path(cache) if cache is not None else _cache_folder()
    packages = folder / f"litertjs-{VERSION}"
    if all((packages / package / path).is_file() for package, path in FILES.values()):
        return packages
    npm = shutil.which("npm")
    if npm is None:
        raise OSError(
            f"LiteRT.js is fetched with npm, which comes with Node.js. Install it, or get {CORE} "
            f"and {WASM_UTILS} {VERSION} elsewhere and pass the folder they are in as --runtime. "
            "Received: no npm on the PATH"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".litertjs-", dir=folder) as temporary:
        made = Path(temporary) / "packages"
        for package in (CORE, WASM_UTILS):
            unpack(package, _npm_pack(npm, package, Path(temporary)), made)
        shutil.rmtree(packages, ignore_errors=True)
        os.replace(made, packages)
    return packages


def unpack(package: str, archive: bytes, target: Path) -> None:
    """Writes the files that pages need out of a package's archive, after a check.

    Args:
        package: its name.
        archive: the content of its `.tgz`.
        target: where to; the files come to `target / package`.

    Raises:
        ValueError: if the archive is not the one that is expected.
    """
    found = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if found != SHA512[package]:
        raise ValueError(
            f"The archive of {package} {VERSION} is not the one that tfvae was tested with: expect "
            f"sha512-{SHA512[package]}; ask npm's registry itself, not a copy that changes files. "
            f"Received: sha512-{found}"
        )
    wanted = {f"package/{path}": path for owner, path in FILES.values() if owner == package}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        for member in (f"package/{path}" for path in ("package.json", *wanted.values())):
            stream = tar.extractfile(member)
            if stream is None:
                raise ValueError(f"The archive lacks a file. Received: no {member} in {package}")
            path = target / package / member.removeprefix("package/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(stream.read())


def _npm_pack(npm: str, package: str, folder: Path) -> bytes:
    command = [npm, "pack", f"{package}@{VERSION}", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_NPM_SECONDS, check=False
        )
        said = done.stderr.strip()
    except subprocess.TimeoutExpired:
        said = f"no answer after {_NPM_SECONDS} s"
    name = f"{package.removeprefix('@').replace('/', '-')}-{VERSION}.tgz"
    if not (folder / name).is_file():
        lines = [line for line in said.splitlines() if line.startswith("npm error")]
        # A stack of calls inside npm helps nobody.
        errors = [line for line in lines if not line.startswith("npm error     at ")] or [said]
        raise OSError(
            f"npm could not fetch {package} {VERSION}. With a network, try again; without one, get "
            f"{CORE} and {WASM_UTILS} elsewhere and pass the folder they are in as --runtime. "
            f"Received: {' '.join(errors)[:500]}"
        )
    return (folder / name).read_bytes()


def find_packages(source: str | os.PathLike[str]) -> Path:
    """Checks a folder that is to have LiteRT.js in it.

    Args:
        source: as for `install_runtime`.

    Returns:
        The folder that `@litertjs` lies in.

    Raises:
        ValueError: if the folder has not the files of this release.
    """
    source = Path(source)
    for packages in (source, source / "node_modules"):
        if (packages / CORE).is_dir():
            break
    else:
        raise ValueError(
            f"The runtime's folder must hold {CORE} and {WASM_UTILS}, as the node_modules of "
            f"`npm install {CORE}@{VERSION}` does. Received: {source}"
        )
    for package in (CORE, WASM_UTILS):
        try:
            text = (packages / package / "package.json").read_text(encoding="utf-8")
            version = json.loads(text)["version"]
        except (OSError, ValueError, KeyError, TypeError):
            version = None
        if version != VERSION:
            raise ValueError(
                f"Pages are made for LiteRT.js {VERSION}: `npm install {CORE}@{VERSION} "
                f"{WASM_UTILS}@{VERSION}`. Received: {package} {version} in {packages}"
            )
    missing = [path for owner, path in FILES.values() if not (packages / owner / path).is_file()]
    if missing:
        raise ValueError(f"The runtime lacks files. Received: no {', '.join(missing)} in {source}")
    return packages


def _cache_folder() -> Path:
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tfvae"
