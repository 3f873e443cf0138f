"""The two files beside a model's versions that say how it is served.

    models.config             its name, which versions are served, and labels for them
    batching_parameters.txt   how concurrent requests are answered together

Both are TensorFlow Serving's own, in protobuf's text form, and both servers read them. The base
path in `models.config` is that of the machine it was written for, often a container; here the
model lies where the file does.

Reference:
    tensorflow/serving, `g3doc/serving_config.md` and `batching/README.md`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from tfvae.serving.messages import message

MODELS_FILE = "models.config"
BATCHING_FILE = "batching_parameters.txt"


@dataclass(frozen=True)
class BatchingOptions:
    """How concurrent requests are answered together.

    Attributes:
        enabled: whether they are.
        max_batch_size: rows of a batch, and so of a request.
        timeout_seconds: how long the first request of a batch waits for others.
        max_enqueued_batches: batches that wait for a thread; more are refused.
        num_threads: batches computed at a time.
    """

    enabled: bool = True
    max_batch_size: int = 64
    timeout_seconds: float = 0.002
    max_enqueued_batches: int = 256
    num_threads: int = os.cpu_count() or 1


def read_batching(folder: Path, enabled: bool = True) -> BatchingOptions:
    """Reads `batching_parameters.txt`.

    Args:
        folder: where it may lie.
        enabled: whether requests are answered together at all.

    Returns:
        Its options, and defaults for those that it leaves out.

    Raises:
        ValueError: if it is damaged, or a number is not positive.
    """
    path = folder / BATCHING_FILE
    given = _parse(path, message("BatchingParameters"))
    names = {
        "max_batch_size": "max_batch_size",
        "batch_timeout_micros": "timeout_seconds",
        "max_enqueued_batches": "max_enqueued_batches",
        "num_batch_threads": "num_threads",
    }
    options: dict[str, Any] = {}
    for name, option in names.items():
        if given.HasField(name):
            value = getattr(given, name).value
            if value < (0 if option == "timeout_seconds" else 1):
                raise ValueError(f"`{name}` in {path} must be positive. Received: {value}")
            options[option] = value / 1e6 if option == "timeout_seconds" else value
    return BatchingOptions(enabled, **options)


def read_model_config(folder: Path) -> Any:
    """Reads `models.config`, or makes what it says by default.

    Args:
        folder: the folder of the versions.

    Returns:
        A `ModelServerConfig` of one model, whose base path is `folder`.

    Raises:
        ValueError: if there is no such folder, or the file is damaged or of other models.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        raise ValueError(f"There is no such folder to serve. Received: {str(folder)!r}")
    config = _parse(folder / MODELS_FILE, model_server_config_pb2.ModelServerConfig())
    models = config.model_config_list.config
    if not models:
        models.add(name=folder.name, model_platform="tensorflow")
    ours = [model for model in models if Path(model.base_path).name == folder.name]
    if len(models) > 1 and len(ours) != 1:
        raise ValueError(
            f"{MODELS_FILE} must have one model whose base path ends in {folder.name!r}. "
            f"Received: {[model.base_path for model in models]}"
        )
    model = ours[0] if len(models) > 1 else models[0]
    model.base_path = str(folder)
    single = model_server_config_pb2.ModelServerConfig()
    single.model_config_list.config.append(model)
    return single


def _parse(path: Path, config: Any) -> Any:
    if path.is_file():
        try:
            text_format.Parse(path.read_text(encoding="utf-8"), config, allow_unknown_field=True)
        except (text_format.ParseError, UnicodeDecodeError) as error:
            raise ValueError(f"The file is damaged ({error}). Received: {path}") from error
    return config


def versions_in(folder: Path) -> dict[int, Path]:
    """The versions that lie in a model's folder: its folders whose names are numbers."""
    return {
        int(path.name): path for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()
    }


def wanted_versions(policy: Any, present: Iterable[int]) -> list[int]:
    """Which versions a `ServableVersionPolicy` serves, the highest first.

    Args:
        policy: the highest one by default, a number of the highest, all, or those it names.
        present: the versions there are.

    Returns:
        Their numbers.

    Example:
        >>> from tensorflow_serving.config import model_server_config_pb2
        >>> policy = model_server_config_pb2.ModelConfig().model_version_policy
        >>> wanted_versions(policy, [1, 3, 2])
        [3]
        >>> policy.specific.versions.extend([1, 2, 9])
        >>> wanted_versions(policy, [1, 3, 2])
        [2, 1]
    """
    numbers = sorted(present, reverse=True)
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return numbers
    if choice == "specific":
        return [number for number in numbers if number in policy.specific.versions]
    return numbers[: max(1, policy.latest.num_versions)]
