"""`tfvae doctor`: what is installed, what is missing, how to get it."""

from __future__ import annotations

import importlib.metadata
import platform
import re

import tfvae

_REQUIRED = ("tensorflow", "keras", "tensorflow-probability", "tf-keras", "numpy")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _extras() -> dict[str, list[str]]:
    """The packages of each extra, as the installed package declares them."""
    extras: dict[str, list[str]] = {}
    if _version("tfvae") is None:
        return extras
    for requirement in importlib.metadata.requires("tfvae") or []:
        match = re.fullmatch(r"([A-Za-z0-9_.-]+)[^;]*;\s*extra == [\"'](.+)[\"']", requirement)
        if match:
            extras.setdefault(match.group(2), []).append(match.group(1))
    return extras


def report() -> list[str]:
    """The lines that `tfvae doctor` prints."""
    import tensorflow as tf

    source = "" if _version("tfvae") else " (from source, not installed: pip install .)"
    python = platform.python_version()
    lines = [f"tfvae {tfvae.__version__}{source}, Python {python}, {platform.platform()}"]
    for package in _REQUIRED:
        lines.append(f"  {package} {_version(package) or 'MISSING: pip install ' + package}")
    devices = [f"{d.device_type} {d.name}" for d in tf.config.list_physical_devices()]
    lines.append("devices: " + ", ".join(devices))
    for extra, packages in sorted(_extras().items()):
        missing = [package for package in packages if _version(package) is None]
        state = f"missing {', '.join(missing)}: pip install 'tfvae[{extra}]'" if missing else "ok"
        lines.append(f"extra {extra}: {state}")
    return lines
