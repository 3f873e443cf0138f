"""What does the "variational" buy? An autoencoder and a VAE on the same faces, side by side.

    python tools/compare_autoencoders.py --out comparison.png

Both have the same networks, data, likelihood and number of steps; one minimises -log p(x|z) at the
code of its encoder, the other the bound, which adds the divergence from the prior. It prints a
table in Markdown and writes a picture of what the numbers mean.

What is measured, on faces that neither has seen:

* reconstruction: root mean square error of a pixel, of 255 levels;
* new faces: the Fréchet distance between 2000 new faces and 2000 real ones, the distance of two
  normal distributions fitted to their 64 largest principal components of pixels (of real training
  faces; the features of a network trained on photographs mean nothing for cartoons). In levels, as
  the square root of it divided by that of the number of pixels. The line "real faces" is the
  distance between two halves of real faces: what a perfect model would get. An autoencoder says
  nothing about which codes to decode: it gets standard normal ones, and as a second chance codes
  from a normal distribution fitted to those of the training faces;
* the way between two faces: its middle is decoded and encoded again. How far does it land from
  where it was, in units of half the way? Where no code of a face ever was, decoder and encoder have
  not learned to agree. And: how much longer is the longest of 16 steps, in pixels, than the mean;
* smile: R^2 and coverage of the 90 % interval of `tfvae.latent.Attribute`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfvae import Autoencoder, data
from tfvae.latent import Attribute, interpolate
from tfvae.latent.codes import decode_means, encode_means
from tfvae.models import VAE

COMPONENTS, NUM_NEW, NUM_PAIRS, STEPS = 64, 2000, 200, 17
INK, MUTED = "#262626", "#6b6b6b"


def main() -> None:
    """Trains both, measures both, prints the table and draws the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("comparison.png"), help="the picture")
    parser.add_argument("--num-faces", type=int, default=12_000)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--latent-dim", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    images, labels = faces(options.num_faces, seed=0)
    test, test_labels = faces(NUM_NEW, seed=1)
    models = {cls.__name__: train(cls, images, options) for cls in (Autoencoder, VAE)}
    space = principal_components(images)
    new = new_faces(models, images)

    rows = {"": ["Autoencoder", "VAE"]}
    rows["reconstruction: error of a pixel, of 255 levels"] = [
        f"{rms(255 * (model.reconstruct(test) - test)):.2f}" for model in models.values()
    ]
    real = frechet_distance(space, faces(NUM_NEW, seed=2)[0], test)
    rows[f"new faces: Fréchet distance, levels (real faces: {real:.2f})"] = [
        f"{frechet_distance(space, new[name], test):.2f}" for name in models
    ]
    second = frechet_distance(space, new["fitted"], test)
    rows["the same, codes from a normal fitted to training codes"] = [f"{second:.2f}", ""]
    ways = [middle_and_steps(model, test) for model in models.values()]
    rows["between two faces: how far the middle is from itself, re-encoded"] = [
        f"{100 * middle:.0f} %" for middle, _ in ways
    ]
    rows["between two faces: longest step / mean step, in pixels"] = [
        f"{step:.2f}" for _, step in ways
    ]
    smiles = [
        smile(model, images, labels["smile"], test, test_labels["smile"])
        for model in models.values()
    ]
    rows["smile read off unseen faces: R²"] = [f"{r2:.2f}" for r2, _ in smiles]
    rows["and how often it lies in the 90 % interval"] = [f"{100 * c:.0f} %" for _, c in smiles]

    print(f"\n{options.num_faces} faces, {options.epochs} epochs, codes of {options.latent_dim}\n")
    for number, (name, cells) in enumerate(rows.items()):
        print(f"| {name} | {' | '.join(cells)} |")
        if number == 0:
            print("|---|---|---|")
    draw(models, new, test, options.out)
    print(f"\nwrote {options.out}")


def faces(count: int, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Faces as floats, with their attributes."""
    images, labels = data.faces(count, seed=seed)
    return images.astype(np.float32) / 255, labels


def train(cls: Any, images: np.ndarray, options: argparse.Namespace) -> Any:
    """The model of a class, with the same seed, networks and steps as the other's."""
    keras.utils.set_random_seed(options.seed)
    model = cls.for_images(
        images.shape[1:],
        latent_dim=options.latent_dim,
        activation="gelu",
        likelihood="normal",
        mean=images.mean(axis=0),
    )
    steps = options.epochs * -(-len(images) // 128)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    model.compile(keras.optimizers.Adam(rate), jit_compile=True)
    start = time.monotonic()
    history = model.fit(images, epochs=options.epochs, batch_size=128, verbose=0).history
    losses = ", ".join(f"{name} {values[-1]:.1f}" for name, values in history.items())
    print(f"{cls.__name__}: {losses} nats after {time.monotonic() - start:.0f} s", flush=True)
    return model


def rms(values: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def principal_components(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of images and their largest principal directions, `[pixels, COMPONENTS]`."""
    rows = images.reshape(len(images), -1).astype(np.float64)
    _, directions = np.linalg.eigh(np.cov(rows, rowvar=False))
    return rows.mean(axis=0), directions[:, -COMPONENTS:]


def frechet_distance(space: Any, images: np.ndarray, reference: np.ndarray) -> float:
    """sqrt(|m - n|^2 + tr(A + B - 2 (AB)^1/2)) of two sets of images, a pixel, in levels.

    Heusel et al. (2017), arXiv:1706.08500, equation 6, in a space of principal components.
    """
    mean, directions = space
    a, b = (x.reshape(len(x), -1).astype(np.float64) - mean for x in (images, reference))
    a, b = a @ directions, b @ directions
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # tr (AB)^1/2 = tr (B^1/2 A B^1/2)^1/2, which is symmetric.
    values, vectors = np.linalg.eigh(second)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ first @ root), 0)).sum()
    shift = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2)
    square = shift + np.trace(first) + np.trace(second) - 2 * cross
    return float(255 * np.sqrt(max(square, 0.0) / mean.size))


def new_faces(models: dict[str, Any], images: np.ndarray) -> dict[str, np.ndarray]:
    """Faces that nobody drew: of the VAE, and of an autoencoder in two ways."""
    autoencoder, vae = models["Autoencoder"], models["VAE"]
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(NUM_NEW, *autoencoder.latent_shape))
    codes = encode_means(autoencoder, images)
    fitted = rng.multivariate_normal(codes.mean(axis=0), np.cov(codes.T), NUM_NEW)
    new = {
        "Autoencoder": decode_means(autoencoder, noise),
        "fitted": decode_means(autoencoder, fitted),
        "VAE": vae.sample(NUM_NEW, seed=0),
    }
    return {name: np.clip(x, 0, 1) for name, x in new.items()}


def middle_and_steps(model: Any, images: np.ndarray) -> tuple[float, float]:
    """How far middles of ways are from themselves after decoding and encoding, relative to half
    the way; and the longest step of a way in pixels relative to the mean step."""
    a, b = images[:NUM_PAIRS], images[NUM_PAIRS : 2 * NUM_PAIRS]
    start, end = encode_means(model, a), encode_means(model, b)
    middle = 0.5 * (start + end)
    again = encode_means(model, decode_means(model, middle))
    half = 0.5 * np.linalg.norm(end - start, axis=1)
    frames = interpolate(model, a, b, STEPS)
    steps = np.sqrt(np.mean(np.diff(frames, axis=1) ** 2, axis=(2, 3, 4)))
    evenness = steps.max(axis=1) / steps.mean(axis=1)
    return float(np.mean(np.linalg.norm(again - middle, axis=1) / half)), float(evenness.mean())


def smile(
    model: Any, images: np.ndarray, labels: np.ndarray, test: np.ndarray, truth: np.ndarray
) -> tuple[float, float]:
    """R^2 of the smile on unseen faces, and the coverage of its 90 % interval."""
    reading = Attribute.fit(model, images, labels).read(model, test)
    low, high = reading.interval(0.9)
    r2 = 1 - np.mean((reading.mean - truth) ** 2) / np.var(truth)
    return float(r2), float(np.mean((low < truth) & (truth < high)))


def mosaic(rows: list[np.ndarray], gap: int = 2) -> np.ndarray:
    """Images `[columns, H, W, 3]` in rows, on white."""
    framed = [
        np.concatenate(
            [np.pad(image, ((0, gap), (0, gap), (0, 0)), constant_values=1.0) for image in row], 1
        )
        for row in rows
    ]
    return np.clip(np.concatenate(framed), 0, 1)


def draw(models: dict[str, Any], new: dict[str, np.ndarray], test: np.ndarray, path: Path) -> None:
    """A column for each model, a row for each question."""
    figure = Figure(figsize=(12, 9.6), dpi=128, facecolor="white", layout="constrained")
    panels = figure.subplots(3, 2, gridspec_kw={"height_ratios": [2, 4, 3]})
    names = {
        "Autoencoder": "Autoencoder: a code for each face",
        "VAE": "VAE: a distribution for each face",
    }
    for column, (name, model) in enumerate(models.items()):
        shown = test[:12]
        pairs = np.stack([test[20:23], test[30:33]])
        pictures = {
            "It rebuilds a face (above: the face, below: rebuilt)": [
                shown,
                model.reconstruct(shown),
            ],
            "It invents faces, from random codes": list(
                new[name][:48].reshape(4, 12, *test.shape[1:])
            ),
            "It walks from one face to another": list(interpolate(model, *pairs, steps=12)),
        }
        for axes, (title, rows) in zip(panels[:, column], pictures.items(), strict=True):
            axes.imshow(mosaic(rows).repeat(4, 0).repeat(4, 1), interpolation="nearest")
            axes.set_axis_off()
            axes.set_title(title, loc="left", fontsize=12, color=MUTED)
        panels[0, column].annotate(
            names[name],
            (0, 1.45),
            xycoords="axes fraction",
            fontsize=16,
            color=INK,
            annotation_clip=False,
        )
    FigureCanvasAgg(figure).print_png(str(path))


if __name__ == "__main__":
    main()
