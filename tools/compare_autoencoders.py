"""An autoencoder and a variational one, on the same faces with the same networks.

    python tools/compare_autoencoders.py --out PICTURE.png [--faces 12000] [--epochs 15]

Prints a table in Markdown and draws one picture: reconstructions, samples and a path between two
faces. Both see the same images in batches of the same size, with the same optimiser.

How the rows are measured, on faces that neither model has seen:

reconstruction  the mean squared error of a pixel, in hundredths of the variance of the pixels.
samples         the Frechet distance of 2,000 decoded codes to 2,000 real faces, in the space of
                the real faces' first 64 principal components, in hundredths of their variance. The
                codes are standard normal; once more they are from a normal distribution fitted to
                the model's codes, which is the best that an autoencoder can be given afterwards.
half-way faces  the squared distance from the middle of a path to the nearest of the training
                faces, over that of a real face: 1 is as near as a real face is.
steadiness      the largest step of a path of 16 pictures over the mean one: 1 is even.
smile           the correlation of a linear reading of the code with the true smile.
coverage        how many true smiles are in the reading's 90 % interval.

Reference:
    Heusel et al. (2017), GANs Trained by a Two Time-Scale Update Rule, arXiv:1706.08500, for the
    Frechet distance (theirs is between features of a network for photographs).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from compared_faces import LATENT, NUM_TEST, images_and_truth, parser, table, train
from scipy.linalg import sqrtm

from tfvae import VAE, Autoencoder
from tfvae.latent import Attribute, interpolate
from tfvae.latent.codes import decode_means, encode_means

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NUM_SAMPLES, NUM_PATHS, NUM_COMPONENTS = 2000, 200, 64
SHOWN = 10


class Space:
    """The principal components of real faces."""

    def __init__(self, images: np.ndarray) -> None:
        flat = images.reshape(len(images), -1)
        self.mean = flat.mean(axis=0)
        _, _, axes = np.linalg.svd(flat - self.mean, full_matrices=False)
        self.axes = axes[:NUM_COMPONENTS].T
        self.real = self(images)
        self.variance = self.real.var(axis=0).sum()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return (images.reshape(len(images), -1) - self.mean) @ self.axes

    def frechet(self, images: np.ndarray) -> float:
        """|m - m'|^2 + tr(C + C' - 2 (C C')^1/2), in hundredths of the variance of real faces."""
        made = self(images)
        a, b = (np.cov(points, rowvar=False) for points in (self.real, made))
        distance = np.sum((self.real.mean(axis=0) - made.mean(axis=0)) ** 2)
        distance += np.trace(a + b - 2 * sqrtm(a @ b).real)
        return float(100 * distance / self.variance)

    @staticmethod
    def nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
        """The squared distance of each point to the nearest of the others."""
        squares = (points**2).sum(1)[:, None] + (others**2).sum(1) - 2 * points @ others.T
        return squares.min(axis=1)


def measure(
    model: Any, images: np.ndarray, labels: Any, test: np.ndarray, truth: Any, space: Space
) -> dict[str, float]:
    rng = np.random.default_rng(0)
    codes = encode_means(model, images)
    normal = rng.standard_normal((NUM_SAMPLES, LATENT))
    fitted = codes.mean(axis=0) + normal @ np.linalg.cholesky(np.cov(codes, rowvar=False)).T
    pairs = test[:NUM_PATHS], test[NUM_PATHS : 2 * NUM_PATHS]
    paths = interpolate(model, *pairs, steps=16)
    steps = np.sqrt(np.square(np.diff(paths, axis=1)).sum(axis=(2, 3, 4)))
    middle = model.decode(
        ((encode_means(model, pairs[0]) + encode_means(model, pairs[1])) / 2).astype("f")
    )
    known = space(images)
    smile = Attribute.fit(model, images, labels["smile"], degree=1)
    reading = smile.read(model, test)
    low, high = reading.interval(0.9)
    error = np.square(model.reconstruct(test) - test).mean()
    return {
        "reconstruction": 100 * error / test.var(axis=0).mean(),
        "samples from N(0, I)": space.frechet(decode_means(model, normal)),
        "samples from a normal fitted to the codes": space.frechet(decode_means(model, fitted)),
        "half-way faces": Space.nearest(space(middle.mean().numpy()), known).mean()
        / Space.nearest(space.real, known).mean(),
        "steadiness": (steps.max(axis=1) / steps.mean(axis=1)).mean(),
        "smile": np.corrcoef(reading.mean, truth["smile"])[0, 1],
        "coverage": 100 * np.mean((low <= truth["smile"]) & (truth["smile"] <= high)),
    }


def draw(models: dict[str, Any], test: np.ndarray, path: Path) -> None:
    """Three rows for each model, under the faces that they start from."""
    rows = [("real faces", test[:SHOWN])]
    normal = np.random.default_rng(1).standard_normal((SHOWN, LATENT))
    for name, model in models.items():
        rows += [
            (f"{name}: reconstructed", model.reconstruct(test[:SHOWN])),
            (f"{name}: made from noise", decode_means(model, normal)),
            (f"{name}: from one to another", interpolate(model, test[0], test[7], steps=SHOWN)),
        ]
    figure, axes = plt.subplots(len(rows), 1, figsize=(SHOWN + 2.4, len(rows)), dpi=100)
    for axis, (label, images) in zip(axes, rows, strict=True):
        axis.imshow(np.clip(np.hstack(list(images)), 0, 1), interpolation="bilinear")
        axis.set_axis_off()
        axis.text(-0.01, 0.5, label, transform=axis.transAxes, ha="right", va="center", fontsize=12)
    figure.subplots_adjust(left=0.2, right=0.99, top=0.99, bottom=0.01, hspace=0.06)
    figure.savefig(path)


def main() -> None:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--beta", type=float, default=15.0, help="of the VAE; see the README")
    options = arguments.parse_args()
    images, labels = images_and_truth(options.faces, seed=1)
    test, truth = images_and_truth(NUM_TEST, seed=2)
    models = {
        "AE": train(Autoencoder, images, options.epochs),
        "VAE": train(VAE, images, options.epochs, beta=options.beta),
    }
    space = Space(test[:NUM_SAMPLES])
    tables = {
        name: measure(model, images, labels, test, truth, space) for name, model in models.items()
    }
    print(f"\n{table(tables)}")
    draw(models, test, options.out)


if __name__ == "__main__":
    main()
