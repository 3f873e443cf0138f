"""How well attributes are read off the shipped faces, and what an edit changes beside its own.

    python tools/attribute_report.py [--model saved_models/faces/faces.keras] [--train 8000]

Fits every attribute of `tfvae.data.faces` on faces that were drawn for it, reads them off 4,000
held-out ones, and prints for each: the correlation of the reading's mean with the truth, the share
of truths in the 90 % interval, and where its width comes from. Then adds to one attribute
(smile, unless --edit names another) with all others kept, decodes, encodes the picture again, and
prints how far each reading moved, as a share of its attribute's standard deviation over all faces.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import tfvae
from tfvae.data import faces
from tfvae.latent import edit, fit_attributes

LEVEL = 0.9
NUM_TEST, NUM_EDITED = 4000, 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shipped = Path(__file__).parents[1] / "saved_models/faces/faces.keras"
    parser.add_argument("--model", type=Path, default=shipped)
    parser.add_argument("--train", type=int, default=8000, help="faces to fit the attributes on")
    parser.add_argument("--edit", default="smile", help="the attribute to add to")
    parser.add_argument("--amount", type=float, default=0.5, help="what to add to it")
    options = parser.parse_args()

    model = tfvae.load(options.model)
    size = model.data_shape[0]
    # Seeds that no training used.
    images, labels = faces(options.train, size, seed=101)
    test, truth = faces(NUM_TEST, size, seed=102)
    images, test = (x.astype(np.float32) / 255 for x in (images, test))
    attributes = fit_attributes(model, images, labels)

    print(f"{'attribute':<14}{'correlation':>12}{'coverage':>10}{'width':>8}   variance from")
    print(f"{'':<44}   image, direction, noise")
    for name, attribute in attributes.items():
        reading = attribute.read(model, test)
        low, high = reading.interval(LEVEL)
        correlation = np.corrcoef(reading.mean, truth[name])[0, 1]
        if attribute.binary:
            # Of a yes or no the interval holds a probability: compare its mean with the share.
            covered = f"{np.mean((reading.mean > 0.5) == (truth[name] > 0.5)):.1%} right"
        else:
            covered = f"{np.mean((low <= truth[name]) & (truth[name] <= high)):.1%}"
        parts = [
            np.mean(part)
            for part in (reading.image_variance, reading.direction_variance, reading.noise_variance)
        ]
        shares = ", ".join(f"{part / sum(parts):.0%}" for part in parts)
        print(f"{name:<14}{correlation:>12.3f}{covered:>12}{np.mean(high - low):>8.2f}   {shares}")

    chosen = attributes[options.edit]
    others = [attribute for name, attribute in attributes.items() if name != options.edit]
    some = test[:NUM_EDITED]
    before = {name: attribute.read(model, some).mean for name, attribute in attributes.items()}
    # The edited code is decoded, and what it looks like is encoded again.
    base = model.reconstruct(some)
    edited = edit(model, some, chosen, options.amount, keep=others)
    print(f"\n{options.edit} {options.amount:+g}, the others kept; moved on average, in")
    print("standard deviations of each attribute over the faces:")
    for name, attribute in attributes.items():
        moved = attribute.read(model, edited).mean - attribute.read(model, base).mean
        spread = np.std(before[name])
        mean, absolute = np.mean(moved) / spread, np.mean(abs(moved)) / spread
        print(f"  {name:<14}{mean:>+7.3f}  (absolute {absolute:.3f})")


if __name__ == "__main__":
    main()
