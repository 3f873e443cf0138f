"""`tfvae export`: a run's model as a SavedModel or a TFLite file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfvae import data, export
from tfvae.cli.datasets import clean, load_splits
from tfvae.cli.run import Run

# Enough to find the range of every activation.
_NUM_REPRESENTATIVE = 500


def export_saved_model(run: Run, path: Path, version: int | None) -> Path:
    """Writes a version for TensorFlow Serving; returns its folder."""
    return export.saved_model(run.model, path, version, **_common(run))


def export_tflite(run: Run, path: Path, quantization: str | None, integer_io: bool) -> Path:
    """Writes a TFLite file; returns its path."""
    return export.tflite(run.model, path, quantization, integer_io=integer_io, **_common(run))


def _common(run: Run) -> dict[str, Any]:
    splits: data.DataSplits = load_splits(run.config)
    about = {"label": run.folder.resolve().name, "data": splits.name}
    representative = clean(splits.train.images[:_NUM_REPRESENTATIVE])
    return {"representative": representative, "about": about}
