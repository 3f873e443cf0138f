"""A page that holds a model: its `.tflite` file, what the sliders need, and hand-written HTML.

    index.html, page.css, *.js     as they lie in this package, the same for every model
    page.json                      what this model is, in words and numbers
    attributes.bin                 how well its attributes are known, see `attributes.describe`
    examples.png                   a few pictures to try, side by side
    model.tflite                   the model, float32
    litert/                        LiteRT.js, see `tfvae.explorer.runtime`

Any server of static files can show it, and nothing in it asks for anything from elsewhere.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tfvae import export, random
from tfvae.explorer import attributes, dimensions
from tfvae.explorer.runtime import fetch_runtime, find_packages, install_runtime
from tfvae.latent.codes import decode_means, encode, encode_means
from tfvae.models.examples import as_batch
from tfvae.saving.atomic import write_atomically

PAGE_FILE = "page.json"
"""The file that makes a folder a page."""

FORMAT = 1
MODEL_FILE, ATTRIBUTES_FILE, EXAMPLES_FILE = "model.tflite", "attributes.bin", "examples.png"
NUM_EXAMPLES = 8
NUM_DRAWS = 32
"""Draws of a posterior that the page measures its uncertainty with; `decode_16` takes them."""

_SIGNATURES = ("encode", "decode", "sample")
# Without data, a model is looked at through so many of its own samples.
_NUM_OWN_SAMPLES = 1024
_NUM_TRIED_SEEDS = 64


def build(
    model: Any,
    path: str | os.PathLike[str],
    *,
    images: Any = None,
    labels: Mapping[str, Any] | None = None,
    meanings: Mapping[str, str] | None = None,
    title: str = "",
    noun: str = "picture",
    about: Mapping[str, Any] | None = None,
    runtime: str | os.PathLike[str] | bool = True,
) -> Path:
    """Writes a folder with a web page that explores the latent space of a model.

    Needs the extra `export`: `pip install 'tfvae[export]'`.

    Args:
        model: a built `tfvae.VAE` or `tfvae.Autoencoder` of grey or colour pictures in [0, 1].
        path: the folder to write; files of an earlier page in it are replaced.
        images: pictures `[N, H, W, C]` that the model knows, uint8 or in [0, 1]: they say which
            dimensions are active and how far they go, the last of them are offered to try. `None`
            takes samples of the model.
        labels: numbers or booleans `[N]` by name; those that the code knows get a slider.
        meanings: what an attribute means, by its name, one line.
        title: the page's heading.
        noun: what the model makes, such as `face`.
        about: entries to show and to keep in `page.json`, such as `data` and `command`.
        runtime: `True` to fetch LiteRT.js as `fetch_runtime` does, `False` to leave it out, or a
            folder to take it from.

    Returns:
        The folder.

    Raises:
        TypeError: if the model is of another class, or an autoencoder gets no `images`.
        ValueError: if the model does not make pictures, or images or labels do not fit it.
        OSError: if the runtime cannot be fetched.

    Example:
        >>> import tempfile, tfvae
        >>> from tfvae.data import faces
        >>> images, labels = faces(40, size=16)
        >>> vae = tfvae.VAE.for_images(
        ...     (16, 16, 3), latent_dim=2, hidden=(8,), likelihood="normal"
        ... )
        >>> page = build(vae, tempfile.mkdtemp(), images=images, labels=labels, runtime=False)
        >>> read_page(page)["data_shape"]
        [16, 16, 3]
    """
    height, width, channels = _check_picture_shape(model)
    pictures = _check_pictures(model, images)
    codes = encode(model, pictures)
    size = codes.mean.shape[1]
    fitted = attributes.fit(codes, _check_labels(labels, images, len(pictures)))
    entries, factors = attributes.describe(fitted, codes, meanings or {})

    source = _find_runtime(runtime)

    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    # The page counts as built when this file is there, so it goes first and comes last.
    (folder / PAGE_FILE).unlink(missing_ok=True)
    file = export.tflite(
        model,
        folder / MODEL_FILE,
        batch_sizes={"decode": (1, 16)},
        representative=pictures[:500],
        about={"label": title or "tfvae model", **dict(about or {})},
    )
    card = export.read_card(file)
    if "decode" not in card["signatures"]:
        raise ValueError(
            "The page shows what a model decodes, which this one cannot do on a device. "
            f"Received: {card['left_out']['decode']}"
        )
    file.with_suffix(".model_card.json").unlink()
    content = {
        "format": FORMAT,
        "title": title or f"A {card['model']['class']} and its latent space",
        "noun": noun,
        "about": dict(about or {}),
        "model": card["model"],
        "made_with": card["made_with"],
        "data_shape": [height, width, channels],
        "latent_size": size,
        "signatures": {
            name: {"outputs": sorted(signature["outputs"])}
            for name, signature in card["signatures"].items()
        },
        "left_out": _left_out(card, model),
        "codes": attributes.describe_codes(fitted.attributes.values()),
        "attributes": entries,
        "attributes_left_out": fitted.left_out,
        "dimensions": dimensions.describe(model, pictures, codes),
        "start": np.median(codes.mean, axis=0).tolist(),
        "seeds": _typical_seeds(model) if "sample" in card["signatures"] else [],
        "noise": random.normal(random.seeds(0, NUM_DRAWS), size).numpy().tolist(),
        "examples": 0 if images is None else _write_examples(pictures, folder / EXAMPLES_FILE),
        "background": float(np.median(pictures[:200])),
    }
    _copy_static(folder)
    with write_atomically(folder / ATTRIBUTES_FILE) as temporary:
        temporary.write_bytes(factors)
    if source is not None:
        install_runtime(folder, source)
    with write_atomically(folder / PAGE_FILE) as temporary:
        temporary.write_text(_as_json(content), encoding="utf-8")
    return folder


def read_page(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads what a page says of its model.

    Args:
        path: the folder of a page.

    Returns:
        The content of its `page.json`.

    Raises:
        ValueError: if the folder is not a page that this release made.
    """
    file = Path(path) / PAGE_FILE
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        found = content["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"This is not the folder of a page, which has a whole {PAGE_FILE}; `tfvae explore RUN "
            f"-o PAGE` makes one. Received: {path} ({type(error).__name__})"
        ) from error
    if found != FORMAT:
        raise ValueError(
            f"The page is of another release of tfvae: build it anew. Received: format {found!r}, "
            f"not {FORMAT}"
        )
    return content


def _find_runtime(runtime: str | os.PathLike[str] | bool) -> Path | None:
    """Where the runtime is; looked for before the work begins."""
    if isinstance(runtime, bool):
        return fetch_runtime() if runtime else None
    return find_packages(runtime)


def _check_picture_shape(model: Any) -> tuple[int, int, int]:
    shape = tuple(getattr(model, "data_shape", ()))
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise ValueError(
            "The page shows pictures: the model's data must be [height, width, 1] or "
            f"[height, width, 3]. Received: {type(model).__name__} with data shape {shape}"
        )
    return shape


def _has_prior(model: Any) -> bool:
    return getattr(model, "prior", None) is not None


def _check_pictures(model: Any, images: Any) -> np.ndarray:
    """Pictures as float32 in [0, 1]; the model's own if none are given."""
    if images is None:
        if not _has_prior(model):
            raise TypeError(
                "An autoencoder cannot make pictures of its own, so the page needs some: pass "
                f"`images`. Received: {type(model).__name__} and images=None"
            )
        return np.clip(model.sample(_NUM_OWN_SAMPLES, seed=0), 0.0, 1.0).astype(np.float32)
    images, _ = as_batch(model, images, "images")
    pictures = images.astype(np.float32) / 255 if images.dtype == np.uint8 else images
    low, high = float(np.min(pictures)), float(np.max(pictures))
    if len(pictures) < 2 or not (low >= 0.0 and high <= 1.0):
        raise ValueError(
            "`images` must be at least two pictures, uint8 or in [0, 1]. "
            f"Received: {len(pictures)} with values from {low:g} to {high:g}"
        )
    return pictures.astype(np.float32)


def _check_labels(labels: Mapping[str, Any] | None, images: Any, count: int) -> dict[str, Any]:
    if labels and images is None:
        raise ValueError(
            "`labels` belong to `images`: pass both. "
            f"Received: labels {sorted(labels)} and images=None"
        )
    for name, values in (labels or {}).items():
        if np.shape(values) != (count,):
            raise ValueError(
                f"A label is one number for each of the {count} images. "
                f"Received: {name!r} of shape {np.shape(values)}"
            )
    return dict(labels or {})


def _typical_seeds(model: Any) -> list[int]:
    """Three seeds to begin with, whose samples the model itself finds usual.

    Where the prior reaches beyond the codes of pictures, a sample is one that the encoder does not
    know again: its code comes back as another. Of the third that it knows best, these are those of
    most contrast between neighbouring pixels.
    """
    pairs = np.stack([np.arange(_NUM_TRIED_SEEDS), np.zeros(_NUM_TRIED_SEEDS)], axis=1)
    z = np.asarray(model.prior.draw(pairs.astype(np.int32)), np.float64)
    z = z.reshape(_NUM_TRIED_SEEDS, -1)
    pictures = decode_means(model, z)
    distance = np.linalg.norm(encode_means(model, pictures) - z, axis=1)
    known = np.argsort(distance)[: _NUM_TRIED_SEEDS // 3]
    contrast = np.abs(np.diff(pictures[known], axis=1)).mean(axis=(1, 2, 3))
    return known[np.argsort(-contrast)[:3]].tolist()


def _left_out(card: Mapping[str, Any], model: Any) -> dict[str, str]:
    """What the page cannot do with this model, and why."""
    left_out = {name: why for name, why in card["left_out"].items() if name in _SIGNATURES}
    if not _has_prior(model):
        left_out["sample"] = "An autoencoder has no prior to draw from."
        left_out["uncertainty"] = "An autoencoder gives one code, not a distribution over codes."
    elif "encode" in card["signatures"] and "scale" not in card["signatures"]["encode"]["outputs"]:
        left_out["uncertainty"] = "The posterior of this model has no standard deviation to draw."
    return left_out


def _write_examples(pictures: np.ndarray, path: Path) -> int:
    """The last pictures side by side; returns how many."""
    chosen = np.round(255 * pictures[-NUM_EXAMPLES:]).astype(np.uint8)
    strip = np.concatenate(list(chosen), axis=1)
    with write_atomically(path) as temporary:
        Image.fromarray(strip[..., 0] if strip.shape[-1] == 1 else strip).save(temporary)
    return len(chosen)


def _copy_static(folder: Path) -> None:
    for item in files("tfvae.explorer").joinpath("static").iterdir():
        if item.is_file():
            with item.open("rb") as source, (folder / item.name).open("wb") as target:
                shutil.copyfileobj(source, target)


def _as_json(content: Mapping[str, Any]) -> str:
    """One entry a line, numbers to nine digits: enough for float32, and half the size."""
    lines = [f" {json.dumps(key)}: {json.dumps(_rounded(value))}" for key, value in content.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, (list, tuple)) else value
