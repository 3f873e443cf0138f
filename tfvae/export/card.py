"""The model card: what a file holds, where it came from and how to call it, as JSON.

It lies beside every export, and inside every `.tflite` file as well: files get separated.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfvae import __version__
from tfvae.export.flatbuffer import read_metadata
from tfvae.export.signatures import OUTPUT_MEANINGS, Choices, Input, likelihood_layer
from tfvae.export.tracing import Traced

CARD_FILE = "model_card.json"
"""The card's name in a version folder."""


def check_about(about: Mapping[str, Any] | None) -> dict[str, Any]:
    """Checks what the caller says of a model.

    Args:
        about: free entries, such as `label`, `licence`, `command`, `data` and `nats`.

    Returns:
        A copy.

    Raises:
        ValueError: if JSON cannot hold them.
    """
    try:
        stored: dict[str, Any] = json.loads(json.dumps(dict(about or {}), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`about` must be a dictionary that JSON can hold ({error}). Received: {about!r}"
        ) from error
    return stored


def make_card(
    model: Any,
    traced: Mapping[str, Traced],
    left_out: Mapping[str, str],
    choices: Choices,
    **entries: Any,
) -> dict[str, Any]:
    """Describes an export.

    Args:
        model: the model.
        traced: the signatures by their names in the file.
        left_out: the signatures that the model does not have, and why.
        choices: how the functions are computed.
        **entries: what only the format knows, such as `format`, `version` and `report`.

    Returns:
        The card, as JSON can hold it.
    """
    described = {
        name: {
            "inputs": {
                given.name: _describe_input(given, made.batch) for given in made.signature.inputs
            },
            "outputs": {
                output: {
                    "shape": ["batch" if size is None else size for size in tensor.shape],
                    "dtype": tensor.dtype.name,
                    "meaning": OUTPUT_MEANINGS.get(output, "parameter of the likelihood"),
                }
                for output, tensor in sorted(made.function.structured_outputs.items())
            },
        }
        for name, made in traced.items()
    }
    prior = getattr(model, "prior", None)
    return {
        **entries,
        "model": {
            "class": type(model).__name__,
            "data_shape": list(model.data_shape),
            "latent_shape": list(model.latent_shape),
            "likelihood": type(likelihood_layer(model)).__name__,
            "prior": None if prior is None else type(prior).__name__,
            "parameters": sum(math.prod(weight.shape) for weight in model.trainable_weights),
        },
        "seeds": "int32 pairs, one a row; row i of `vae.sample(n, seed=s)` has the seed (s, i)",
        "num_importance_samples": choices.num_importance_samples,
        "signatures": described,
        "left_out": dict(left_out),
        "made_with": {
            "tfvae": __version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
    }


def _describe_input(given: Input, batch: int | None) -> dict[str, Any]:
    described: dict[str, Any] = {
        "shape": ["batch" if batch is None else batch, *given.shape],
        "dtype": given.dtype.name,
        "meaning": given.meaning,
    }
    if given.interval is not None:
        described["interval"] = list(given.interval)
    if given.name in ("x", "a", "b") and given.interval == (0.0, 1.0):
        # As in TFLite's normalisation options: value = (byte - mean) / std.
        described["from_bytes"] = {"mean": 0.0, "std": 255.0}
    if given.name == "z":
        described["prior"] = {"mean": 0.0, "std": 1.0}
    return described


def card_text(card: Mapping[str, Any]) -> str:
    """The card as a text to read, lists of plain values on one line."""
    text = json.dumps(card, indent=2)
    return re.sub(r"\[[^][{}]*\]", lambda found: " ".join(found[0].split()), text) + "\n"


def read_card(path: Path | str) -> dict[str, Any]:
    """Reads the model card of an export.

    Args:
        path: a `.tflite` file, or the version folder of a SavedModel.

    Returns:
        The card.

    Raises:
        ValueError: if there is no card.
    """
    path = Path(path)
    if path.is_dir() and (path / CARD_FILE).is_file():
        text: str | None = (path / CARD_FILE).read_text(encoding="utf-8")
    else:
        text = read_metadata(path.read_bytes()) if path.is_file() else None
    if text is None:
        raise ValueError(
            "There is no model card: give a .tflite file or a version folder that tfvae made. "
            f"Received: path={str(path)!r}"
        )
    card: dict[str, Any] = json.loads(text)
    return card
