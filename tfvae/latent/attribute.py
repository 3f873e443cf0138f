"""Attributes: readings of the latent space that mean something, with their uncertainty.

A smile is not a number but a distribution. What an image says of it is uncertain for three reasons,
which a reading keeps apart: the image leaves its code open (q(z|x)), the labelled images leave the
weights open (the regression's posterior), and the code does not hold all of the label (the noise).

Codes count as known where an attribute is fitted, at the means of their posteriors, so the noise
that is found contains what their uncertainty adds on average. That average is taken off, for each
reading adds its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfvae.latent import regression
from tfvae.latent.codes import BATCH_SIZE, Codes, encode
from tfvae.latent.features import Features
from tfvae.latent.reading import Reading
from tfvae.models.examples import as_batch, check_choice

KINDS = ("auto", "continuous", "binary")
# Up to this size the products of a code are few enough to be worth their time by default.
_SMALL_CODE = 64
_PARTS = (
    "code_mean",
    "code_scale",
    "code_covariance",
    "weights",
    "covariance",
    "noise_variance",
    "label_range",
)


@dataclass(frozen=True, eq=False)
class Attribute:
    """A labelled reading of the latent space, and how well it is known.

    Made by `Attribute.fit`. It reads `w'f(z)` off a code z: the label itself if that is a number,
    its log-odds if it is yes or no.

    Args:
        features: f, see `tfvae.latent.features.Features`.
        posterior: of w, with the noise that is left.
        code_covariance: covariance of the codes it was fitted on, `[D, D]`.
        label_range: the smallest and the largest label.
        binary: whether labels are yes or no.

    Example:
        >>> from tfvae.data import faces
        >>> from tfvae.models import VAE
        >>> images, labels = faces(64, size=16)
        >>> images = images.astype("float32") / 255
        >>> vae = VAE.for_images((16, 16, 3), latent_dim=4, hidden=(32,), likelihood="normal")
        >>> smile = Attribute.fit(vae, images, labels["smile"])
        >>> low, high = smile.read(vae, images[:2]).interval(0.9)
        >>> low.shape, bool((low < high).all())
        ((2,), True)
    """

    features: Features
    posterior: regression.Posterior
    code_covariance: np.ndarray
    label_range: tuple[float, float]
    binary: bool

    @classmethod
    def fit(
        cls,
        model: Any,
        images: Any,
        labels: Any,
        kind: str = "auto",
        degree: int | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> Attribute:
        """Finds how a label depends on the code: Bayesian regression, with nothing to tune.

        Args:
            model: a built model of tfvae; an autoencoder's codes count as certain.
            images: `[N, *data_shape]`, as the model takes them.
            labels: numbers or booleans `[N]`.
            kind: `"continuous"`, `"binary"` or `"auto"`: binary if the labels are zeros and ones.
            degree: 1 for one direction for all codes, 2 for a direction that turns with the code;
                see `Features`. By default 2 for codes of up to 64 numbers: its time grows with the
                sixth power of their size.
            batch_size: how many images are encoded at a time.

        Returns:
            The attribute.

        Raises:
            ValueError: if there are not as many labels as images, they are not finite, all the
                same, or not zeros and ones where `kind` is `"binary"`; or for another degree.
        """
        batch, _ = as_batch(model, images, "images")
        return cls.fit_codes(encode(model, batch, batch_size), labels, kind, degree)

    @classmethod
    def fit_codes(
        cls, codes: Codes, labels: Any, kind: str = "auto", degree: int | None = None
    ) -> Attribute:
        """As `fit`, from codes that are there already."""
        check_choice("kind", kind, KINDS)
        labels = _check_labels(labels, len(codes.mean))
        zeros_and_ones = set(np.unique(labels)) == {0.0, 1.0}
        if kind == "binary" and not zeros_and_ones:
            raise ValueError(
                "Binary labels are zeros and ones, both of them. "
                f"Received: values from {labels.min():g} to {labels.max():g}"
            )
        if degree is None:
            degree = 2 if codes.mean.shape[1] <= _SMALL_CODE else 1
        if degree not in (1, 2):
            raise ValueError(f"`degree` must be 1, 2 or None. Received: {degree!r}")
        centred = codes.mean - codes.mean.mean(axis=0)
        spread = float(np.sqrt(np.mean(centred**2)))
        if spread == 0:
            raise ValueError(
                "The codes of the images must differ, or nothing can be read off them. "
                f"Received: {len(labels)} times the same code"
            )
        features = Features(codes.mean.mean(axis=0), spread, degree)
        binary = zeros_and_ones if kind == "auto" else kind == "binary"
        regress = regression.logistic if binary else regression.linear
        posterior = regress(features, codes.mean, labels)
        covariance = centred.T @ centred / max(len(centred) - 1, 1)
        label_range = (float(labels.min()), float(labels.max()))
        made = cls(features, posterior, covariance, label_range, binary)
        vagueness = float(np.mean(codes.variance_along(made.direction(codes.mean))))
        noise = max(posterior.noise_variance - vagueness, 0.0)
        return replace(made, posterior=posterior._replace(noise_variance=noise))

    # ---- reading ------------------------------------------------------------------------------

    def read(self, model: Any, x: Any, batch_size: int = BATCH_SIZE) -> Reading:
        """What images say of the attribute, as a distribution for each.

        The label of x is `w'f(z) + noise` with z ~ q(z|x), of mean m and covariance C, and w from
        the regression's posterior, of covariance V. Its mean is `w'f(m)`, its variance
        `d'Cd + f(m)'V f(m) + noise`, to first order in C, where d is the direction at m.

        Args:
            model: the model the attribute was fitted with.
            x: `[N, *data_shape]`, or one example.
            batch_size: how many images are encoded at a time.

        Returns:
            The readings of all images.

        Raises:
            ValueError: if the data or the model's code has another shape.
        """
        batch, single = as_batch(model, x)
        reading = self.read_codes(encode(model, batch, batch_size))
        return reading.of(0) if single else reading

    def read_codes(self, codes: Codes) -> Reading:
        """As `read`, from codes that are there already."""
        weights, covariance, noise = self.posterior
        self.check_size(codes.mean.shape[1])
        loc, doubt = np.empty(len(codes.mean)), np.empty(len(codes.mean))
        for rows, f in self.features.chunks(codes.mean):
            loc[rows] = f @ weights
            doubt[rows] = np.sum((f @ covariance) * f, axis=1)
        vagueness = codes.variance_along(self.direction(codes.mean))
        return Reading(loc, vagueness, doubt, np.full(len(loc), noise), self.binary)

    def score(self, codes: np.ndarray) -> np.ndarray:
        """The mean reading of codes `[N, D]`: of the label, or of its log-odds, `[N]`."""
        intercept, gradient, curvature = self.polynomial
        centred = codes - self.features.mean
        return intercept + centred @ gradient + 0.5 * np.sum(centred @ curvature * centred, axis=1)

    def direction(self, codes: np.ndarray) -> np.ndarray:
        """The gradient of the reading at codes `[N, D]`: `[N, D]`, the same row if degree is 1."""
        _, gradient, curvature = self.polynomial
        return gradient + (codes - self.features.mean) @ curvature

    @property
    def polynomial(self) -> tuple[float, np.ndarray, np.ndarray]:
        """Intercept, gradient `[D]` and curvature `[D, D]` at the mean code c.

        The mean reading is `intercept + gradient'(z - c) + (z - c)' curvature (z - c) / 2`: all
        that a program needs to read codes without this package.
        """
        return self.features.polynomial(self.posterior.weights)

    # ---- configuration ------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """All of the attribute as plain lists and numbers, fit for JSON.

        The covariance of the weights is by far the largest part. A program that only reads and
        moves codes needs `polynomial` and the code's mean and covariance.
        """
        weights, covariance, noise = self.posterior
        return {
            "degree": self.features.degree,
            "code_mean": self.features.mean.tolist(),
            "code_scale": self.features.scale,
            "code_covariance": self.code_covariance.tolist(),
            "weights": weights.tolist(),
            "covariance": covariance.tolist(),
            "noise_variance": noise,
            "label_range": list(self.label_range),
            "binary": self.binary,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Attribute:
        """The attribute of a configuration.

        Raises:
            ValueError: if a part is missing, not finite or of a shape that does not fit.
        """
        try:
            part = {name: np.asarray(config[name], np.float64) for name in _PARTS}
            degree, binary = int(config["degree"]), bool(config["binary"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                "An attribute's configuration has the parts that `get_config` gives. "
                f"Received: {type(error).__name__}: {error}"
            ) from error
        features = Features(part["code_mean"], float(part["code_scale"].mean()), degree)
        size, weights = part["code_mean"].size, sum(features.sizes) + 1
        shapes = dict.fromkeys(_PARTS, ()) | {
            "code_mean": (size,),
            "code_covariance": (size, size),
            "weights": (weights,),
            "covariance": (weights, weights),
            "label_range": (2,),
        }
        received = {name: array.shape for name, array in part.items()}
        finite = all(np.isfinite(array).all() for array in part.values())
        if received != shapes or not finite or degree not in (1, 2):
            raise ValueError(
                f"An attribute of degree 1 or 2 of codes of {size} numbers is finite and has the "
                f"shapes {shapes}. Received: degree {degree}, shapes {received}"
            )
        posterior = regression.Posterior(
            part["weights"], part["covariance"], float(part["noise_variance"])
        )
        low, high = part["label_range"].tolist()
        return cls(features, posterior, part["code_covariance"], (low, high), binary)

    def check_size(self, size: int) -> None:
        """Raises `ValueError` unless codes of so many numbers are what it was fitted on."""
        if size != len(self.features.mean):
            raise ValueError(
                f"The attribute was fitted on codes of {len(self.features.mean)} numbers; use the "
                f"same model. Received: {size}"
            )


def fit_attributes(
    model: Any,
    images: Any,
    labels: Mapping[str, Any],
    degree: int | None = None,
    batch_size: int = BATCH_SIZE,
) -> dict[str, Attribute]:
    """Fits an attribute for each set of labels, and encodes the images once.

    Args:
        model: a built model of tfvae.
        images: `[N, *data_shape]`.
        labels: numbers or booleans `[N]` by name, such as the attributes of `tfvae.data.faces`.
        degree: as for `Attribute.fit`.
        batch_size: how many images are encoded at a time.

    Returns:
        The attributes by name.

    Raises:
        ValueError: as `Attribute.fit`.
    """
    codes = encode(model, as_batch(model, images, "images")[0], batch_size)
    return {
        name: Attribute.fit_codes(codes, values, degree=degree) for name, values in labels.items()
    }


def _check_labels(labels: Any, count: int) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.dtype.kind not in "biuf" or labels.shape != (count,):
        raise ValueError(
            f"`labels` must be numbers or booleans, one for each of the {count} images. "
            f"Received: dtype {labels.dtype}, shape {labels.shape}"
        )
    labels = labels.astype(np.float64)
    if not np.isfinite(labels).all() or labels.min() == labels.max():
        raise ValueError(
            "`labels` must be finite, and not all the same. "
            f"Received: values from {labels.min()} to {labels.max()}"
        )
    return labels
