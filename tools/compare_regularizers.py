"""Disentangling regularisers beside the plain VAE, on the same faces with the same network.

    python tools/compare_regularizers.py --out PICTURE.png [--faces 12000] [--epochs 15]

Prints a table in Markdown and draws one picture: for each model its most active dimensions, each of
which moves one face through the quantiles of the prior, with the attribute that it tells most of.

How the rows are measured, on faces that no model has seen:

reconstruction      the mean squared error of a pixel, in hundredths of the variance of the pixels.
KL                  the rate, in nats.
active              units whose posterior mean has a variance above 0.01 (Burda et al. 2016).
total correlation   of a normal distribution with the covariance of the posterior means, in nats: 0
                    if the dimensions are uncorrelated (Locatello et al. 2019, section 5.3).
MIG                 the mutual information gap: by how much the dimension that tells most of an
                    attribute tells more of it than the next, over the attribute's entropy; the mean
                    over the attributes. 1 if each has a dimension of its own. Means and attributes
                    in 20 bins.
told by one         the attribute's part that its best dimension tells, the first of those two.

The likelihood is normal with a deviation of 0.1: with one that is learned a weight of the KL is
mostly taken back by the scale.

References:
    Chen, Li, Grosse and Duvenaud (2018), arXiv:1802.04942, equation 6 (the gap).
    Locatello et al. (2019), Challenging Common Assumptions in the Unsupervised Learning of
    Disentangled Representations, arXiv:1811.12359 (which also shows that it depends on the seed).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from compared_faces import LATENT, NUM_TEST, images_and_truth, parser, table, train

from tfvae import VAE
from tfvae.latent import most_active_dimensions, traverse
from tfvae.latent.codes import encode_means
from tfvae.metrics import active_units, rate
from tfvae.priors import StandardNormal
from tfvae.regularizers import (
    DIP,
    AdversarialTotalCorrelation,
    KLDivergenceRegularizer,
    Sum,
    TotalCorrelation,
)

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SCALE, BINS = 0.1, 20
SHOWN_DIMENSIONS, STEPS = 6, 9


def regularizers(num_faces: int) -> dict[str, Any]:
    """The models' latent terms by their label."""
    prior = StandardNormal(LATENT)
    return {
        "beta = 1": KLDivergenceRegularizer(prior),
        "beta-VAE, 4": KLDivergenceRegularizer(prior, weight=4.0),
        "beta-TCVAE, 4": TotalCorrelation(prior, dataset_size=num_faces, beta=4.0),
        "FactorVAE, 10": AdversarialTotalCorrelation(
            prior, weight=10.0, hidden_units=(256, 256, 256), seed=0
        ),
        "DIP-VAE-I": Sum([KLDivergenceRegularizer(prior), DIP(10.0, 100.0, "i")]),
        "DIP-VAE-II": Sum([KLDivergenceRegularizer(prior), DIP(10.0, 10.0, "ii")]),
    }


def information(codes: np.ndarray, attribute: np.ndarray) -> np.ndarray:
    """The part of an attribute's entropy that each dimension tells, `[D]`, from codes `[N, D]`."""
    places = _binned(attribute)
    entropy = _entropy(np.bincount(places))
    told = [
        _entropy(np.bincount(own)) + entropy - _entropy(np.bincount(own * BINS + places))
        for own in map(_binned, codes.T)
    ]
    return np.array(told) / entropy


def _binned(values: np.ndarray) -> np.ndarray:
    edges = np.linspace(values.min(), values.max(), BINS + 1)
    return np.digitize(values, edges[1:-1])


def _entropy(counts: np.ndarray) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def measure(vae: VAE, test: np.ndarray, truth: dict[str, np.ndarray]) -> dict[str, float]:
    codes = encode_means(vae, test)
    told = np.stack([information(codes, values) for values in truth.values()])
    second, first = np.sort(told, axis=1)[:, -2:].T
    error = np.square(vae.reconstruct(test) - test).mean()
    _, log_determinant = np.linalg.slogdet(np.corrcoef(codes, rowvar=False))
    return {
        "reconstruction": 100 * error / test.var(axis=0).mean(),
        "KL": rate(vae, test),
        "active": active_units(vae, test),
        "total correlation": -0.5 * log_determinant,
        "MIG": (first - second).mean(),
        "told by one": first.mean(),
    }


def draw(models: dict[str, VAE], test: np.ndarray, truth: dict[str, Any], path: Path) -> None:
    """A block of traversals for each model, two beside each other."""
    size = test.shape[1]
    rows = -(-len(models) // 2)
    figure, axes = plt.subplots(rows, 2, figsize=(2 * (STEPS + 2.2) * 0.72, rows * 5), dpi=75)
    for axis, (label, vae) in zip(axes.flat, models.items(), strict=False):
        codes = encode_means(vae, test)
        shown = most_active_dimensions(vae, test, SHOWN_DIMENSIONS)
        axis.imshow(
            np.clip(
                np.vstack([np.hstack(list(traverse(vae, test[0], int(j), STEPS))) for j in shown]),
                0,
                1,
            ),
            interpolation="bilinear",
        )
        axis.set_title(label, fontsize=13)
        axis.set_axis_off()
        for row, j in enumerate(shown):
            told = {name: information(codes[:, [j]], values)[0] for name, values in truth.items()}
            best = max(told, key=told.__getitem__)
            axis.text(-4, (row + 0.5) * size, f"{best} {told[best]:.2f}", ha="right", va="center")
    for axis in axes.flat[len(models) :]:
        axis.set_axis_off()
    figure.subplots_adjust(left=0.11, right=0.995, top=0.965, bottom=0.005, hspace=0.1, wspace=0.25)
    figure.savefig(path)


def main() -> None:
    options = parser(__doc__.splitlines()[0]).parse_args()
    images, _ = images_and_truth(options.faces, seed=1)
    test, truth = images_and_truth(NUM_TEST, seed=2)
    models, tables = {}, {}
    for label, regularizer in regularizers(options.faces).items():
        print(label, flush=True)
        models[label] = train(VAE, images, options.epochs, scale=SCALE, regularizer=regularizer)
        tables[label] = measure(models[label], test, truth)
    print(f"\n{table(tables)}")
    draw(models, test, truth, options.out)


if __name__ == "__main__":
    main()
