"""Saving, loading and resuming, safe against crashes and against hostile files."""

from tfvae.saving.archive import check_archive
from tfvae.saving.atomic import write_atomically
from tfvae.saving.checkpoint import (
    latest_checkpoint,
    load_checkpoint,
    read_state,
    save_checkpoint,
)
from tfvae.saving.model_file import load, save_model

__all__ = [
    "check_archive",
    "latest_checkpoint",
    "load",
    "load_checkpoint",
    "read_state",
    "save_checkpoint",
    "save_model",
    "write_atomically",
]
