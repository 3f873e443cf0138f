"""Priors p(z): Keras layers without an input, so that what they learn is seen, trained and saved.

Calling a prior gives its distribution; `draw` samples it from seeds, one a row, with
`tfvae.random`, so that a seed means the same code in Python, TF Serving and TFLite.
"""

from tfvae.priors.affine import Affine
from tfvae.priors.base import Prior
from tfvae.priors.flow import NormalizingFlow
from tfvae.priors.mixture import GaussianMixture, VampPrior
from tfvae.priors.normal import StandardNormal, TrainableNormal
from tfvae.priors.second_stage import SecondStage
from tfvae.priors.sphere import SphericalUniform

__all__ = [
    "Affine",
    "GaussianMixture",
    "NormalizingFlow",
    "Prior",
    "SecondStage",
    "SphericalUniform",
    "StandardNormal",
    "TrainableNormal",
    "VampPrior",
]
