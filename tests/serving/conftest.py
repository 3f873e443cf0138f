"""A small export, and a server of it in a process of its own that all tests share."""

from __future__ import annotations

import os

# TensorFlow reads it when it is imported, which happens below.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

import tfvae
from tfvae.export import saved_model
from tfvae.serving import Limits, LocalServer
from tfvae.serving.tensorflow_server import PROGRAM

LIMITS = Limits(max_body_bytes=6 << 20, read_seconds=2.0)
CONFIG = """
model_config_list {
  config {
    name: "shapes"
    base_path: "/models/shapes"
    model_platform: "tensorflow"
    model_version_policy { all {} }
    version_labels { key: "stable" value: 1 }
    version_labels { key: "ghost" value: 9 }
  }
}
"""
BATCHING = "max_batch_size { value: 16 } batch_timeout_micros { value: 1000 }"


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model with two versions, the second one trained differently."""
    folder = tmp_path_factory.mktemp("served") / "shapes"
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        vae = tfvae.VAE.for_images((4, 4, 1), latent_dim=2, hidden=(8,))
        saved_model(vae, folder, num_importance_samples=4)
    (folder / "models.config").write_text(CONFIG)
    (folder / "batching_parameters.txt").write_text(BATCHING)
    return folder


@pytest.fixture(scope="session")
def reference(export: Path) -> Callable[..., dict[str, np.ndarray]]:
    """Computes a signature of a version with TensorFlow, here and not on the server."""
    loaded = {version: tf.saved_model.load(str(export / str(version))) for version in (1, 2)}

    def compute(name: str, version: int = 2, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        tensors = {key: tf.constant(value) for key, value in inputs.items()}
        return {k: v.numpy() for k, v in loaded[version].signatures[name](**tensors).items()}

    return compute


@pytest.fixture(scope="session")
def inputs() -> dict[str, dict[str, np.ndarray]]:
    """Three rows for every signature."""
    noise = np.random.default_rng(0)
    x, other = noise.random((2, 3, 4, 4, 1), np.float32)
    seed = np.array([[7, 0], [7, 1], [-5, 2**31 - 1]], np.int32)
    return {
        "encode": {"x": x},
        "decode": {"z": noise.normal(size=(3, 2)).astype(np.float32)},
        "reconstruct": {"x": x},
        "sample": {"seed": seed},
        "interpolate": {"a": x, "b": other, "t": np.array([0.0, 0.3, 1.0], np.float32)},
        "log_prob": {"x": x, "seed": seed},
        "anomaly_score": {"x": x, "seed": seed},
    }


@dataclass
class Running:
    """A server, and the plainest clients of it."""

    local: LocalServer
    prediction: Any
    models: Any
    http: httpx.Client


def _run(export: Path, embedded: bool) -> Iterator[Running]:
    with LocalServer(export, limits=LIMITS, embedded=embedded) as local:
        address = local.grpc_address.removeprefix("grpc://")
        options = [("grpc.max_send_message_length", -1)]
        with (
            grpc.insecure_channel(address, options=options) as channel,
            httpx.Client(base_url=local.rest_address, trust_env=False, timeout=30.0) as http,
        ):
            yield Running(
                local,
                prediction_service_pb2_grpc.PredictionServiceStub(channel),
                model_service_pb2_grpc.ModelServiceStub(channel),
                http,
            )


@pytest.fixture(scope="session")
def embedded(export: Path) -> Iterator[Running]:
    """The embedded server."""
    yield from _run(export, embedded=True)


@pytest.fixture(scope="session", params=["embedded", *[PROGRAM][: bool(shutil.which(PROGRAM))]])
def running(request: pytest.FixtureRequest, export: Path) -> Iterator[Running]:
    """Each server that this machine has."""
    if request.param == "embedded":
        yield request.getfixturevalue("embedded")
    else:
        yield from _run(export, embedded=False)
