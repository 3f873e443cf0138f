"""Trains the small models of `saved_models/` and exports each in every format.

    python tools/train_saved_models.py --mnist MNIST.npz [faces digits mnist]
    python tools/train_saved_models.py --runs RUNS --mnist MNIST.npz    # export finished runs

MNIST.npz is MNIST in Keras' layout, as `keras.datasets.mnist` downloads it. Training takes about
ten minutes on two cores. Every model gets

    saved_models/NAME/NAME.keras           the model
    saved_models/NAME/NAME.tflite          float32, with NAME.model_card.json
    saved_models/NAME/NAME_int8.tflite     int8, with NAME_int8.model_card.json
    saved_models/NAME/1/                   SavedModel for TensorFlow Serving, with model_card.json
    saved_models/NAME/samples.png          what it generates
    saved_models/faces/page/               the explorer's page, without LiteRT.js
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import tfvae
from tfvae import export, plots
from tfvae.cli.datasets import clean, load_splits
from tfvae.cli.exploring import explore
from tfvae.cli.pictures import viewable
from tfvae.cli.run import RunConfig
from tfvae.cli.scores import evaluate
from tfvae.saving import save_model

TARGET = Path(__file__).parents[1] / "saved_models"
OPTIONS = {
    "faces": "--data faces --num-examples 20000 --network conv --hidden 24,48 --latent-dim 16 "
    "--beta 15 --epochs 25 --batch-size 64",
    "digits": "--data digits --network dense --hidden 128,64 --latent-dim 8 --epochs 150 "
    "--batch-size 64",
    "mnist": "--data {mnist} --network conv --hidden 24,48 --latent-dim 16 --epochs 10",
}
SOURCES = {
    "faces": "cartoon faces that tfvae draws itself (tfvae.data.faces), 20,000 of 32 x 32 pixels",
    "digits": "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak (1998), UCI "
    "Machine Learning Repository, doi:10.24432/C50P49, CC BY 4.0",
    "mnist": "MNIST, Y. LeCun, C. Cortes and C. Burges, 60,000 training images, CC BY-SA 3.0",
}
# What the cards report is measured on the first test images alone: minutes, not an hour.
NUM_TEST, NUM_IMPORTANCE_SAMPLES = 1000, 200
NUM_REPRESENTATIVE = 500
MAX_BYTES = 10_000_000
PAGES = ("faces",)


def train(name: str, mnist: str | None, folder: Path) -> None:
    """Trains one model through the command line."""
    if name == "mnist" and mnist is None:
        raise SystemExit("mnist needs --mnist MNIST.npz")
    options = shlex.split(OPTIONS[name].format(mnist=mnist))
    command = [sys.executable, "-m", "tfvae", "train", *options, "--out", str(folder)]
    subprocess.run(command, check=True)


def describe(name: str, config: RunConfig, model: Any) -> dict[str, Any]:
    """What the model cards say of where the model comes from, measured on its test data."""
    test = load_splits(config).test.images[:NUM_TEST]
    scores = evaluate(config, model, test, NUM_IMPORTANCE_SAMPLES)
    return {
        "label": f"{name}: a VAE trained by tfvae's tools/train_saved_models.py",
        "licence": "Apache-2.0",
        "command": f"tfvae train {OPTIONS[name].format(mnist='mnist.npz')}",
        "data": SOURCES[name],
        "nats": {
            "nll": round(scores.nll, 2),
            "elbo": round(scores.elbo, 2),
            "reconstruction": round(scores.reconstruction, 2),
            "kl": round(scores.kl, 2),
            "bits_per_dim": round(scores.bits_per_dim, 4),
            "importance_samples": scores.num_samples,
            "test_examples": scores.num_examples,
        },
    }


def publish(name: str, folder: Path) -> None:
    """Exports a finished run to `saved_models/`."""
    config = RunConfig.read(folder)
    # Not compiled: the state of the optimizer is twice the weights.
    model = tfvae.load(folder, compile=False)
    about = describe(name, config, model)
    target = TARGET / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    data = clean(load_splits(config).train.images[:NUM_REPRESENTATIVE])
    shared: dict[str, Any] = {"representative": data, "about": about}
    save_model(model, target / f"{name}.keras")
    export.saved_model(model, target, 1, **shared)
    export.tflite(model, target / f"{name}.tflite", **shared)
    export.tflite(model, target / f"{name}_int8.tflite", "int8", **shared)
    plots.image_grid(viewable(model.sample(64, seed=0)), path=target / "samples.png")
    if name in PAGES:
        explore(target, out=None, source=name, runtime=None, bare=True)
    print(json.dumps(about, indent=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(OPTIONS)}; all if left out")
    parser.add_argument("--mnist", help="MNIST in Keras' layout, .npz")
    parser.add_argument("--runs", type=Path, help="folder of runs, kept; finished ones are reused")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tfvae-") as temporary:
        runs = arguments.runs or Path(temporary)
        for name in arguments.names or OPTIONS:
            if not (runs / name / "samples.png").exists():
                train(name, arguments.mnist, runs / name)
            publish(name, runs / name)
    size = sum(path.stat().st_size for path in TARGET.rglob("*") if path.is_file())
    print(f"{TARGET.name}: {size / 1e6:.2f} MB")
    if size > MAX_BYTES:
        raise SystemExit(f"saved_models/ may hold {MAX_BYTES / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
