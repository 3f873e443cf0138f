"""How well three scores tell Fashion-MNIST from MNIST, both ways.

    python tools/anomaly_benchmark.py --fashion FOLDER --mnist MNIST.npz [--epochs 12]

A VAE learns the training images of one of the two and scores held-out images of both: minus the
likelihood, its ratio to a lossless coder, and the likelihood regret. Prints for each score the area
under the ROC curve (AUROC: 0.5 for a score that knows nothing, below 0.5 for one that ranks the
wrong way round) and the share of the other kind that is above a threshold which 95 % of the usual
kind pass. The likelihood is a discretised logistic over the 256 grey levels, so that nats and the
bits of a PNG file measure the same thing.

FOLDER holds Fashion-MNIST as IDX files, as Debian's package dataset-fashion-mnist installs them.

Reference:
    Nalisnick et al. (2019), arXiv:1810.09136; Serra et al. (2020), arXiv:1909.11480;
    Xiao, Yan and Amit (2020), arXiv:2003.02977. See `tfvae.latent.anomaly`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import keras
import numpy as np

from tfvae import VAE, data, latent, layers, networks

LATENT, HIDDEN = 16, (32, 64)


def make(shape: tuple[int, ...]) -> VAE:
    """A convolutional VAE with a discretised logistic likelihood."""
    size = layers.MultivariateNormalDiag.params_size(LATENT)
    encoder = networks.conv_encoder(shape, size, HIDDEN)
    decoder = networks.conv_decoder(LATENT, shape, 2 * shape[-1], HIDDEN[::-1])
    return VAE(
        keras.Sequential([*encoder.layers, layers.MultivariateNormalDiag(LATENT)]),
        keras.Sequential([*decoder.layers, layers.DiscretizedLogistic(shape)]),
    )


def auroc(usual: np.ndarray, strange: np.ndarray) -> float:
    """The probability that a strange image scores higher than a usual one; a tie counts half."""
    order = np.sort(usual)
    below = np.searchsorted(order, strange, "left")
    not_above = np.searchsorted(order, strange, "right")
    return float((below + not_above).mean() / 2 / len(usual))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fashion", required=True, help="folder of IDX files")
    parser.add_argument("--mnist", required=True, help="MNIST in Keras' layout")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--test", type=int, default=1000, help="images of each kind to score")
    options = parser.parse_args()
    splits = {
        "Fashion-MNIST": data.load(options.fashion, validation_fraction=0),
        "MNIST": data.load(options.mnist, validation_fraction=0),
    }
    scores: dict[str, Callable] = {
        "-log p(x)": latent.anomaly_score,
        "likelihood ratio (PNG)": latent.likelihood_ratio,
        "likelihood regret": partial(latent.likelihood_regret, num_steps=100),
    }
    print("| trained on | strange | score | AUROC | found at 5 % false alarms | ms an image |")
    print("|---|---|---|---|---|---|")
    for name, other in (("Fashion-MNIST", "MNIST"), ("MNIST", "Fashion-MNIST")):
        keras.utils.set_random_seed(0)
        train = splits[name].train.images
        model = make(train.shape[1:])
        model.compile()
        model.fit(train / np.float32(255), batch_size=128, epochs=options.epochs, verbose=0)
        # The threshold comes from images that neither the training nor the test has seen.
        held_out, usual = (
            splits[name].test.images[part].astype(np.float32) / 255
            for part in (slice(options.test, 2 * options.test), slice(options.test))
        )
        strange = splits[other].test.images[: options.test].astype(np.float32) / 255
        for label, score in scores.items():
            started = time.perf_counter()
            usual_scores, strange_scores = score(model, usual), score(model, strange)
            milliseconds = (time.perf_counter() - started) / (2 * options.test) * 1e3
            limit = latent.threshold(score(model, held_out), 0.95)
            print(
                f"| {name} | {other} | {label} | {auroc(usual_scores, strange_scores):.3f} "
                f"| {np.mean(strange_scores > limit):.1%} | {milliseconds:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
