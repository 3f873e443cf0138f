"""The data of a run, as its options say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfvae import data
from tfvae.cli.run import RunConfig

if TYPE_CHECKING:
    import tensorflow as tf

# Validation and test data are binarised once, with a seed of their own.
_HELD_OUT_SEED = 1_000_003


def absolute_source(source: str) -> str:
    """A path as an absolute one, so that a run can be used from anywhere; a name as it is."""
    path = Path(source)
    is_path = path.exists() and source not in {"digits", "faces", *data.KERAS_DATASETS}
    return str(path.resolve()) if is_path else source


def load_splits(config: RunConfig, source: str | None = None) -> data.DataSplits:
    """Loads the run's data, or other data in the same size.

    Raises:
        ValueError: if the images do not fit the run's model.
    """
    return data.load(
        absolute_source(source or config.data),
        image_size=config.image_size,
        num_examples=config.num_examples if source is None else None,
        validation_fraction=config.validation_fraction,
        seed=config.seed,
    )


def _noise(config: RunConfig, images: np.ndarray) -> dict[str, Any]:
    """How the likelihood wants its data: binarised, or spread over their grey levels, or as is."""
    dequantize = config.likelihood == "normal" and images.dtype == np.uint8
    return {"binarize": config.binarize, "dequantize": dequantize}


def training_batches(config: RunConfig, images: np.ndarray, start_step: int) -> tf.data.Dataset:
    """All batches of the training from a step on; each is a function of the seed and the step."""
    return data.pipeline(
        images,
        batch_size=config.batch_size,
        shuffle=True,
        seed=config.seed,
        epochs=config.epochs,
        start_step=start_step,
        **_noise(config, images),
    )


def held_out(config: RunConfig, images: np.ndarray) -> np.ndarray:
    """Validation or test data as a model is measured on them: float32, the same at every call."""
    noise = _noise(config, images)
    if noise["binarize"] == "dynamic":
        noise["binarize"] = "static"
    batches = data.pipeline(images, batch_size=1000, seed=_HELD_OUT_SEED, **noise)
    return np.concatenate([batch.numpy() for batch in batches])


def clean(images: np.ndarray) -> np.ndarray:
    """Images in [0, 1] without noise, as pictures show them."""
    return images.astype(np.float32) / 255 if images.dtype == np.uint8 else images


def with_defaults(config: RunConfig, image_shape: tuple[int, ...]) -> RunConfig:
    """Fills in the choices that depend on the data."""
    likelihood = config.likelihood
    if likelihood == "auto":
        likelihood = "bernoulli" if image_shape[-1] == 1 else "normal"
    binarize = config.binarize
    if binarize == "auto":
        binarize = "dynamic" if likelihood == "bernoulli" else "none"
    if binarize != "none" and likelihood != "bernoulli":
        raise ValueError(
            "Binary data need a Bernoulli likelihood: use --likelihood bernoulli or "
            f"--binarize none. Received: --likelihood {likelihood} --binarize {binarize}"
        )
    return replace(config, likelihood=likelihood, binarize=binarize)
