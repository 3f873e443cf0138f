"""Crafted `.keras` files: a good one, with one thing about it changed."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest


@pytest.fixture(scope="session")
def members(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The members of a small Functional model's file, by name."""
    inputs = keras.Input((4,), name="pixels")
    model = keras.Model(inputs, keras.layers.Dense(2, name="code")(inputs))
    model.compile("adam", "mse")
    path = tmp_path_factory.mktemp("good") / "model.keras"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def forge(members: dict[str, bytes], tmp_path: Path) -> Callable[..., Path]:
    """Writes the good file with members replaced, and the configuration edited."""

    def make(edit: Callable[[dict[str, Any]], None] | None = None, **replaced: bytes) -> Path:
        content = dict(members)
        for name, data in replaced.items():
            content[name.replace("_json", ".json").replace("_h5", ".weights.h5")] = data
        if edit is not None:
            config = json.loads(content["config.json"])
            edit(config)
            content["config.json"] = json.dumps(config).encode()
        path = tmp_path / "model.keras"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
        return path

    return make


@pytest.fixture
def forge_layer(forge: Callable[..., Path]) -> Callable[..., Path]:
    """Writes the good file with its Dense layer replaced by another object."""

    def make(module: str | None, class_name: Any, inner: Any, **more: Any) -> Path:
        def edit(config: dict[str, Any]) -> None:
            layer = config["config"]["layers"][1]
            layer.update({"module": module, "class_name": class_name, "config": inner, **more})

        return forge(edit)

    return make
