"""What the tools that measure a server share: a model to serve, and the answers it must give."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfvae
from tfvae.export import saved_model

SIGNATURES = (
    "encode",
    "decode",
    "reconstruct",
    "sample",
    "interpolate",
    "log_prob",
    "anomaly_score",
)
TOLERANCE = 1e-5


def add_version(folder: Path, seed: int) -> Path:
    """Adds a version of a dense 784-512-256-16 VAE, untrained: what it computes costs the same.

    Args:
        folder: the model's folder.
        seed: decides its weights.

    Returns:
        The version's folder.
    """
    keras.utils.set_random_seed(seed)
    vae = tfvae.VAE.for_images((28, 28, 1), latent_dim=16, hidden=(512, 256))
    return saved_model(vae, folder)


def example(name: str, rows: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Inputs of a signature.

    Args:
        name: the signature's.
        rows: how many rows.
        rng: what decides them.

    Returns:
        Arrays by name.
    """
    x, a, b = rng.random((3, rows, 28, 28, 1), np.float32)
    seed = rng.integers(-(2**31), 2**31, (rows, 2)).astype(np.int32)
    z = rng.normal(size=(rows, 16)).astype(np.float32)
    t = rng.random(rows, np.float32)
    everything = {"x": x, "a": a, "b": b, "seed": seed, "z": z, "t": t}
    names = {
        "decode": ("z",),
        "sample": ("seed",),
        "interpolate": ("a", "b", "t"),
        "log_prob": ("x", "seed"),
        "anomaly_score": ("x", "seed"),
    }
    return {key: everything[key] for key in names.get(name, ("x",))}


class Model:
    """A version as TensorFlow computes it here, to compare a server's answers with.

    Args:
        folder: the version's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._loaded = tf.saved_model.load(str(folder))

    def answer(self, name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Computes a signature, one row at a time: in no company at all."""
        rows = len(next(iter(inputs.values())))
        parts = [
            self._loaded.signatures[name](
                **{key: tf.constant(array[i : i + 1]) for key, array in inputs.items()}
            )
            for i in range(rows)
        ]
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def largest_error(answer: dict[str, Any], expected: dict[str, np.ndarray]) -> float:
    """The largest difference, relative where a value is above 1."""
    if answer.keys() != expected.keys():
        return float("inf")
    differences = [
        np.max(np.abs(answer[key] - value) / np.maximum(1.0, np.abs(value)))
        for key, value in expected.items()
    ]
    return float(max(differences))


def resident_mib(pid: int, peak: bool = False) -> float:
    """Memory of a process in MiB, now or at most so far."""
    field = "VmHWM" if peak else "VmRSS"
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
