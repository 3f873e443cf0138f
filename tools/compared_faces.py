"""What the comparisons of models on faces have in common: their images, their training, a table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfvae.data import faces

LATENT, HIDDEN, NUM_TEST = 16, (24, 48), 4000


def parser(description: str) -> argparse.ArgumentParser:
    """The options of every comparison."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--out", type=Path, required=True, help="the picture")
    made.add_argument("--faces", type=int, default=12_000)
    made.add_argument("--epochs", type=int, default=15)
    return made


def images_and_truth(number: int, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Faces in [0, 1], float32 `[N, 32, 32, 3]`, and their attributes."""
    images, truth = faces(number, seed=seed)
    return images.astype(np.float32) / 255, truth


def train(kind: Any, images: np.ndarray, epochs: int, **options: Any) -> Any:
    """A convolutional model of that kind with a normal likelihood, from seed 0."""
    keras.utils.set_random_seed(0)
    model = kind.for_images(
        images.shape[1:],
        latent_dim=LATENT,
        network="conv",
        hidden=HIDDEN,
        likelihood="normal",
        mean=images.mean(axis=0),
        **options,
    )
    model.compile()
    model.fit(images, epochs=epochs, batch_size=64, verbose=2)
    return model


def table(columns: dict[str, dict[str, float]]) -> str:
    """In Markdown, a column for each dictionary."""
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for row in next(iter(columns.values())):
        cells = " | ".join(f"{column[row]:.3g}" for column in columns.values())
        lines.append(f"| {row} | {cells} |")
    return "\n".join(lines)
