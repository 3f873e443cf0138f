"""The pictures of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from tfvae import data, plots
from tfvae.cli.datasets import clean
from tfvae.cli.run import RunConfig

_NUM_SAMPLES, _NUM_RECONSTRUCTIONS, _NUM_PATHS, _STEPS, _MANIFOLD = 64, 20, 6, 10, 20


def viewable(images: np.ndarray) -> np.ndarray:
    """Means of a likelihood as pixels: a normal one may lie a little outside [0, 1]."""
    return np.clip(images, 0.0, 1.0)


def save_samples(model: Any, n: int, seed: int, path: Path) -> None:
    """Draws `n` samples of the model."""
    plots.image_grid(viewable(model.sample(n, seed=seed)), path=path)


def save_reconstructions(model: Any, images: np.ndarray, path: Path) -> None:
    """Draws images above what the model makes of them."""
    originals = clean(images[:_NUM_RECONSTRUCTIONS])
    plots.reconstructions(originals, viewable(model.reconstruct(originals)), path=path)


def save_interpolations(model: Any, images: np.ndarray, path: Path) -> None:
    """Draws paths between pairs of images through the latent space."""
    chosen = clean(images[: 2 * min(_NUM_PATHS, len(images) // 2)])
    if not len(chosen):
        raise ValueError(f"An interpolation needs two images. Received: {len(images)}")
    frames = model.interpolate(chosen[0::2], chosen[1::2], _STEPS)
    plots.interpolations(viewable(frames), path=path)


def save_manifold(model: Any, path: Path) -> None:
    """Draws what a two-dimensional latent space decodes to, over quantiles of the prior."""
    quantiles = np.array(
        [NormalDist().inv_cdf((k + 0.5) / _MANIFOLD) for k in range(_MANIFOLD)], np.float32
    )
    z1, z2 = np.meshgrid(quantiles, quantiles)
    means = model.decode(np.stack([z1.ravel(), z2.ravel()], axis=1)).mean().numpy()
    plots.latent_manifold(viewable(means), quantiles=quantiles, path=path)


def save_scatter(model: Any, part: data.Images, path: Path) -> None:
    """Draws the posterior means of a two-dimensional latent space, coloured by label."""
    limit = 5000
    codes = model.transform(clean(part.images[:limit]))
    labels = None if part.labels is None else np.asarray(part.labels[:limit])
    if labels is None and part.attributes:
        labels = next(iter(part.attributes.values()))[:limit]
    plots.latent_scatter(codes, labels, path=path)


def write_pictures(
    config: RunConfig,
    folder: Path,
    splits: data.DataSplits,
    model: Any,
    rows: list[dict[str, float]],
) -> list[str]:
    """Writes every picture that the model and the data allow; returns the names of the files."""
    test = splits.test
    pictures: dict[str, Callable[[Path], Any]] = {
        "reconstructions.png": lambda path: save_reconstructions(model, test.images, path),
        "interpolations.png": lambda path: save_interpolations(model, test.images, path),
        "training.png": lambda path: plots.training_curves(_columns(rows), path=path),
    }
    if config.model == "vae":
        pictures["samples.png"] = lambda path: save_samples(model, _NUM_SAMPLES, config.seed, path)
    if config.latent_dim == 2:
        pictures["scatter.png"] = lambda path: save_scatter(model, test, path)
        if config.model == "vae":
            pictures["manifold.png"] = lambda path: save_manifold(model, path)
    for name, draw in pictures.items():
        draw(folder / name)
    return list(pictures)


def _columns(rows: list[dict[str, float]]) -> dict[str, list[float]]:
    names = dict.fromkeys(name for row in rows for name in row if name not in ("epoch", "seconds"))
    return {name: [row.get(name, np.nan) for row in rows] for name in names}
