"""`tfvae train`: data, model, fit, and what is left in the run folder."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfvae import data, models
from tfvae.callbacks import (
    Checkpoints,
    HistoryCSV,
    LatentDiagnostics,
    TrainingInterrupted,
    read_history,
)
from tfvae.cli import console
from tfvae.cli.datasets import held_out, load_splits, training_batches, with_defaults
from tfvae.cli.pictures import write_pictures
from tfvae.cli.progress import EpochLines, LiveProgress
from tfvae.cli.run import CHECKPOINTS, CONFIG, HISTORY, LOGS, MODEL, RunConfig
from tfvae.cli.scores import evaluate
from tfvae.saving import latest_checkpoint, read_state, save_model

# The summary is a look, not a published number: `tfvae evaluate` takes all examples and samples.
_SUMMARY_EXAMPLES, _SUMMARY_SAMPLES = 500, 100
# Measured after every epoch, which must not take longer for it.
_DIAGNOSED_EXAMPLES = 500


def start(config: RunConfig, folder: Path) -> int:
    """Trains in a new folder.

    Raises:
        ValueError: if the folder holds a run already.
    """
    if (folder / CONFIG).exists():
        raise ValueError(
            "The folder holds a run already: continue it with --resume, or choose another --out. "
            f"Received: --out {folder}"
        )
    splits = load_splits(config)
    config = with_defaults(config, splits.image_shape)
    model = build(config, splits.train.images)
    folder.mkdir(parents=True, exist_ok=True)
    config.write(folder)
    return _train(config, folder, splits, model, None)


def resume(folder: Path, options: dict[str, Any]) -> int:
    """Continues the training in a folder, to more epochs if the options say so.

    Raises:
        ValueError: if the folder is not a run, or an option differs from what the run began with.
    """
    config = RunConfig.read(folder)
    epochs = options.pop("epochs", config.epochs)
    for name, value in options.items():
        if getattr(config, name) != value:
            raise ValueError(
                f"A resumed run keeps its options, only --epochs may grow: it began with "
                f"{name}={getattr(config, name)!r}. Received: {name}={value!r}"
            )
    config = replace(config, epochs=epochs)
    splits = load_splits(config)
    config.write(folder)
    model = build(config, splits.train.images)
    return _train(config, folder, splits, model, latest_checkpoint(folder / CHECKPOINTS))


def build(config: RunConfig, images: np.ndarray) -> Any:
    """The model that the options describe for the training images, compiled."""
    keras.utils.set_random_seed(config.seed)
    arguments: dict[str, Any] = {
        "latent_dim": config.latent_dim,
        "network": config.network,
        "hidden": config.hidden or None,
        "activation": config.activation,
        "likelihood": config.likelihood,
        "mean": images.mean(axis=0) / (255 if images.dtype == np.uint8 else 1),
    }
    image_shape = images.shape[1:]
    if config.model == "vae":
        model = models.VAE.for_images(image_shape, **arguments, beta=config.beta)
    else:
        model = models.Autoencoder.for_images(image_shape, **arguments)
    model.compile(keras.optimizers.Adam(config.learning_rate))
    return model


def _train(
    config: RunConfig, folder: Path, splits: data.DataSplits, model: Any, checkpoint: Path | None
) -> int:
    images = splits.train.images
    steps = data.steps_per_epoch(len(images), config.batch_size)
    state = {"step": 0, "epoch": 0, "batch": 0} if checkpoint is None else read_state(checkpoint)
    console.err.print(_headline(config, splits, model, steps))
    if checkpoint is not None:
        console.err.print(f"resuming after {state['step']} of {config.epochs * steps} steps")
    if state["epoch"] >= config.epochs:
        console.err.print("the training is complete; a larger --epochs continues it")
        return 0

    rows = [row for row in read_history(folder / HISTORY) if row["epoch"] <= state["epoch"]]
    history = HistoryCSV(folder / HISTORY, rows)
    checkpoints = Checkpoints(
        folder / CHECKPOINTS, steps, first_batch=state["batch"], resume_from=checkpoint
    )
    progress = LiveProgress if console.err.is_terminal else EpochLines
    validation = held_out(config, splits.validation.images)
    # What is measured comes before what records it, and the checkpoint last: when it stops the
    # training, the epoch's row is written.
    callbacks = [
        progress(config.epochs, steps),
        *_diagnostics(config, folder, validation),
        history,
        *_tensorboard(folder),
        checkpoints,
    ]
    watch = console.Stopwatch()
    try:
        _fit(config, model, images, validation, state, callbacks)
    except TrainingInterrupted as stop:
        save_model(model, folder / MODEL)
        command = f"tfvae train --resume --out {folder}"
        console.err.print(f"{stop}; {MODEL} is written. Continue with: {command}")
        return 128 + stop.signal_number
    finally:
        checkpoints.restore_signals()
        callbacks[0].close()
    save_model(model, folder / MODEL)
    _finish(config, folder, splits, model, history.rows, watch.seconds())
    return 0


def _fit(
    config: RunConfig,
    model: Any,
    images: np.ndarray,
    validation: np.ndarray,
    state: dict[str, int],
    callbacks: list[keras.callbacks.Callback],
) -> None:
    """Runs what is left of the training: first of the epoch it stopped in, then of the others."""
    steps = data.steps_per_epoch(len(images), config.batch_size)
    epoch, batch = state["epoch"], state["batch"]
    parts = [(epoch, config.epochs, steps)]
    if batch:
        parts = [(epoch, epoch + 1, steps - batch), (epoch + 1, config.epochs, steps)]
    for first, last, length in parts:
        if first < last:
            model.fit(
                training_batches(config, images, first * steps + steps - length),
                initial_epoch=first,
                epochs=last,
                steps_per_epoch=length,
                validation_data=(validation,) if len(validation) else None,
                validation_batch_size=config.batch_size,
                callbacks=callbacks,
                shuffle=False,
                verbose=0,
            )


def _headline(config: RunConfig, splits: data.DataSplits, model: Any, steps: int) -> str:
    shape = "x".join(map(str, splits.image_shape))
    parts = (
        f"{len(splits.train)} train, {len(splits.validation)} validation, {len(splits.test)} test"
    )
    return (
        f"[bold]{config.model}[/] on {splits.name}: {shape} images ({parts}); {config.network} "
        f"network, {model.count_params():,} parameters, {config.latent_dim} latent dimensions, "
        f"{config.likelihood} likelihood, binarize {config.binarize}; "
        f"{model.execution(config.batch_size, steps)}"
    )


def _diagnostics(
    config: RunConfig, folder: Path, validation: np.ndarray
) -> list[keras.callbacks.Callback]:
    """What becomes of the code, on validation images; an autoencoder has no rate to measure."""
    if config.model != "vae" or len(validation) < 2:
        return []
    log_dir = folder / LOGS / "latent" if _has_tensorboard() else None
    with console.quiet_start():
        return [LatentDiagnostics(validation, max_examples=_DIAGNOSED_EXAMPLES, log_dir=log_dir)]


def _has_tensorboard() -> bool:
    return importlib.util.find_spec("tensorboard") is not None


def _tensorboard(folder: Path) -> list[keras.callbacks.Callback]:
    if not _has_tensorboard():
        return []
    with console.quiet_start():
        return [keras.callbacks.TensorBoard(folder / LOGS, write_graph=False)]


def _finish(
    config: RunConfig,
    folder: Path,
    splits: data.DataSplits,
    model: Any,
    rows: list[dict[str, float]],
    seconds: float,
) -> None:
    """The summary and the pictures."""
    test = splits.test.images[:_SUMMARY_EXAMPLES]
    scores = evaluate(config, model, test, _SUMMARY_SAMPLES)
    files = write_pictures(config, folder, splits, model, rows)
    console.out.print(f"\ntrained {len(rows)} epochs in {console.seconds_text(seconds)}")
    for line in scores.lines():
        console.out.print(line)
    console.out.print(f"\n{folder}: {MODEL}, {HISTORY}, " + ", ".join(sorted(files)))
