"""Features of codes that labels are regressed on: the code itself and, if wanted, its products."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# Rows expanded at once: products of codes take more room than the codes.
_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Features:
    """Polynomials of a standardised code, u = (z - mean) / scale, with a one at the end.

    Degree 1 is `(u, 1)`. Degree 2 is `(u, u_i u_j for i <= j, 1)`, a reading whose direction turns
    with the code: an autoencoder puts a mouth's shape and its place into the same numbers, and what
    smiles on a face that looks left is not what smiles on one that looks right.

    Args:
        mean: of the codes, `[D]`.
        scale: one number, so that the dimensions keep their proportions: a dimension that the model
            does not use must not be blown up to the size of the others.
        degree: 1 or 2.
    """

    mean: np.ndarray
    scale: float
    degree: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of features of each degree, without the one."""
        size = len(self.mean)
        return (size, size * (size + 1) // 2)[: self.degree]

    def expand(self, codes: np.ndarray) -> np.ndarray:
        """The features of codes `[N, D]`: `[N, F + 1]`."""
        u = (codes - self.mean) / self.scale
        parts = [u]
        if self.degree == 2:
            i, j = np.triu_indices(u.shape[1])
            parts.append(u[:, i] * u[:, j])
        return np.concatenate([*parts, np.ones((len(u), 1))], axis=1)

    def chunks(self, codes: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """The features of a few rows at a time, with the rows."""
        for start in range(0, len(codes), _ROWS):
            rows = slice(start, start + _ROWS)
            yield rows, self.expand(codes[rows])

    def polynomial(self, weights: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """A reading's intercept, gradient `[D]` and curvature `[D, D]` at the mean code.

        The reading of z is `intercept + gradient'(z - mean) + (z - mean)' curvature (z - mean) / 2`
        for weights `[F + 1]`.
        """
        size = len(self.mean)
        curvature = np.zeros((size, size))
        if self.degree == 2:
            curvature[np.triu_indices(size)] = weights[size:-1]
            curvature = (curvature + curvature.T) / self.scale**2
        return float(weights[-1]), weights[:size] / self.scale, curvature
