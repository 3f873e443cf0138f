"""Importing `tfvae` is cheap: TensorFlow is loaded when a name that needs it is used."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import tfvae

HEAVY = ("keras", "matplotlib", "tensorflow", "tensorflow_probability", "tf_keras")


def loaded_after(code: str) -> list[str]:
    """Which heavy packages a fresh interpreter has loaded once it ran `code`."""
    report = f"import json, sys; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_after("import tfvae; tfvae.__version__; dir(tfvae)") == []


def test_the_other_test_can_fail():
    assert "keras" in loaded_after(
        "import sys, types; sys.modules['keras'] = types.ModuleType('k')"
    )


@pytest.mark.parametrize("name", tfvae.__all__)
def test_every_public_name_is_there(name):
    assert getattr(tfvae, name) is not None
    assert name in dir(tfvae)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'tfvae' has no attribute 'Vae'"):
        tfvae.Vae  # noqa: B018
