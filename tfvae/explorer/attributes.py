"""What a page knows of attributes: polynomials to read and move codes with, and how well.

The page computes `Attribute.read_codes` and `move_codes` itself. For both it needs each reading's
polynomial, and the covariance of the codes. For the doubt about the weights, `f'V f`, it gets a
factor L of V = L L', because the length of L'f cannot turn negative when L is rounded: 16 bits an
entry, each column with a scale of its own, are exact to a few parts in a hundred thousand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfvae.latent import Attribute, move_codes
from tfvae.latent.codes import Codes

# Of a code; above it the products of a code's numbers would outweigh the model.
_LARGEST_FOR_DEGREE_2 = 24
# Every so many examples are kept from the fit, to see how well a label is read.
_HELD_OUT = 5
# Of the label's variance (of held-out examples) that a reading must explain to get a slider.
SMALLEST_SHARE = 0.2
_INT16 = 32767
# A binary reading's slider spans at least these log-odds: from 12 to 88 %.
_SHORTEST_REACH = 2.0


@dataclass(frozen=True, eq=False)
class Fitted:
    """Attributes that a page shows.

    Attributes:
        attributes: by name.
        share: of each label's variance that its reading explains in held-out examples.
        holds: for each attribute, the names of those that stay while it moves.
        left_out: names of labels that the code says too little of, and what was found.
    """

    attributes: dict[str, Attribute]
    share: dict[str, float]
    holds: dict[str, list[str]]
    left_out: dict[str, str]


def fit(codes: Codes, labels: Mapping[str, Any]) -> Fitted:
    """Fits an attribute for each set of labels, and keeps those that can be read off the code.

    The share of the variance is measured on every fifth example, which the measured fit has not
    seen: `1 - E[(y - reading)^2] / Var[y]`, the reading of a binary label being its probability.

    Args:
        codes: of `N` examples.
        labels: numbers or booleans `[N]` by name.

    Returns:
        The attributes, fitted to all examples.

    Raises:
        ValueError: as `Attribute.fit_codes`.
    """
    degree = 2 if codes.mean.shape[1] <= _LARGEST_FOR_DEGREE_2 else 1
    held_out = np.arange(len(codes.mean)) % _HELD_OUT == _HELD_OUT - 1
    attributes, share, left_out = {}, {}, {}
    for name, label in labels.items():
        found = _share(codes, np.asarray(label), degree, held_out)
        if found < SMALLEST_SHARE:
            left_out[name] = f"the code explains {max(found, 0):.0%} of its variance"
        else:
            share[name] = found
            attributes[name] = Attribute.fit_codes(codes, label, degree=degree)
    holds = {name: _hold(name, attributes, labels, codes) for name in attributes}
    return Fitted(attributes, share, holds, left_out)


def _share(codes: Codes, label: np.ndarray, degree: int, held_out: np.ndarray) -> float:
    seen = label[~held_out]
    if len(np.unique(seen)) < 2 or len(np.unique(label[held_out])) < 2:
        return 0.0
    fitted = Attribute.fit_codes(_rows(codes, ~held_out), seen, degree=degree)
    reading = fitted.read_codes(_rows(codes, held_out)).mean
    expected = label[held_out].astype(np.float64)
    return float(1 - np.mean((expected - reading) ** 2) / expected.var())


def _rows(codes: Codes, which: np.ndarray) -> Codes:
    return Codes(codes.mean[which], codes.covariance[which])


def _hold(
    name: str, attributes: Mapping[str, Attribute], labels: Mapping[str, Any], codes: Codes
) -> list[str]:
    """Those that can stay: neither excluded by the attribute nor mixed up with it."""
    chosen: list[str] = []
    # A few codes are enough to see whether the directions are independent.
    some = codes.mean[:16]
    for other in attributes:
        if other == name or _exclude(labels[name], labels[other]):
            continue
        try:
            keep = [attributes[held] for held in (*chosen, other)]
            move_codes(some, attributes[name], 0.0, keep)
        except ValueError:
            continue
        chosen.append(other)
    return chosen


def _exclude(a: Any, b: Any) -> bool:
    """Whether two sets of labels are yes or no and never both yes, as classes are."""
    a, b = np.asarray(a), np.asarray(b)
    both_binary = {*np.unique(a)} <= {0, 1} and {*np.unique(b)} <= {0, 1}
    return both_binary and not bool(np.any((a > 0) & (b > 0)))


def describe(
    fitted: Fitted, codes: Codes, meanings: Mapping[str, str]
) -> tuple[list[dict[str, Any]], bytes]:
    """Turns attributes into what the page reads.

    Args:
        fitted: the attributes.
        codes: what they were fitted on.
        meanings: a sentence about an attribute, by its name.

    Returns:
        An entry of `page.json` for each, and the factors of all of them, in the same order: int16,
        little-endian, columns one after another, each from its diagonal down.
    """
    entries, factors = [], []
    for name, attribute in fitted.attributes.items():
        intercept, gradient, curvature = attribute.polynomial
        scales, factor = _pack_factor(attribute.posterior.covariance)
        factors.append(factor)
        low, high = _slider_range(attribute, codes)
        entries.append(
            {
                "name": name,
                "title": name.replace("_", " "),
                "meaning": meanings.get(name, ""),
                "binary": attribute.binary,
                "label_range": list(attribute.label_range),
                "range": [low, high],
                "share": fitted.share[name],
                "hold": fitted.holds[name],
                "intercept": intercept,
                "gradient": gradient.tolist(),
                "curvature": curvature.tolist(),
                "noise_variance": attribute.posterior.noise_variance,
                "factor_scales": scales,
            }
        )
    return entries, b"".join(factors)


def describe_codes(attributes: Iterable[Attribute]) -> dict[str, Any] | None:
    """What all attributes share: the features and the codes they were fitted on."""
    first = next(iter(attributes), None)
    if first is None:
        return None
    # E[f(Z)] = sum of weight * f(node) for a standard normal Z: the mean of a logit-normal.
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    return {
        "degree": first.features.degree,
        "mean": first.features.mean.tolist(),
        "scale": first.features.scale,
        "covariance": first.code_covariance.tolist(),
        "quadrature": [nodes.tolist(), (weights / weights.sum()).tolist()],
    }


def _slider_range(attribute: Attribute, codes: Codes) -> tuple[float, float]:
    """From the smallest label to the largest, or the log-odds that all but 2 % of codes have."""
    if not attribute.binary:
        return attribute.label_range
    low, high = np.quantile(attribute.score(codes.mean), [0.01, 0.99])
    return min(float(low), -_SHORTEST_REACH), max(float(high), _SHORTEST_REACH)


def _pack_factor(covariance: np.ndarray) -> tuple[list[float], bytes]:
    """The lower factor of a covariance, column by column, as int16 and a scale for each."""
    factor = _lower_factor(covariance)
    columns: Sequence[np.ndarray] = [factor[i:, i] for i in range(len(factor))]
    scales = [float(np.abs(column).max()) / _INT16 for column in columns]
    whole = [
        np.round(column / scale if scale else column * 0)
        for column, scale in zip(columns, scales, strict=True)
    ]
    return scales, np.concatenate(whole).astype("<i2").tobytes()


def _lower_factor(covariance: np.ndarray) -> np.ndarray:
    """L of V = L L', also where rounding has made V indefinite: QR of its square root."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    upper: np.ndarray = np.asarray(np.linalg.qr(root.T, mode="r"))
    return upper.T
