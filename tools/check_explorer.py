"""Drives the explorer's pages in headless Chromium and compares what they show with Python.

    python tools/check_explorer.py [--modules node_modules] [--screenshots FOLDER]

Needs Debian's package `chromium`, Node.js and npm. `--modules` is a folder with the packages of
`PACKAGES` in it, each as `npm install` leaves it; without it they are installed to a temporary
folder. Prints figures of time and memory, and judges only what is right or wrong.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import tfvae
from tfvae import data, explorer, latent, random
from tfvae.cli import exploring
from tfvae.explorer import attributes, runtime
from tfvae.explorer.page import NUM_DRAWS
from tfvae.latent.codes import decode_means, encode

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "browser" / "explorer.mjs"
PACKAGES = (
    f"{runtime.CORE}@{runtime.VERSION}",
    f"{runtime.WASM_UTILS}@{runtime.VERSION}",
    "playwright-core@1.65.1",
    "axe-core@4.14.1",
)
SEEDS = (0, 7, 41, 100, 2026, 2**31 - 1)
NUM_MOVES = 5


def expect(name: str, page: Path) -> dict[str, Any]:
    """What a page of a shipped model must show, from the model and its data alone."""
    model = tfvae.load(ROOT / "saved_models" / name / f"{name}.keras", compile=False)
    examples = exploring.examples_of(data.load(name))
    images = examples["images"].astype(np.float32) / 255
    codes = encode(model, images)
    fitted = attributes.fit(codes, examples["labels"]).attributes
    shown = explorer.read_page(page)
    if [entry["name"] for entry in shown["attributes"]] != list(fitted):
        raise SystemExit(f"{page} is not of this model and data: build it anew")
    last = encode(model, images[-shown["examples"] :])
    readings = {key: attribute.read_codes(last) for key, attribute in fitted.items()}
    return {
        "seeds": SEEDS,
        "pictures": [levels(model.sample(1, seed=seed)[0]) for seed in SEEDS],
        "binary": [attribute.binary for attribute in fitted.values()],
        "readings": [
            [describe(reading.of(i)) for reading in readings.values()]
            for i in range(len(last.mean))
        ],
        "spreads": [
            spread(model, mean, np.sqrt(variance))
            for mean, variance in zip(last.mean, last.covariance, strict=True)
        ],
        "moves": moves(fitted, shown, codes.mean[:NUM_MOVES]),
    }


def levels(picture: np.ndarray) -> list[int]:
    """A picture as the screen has it."""
    return np.round(255 * np.clip(picture, 0, 1)).astype(int).ravel().tolist()


def describe(reading: latent.Reading) -> dict[str, float]:
    low, high = reading.interval(0.9)
    parts = {"mean": reading.mean, "scale": reading.scale, "low": low, "high": high}
    return {name: float(value) for name, value in parts.items()}


def spread(model: Any, mean: np.ndarray, scale: np.ndarray) -> list[float]:
    """The standard deviation of a posterior's draws, pixel by pixel."""
    noise = random.normal(random.seeds(0, NUM_DRAWS), len(mean)).numpy()
    pictures = decode_means(model, mean + scale * noise)
    return pictures.std(axis=0).mean(axis=-1).ravel().tolist()


def moves(fitted: dict[str, Any], shown: dict[str, Any], codes: np.ndarray) -> list[dict[str, Any]]:
    """Codes moved half-way along the range of an attribute, one after another."""
    found = []
    for i, z in enumerate(codes):
        k = i % len(fitted)
        entry = shown["attributes"][k]
        amount = (entry["range"][1] - entry["range"][0]) / 2
        keep = [fitted[name] for name in entry["hold"]]
        moved = latent.move_codes(z[None], fitted[entry["name"]], amount, keep)[0]
        found.append({"k": k, "z": z.tolist(), "amount": amount, "to": moved.tolist()})
    return found


def autoencoder_page(folder: Path) -> Path:
    """A model without a prior and without labels; it need not be any good."""
    images = data.digits()[0].images[:200]
    model = tfvae.Autoencoder.for_images((8, 8, 1), latent_dim=3, hidden=(16,))
    return explorer.build(model, folder, images=images, title="autoencoder", runtime=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modules", type=Path, help="folder of installed npm packages")
    parser.add_argument("--screenshots", type=Path, help="where to keep pictures of the pages")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    arguments = parser.parse_args()
    for program in ("node", "npm", arguments.chromium):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is not installed")
    with tempfile.TemporaryDirectory(prefix="tfvae-") as temporary, ExitStack() as stack:
        work = Path(temporary)
        modules = arguments.modules
        if modules is None:
            modules = work / "npm"
            modules.mkdir()
            install = ["npm", "install", "--no-audit", "--no-fund", *PACKAGES]
            subprocess.run(install, cwd=modules, check=True)
        modules = modules / "node_modules" if modules.name != "node_modules" else modules
        screenshots = arguments.screenshots or work / "screenshots"
        screenshots.mkdir(exist_ok=True, parents=True)

        shipped = ROOT / "saved_models" / "faces" / "page"
        bare = Path(shutil.copytree(shipped, work / "bare"))
        pages = {
            # As it is shipped, completed as its user would.
            "faces": exploring.explore(
                Path(shutil.copytree(shipped, work / "faces")), None, None, modules, False
            ),
            "digits": exploring.explore(
                ROOT / "saved_models" / "digits", work / "digits", "digits", modules, False
            ),
            "autoencoder": autoencoder_page(work / "autoencoder"),
        }
        explorer.install_runtime(pages["autoencoder"], modules)
        url = {
            name: stack.enter_context(explorer.PageServer(page)).url
            for name, page in {**pages, "bare": bare}.items()
        }
        upload, not_picture = work / "face.png", work / "text.png"
        strip = Image.open(pages["faces"] / "examples.png")
        strip.crop((0, 0, strip.height, strip.height)).save(upload)
        not_picture.write_text("not a picture")
        config = {
            "modules": str(modules),
            "chromium": arguments.chromium,
            "screenshots": str(screenshots),
            "faces": {
                "url": url["faces"],
                "expected": expect("faces", pages["faces"]),
                "upload": str(upload),
            },
            "digits": {"url": url["digits"], "expected": expect("digits", pages["digits"])},
            "autoencoder": {"url": url["autoencoder"]},
            "errors": {"url": url["faces"], "bare": url["bare"], "notPicture": str(not_picture)},
        }
        (work / "config.json").write_text(json.dumps(config))
        done = subprocess.run(["node", str(SCRIPT), str(work / "config.json")], check=False)
        raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
