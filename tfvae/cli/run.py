"""A run folder: what a training was told, and what came of it.

model.keras      the model, written last and whole
config.json      the options of the training
history.csv      a row for each epoch, in nats
checkpoints/     what `--resume` starts from
logs/            TensorBoard's, if it is installed
*.png            pictures
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tfvae.saving import write_atomically

MODEL, CONFIG, HISTORY, CHECKPOINTS, LOGS = (
    "model.keras",
    "config.json",
    "history.csv",
    "checkpoints",
    "logs",
)


@dataclass(frozen=True)
class RunConfig:
    """The options of a training; `tfvae train --help` says what each means."""

    data: str
    model: str
    network: str
    hidden: tuple[int, ...]
    activation: str
    latent_dim: int
    likelihood: str
    beta: float
    binarize: str
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    image_size: int | None
    num_examples: int | None
    validation_fraction: float

    def write(self, folder: Path) -> None:
        """Writes `config.json`."""
        import tfvae

        text = json.dumps({"tfvae": tfvae.__version__, **asdict(self)}, indent=2)
        with write_atomically(folder / CONFIG) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> RunConfig:
        """Reads `config.json`.

        Raises:
            ValueError: if the folder is not a run, or the file is damaged.
        """
        path = folder / CONFIG
        if not path.is_file():
            raise ValueError(
                f"This is not a run folder: it has no {CONFIG}. `tfvae train --out DIR` makes one. "
                f"Received: {folder}"
            )
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            values = {field.name: stored[field.name] for field in fields(cls)}
            return cls(**{**values, "hidden": tuple(values["hidden"])})
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"The options of the run are damaged ({error}). Received: {path}"
            ) from error


@dataclass(frozen=True)
class Run:
    """A finished or stopped training, loaded."""

    folder: Path
    config: RunConfig
    model: Any

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Loads the model of a run folder.

        Raises:
            ValueError: if the folder is not a run, or its training has not written a model yet.
        """
        from tfvae.models import load

        config = RunConfig.read(folder)
        return cls(folder, config, load(folder))
