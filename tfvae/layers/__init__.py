"""Layers that output distributions, by the names of `tfp.layers`."""

from tfvae.layers.bernoulli import IndependentBernoulli
from tfvae.layers.distribution_lambda import DistributionLambda
from tfvae.layers.distribution_layer import DistributionLayer, Samples
from tfvae.layers.multivariate_normal import MultivariateNormalDiag
from tfvae.layers.normal import IndependentNormal

__all__ = [
    "DistributionLambda",
    "DistributionLayer",
    "IndependentBernoulli",
    "IndependentNormal",
    "MultivariateNormalDiag",
    "Samples",
]
