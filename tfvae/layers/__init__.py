"""Layers that output distributions, or whose weights have one, by the names of `tfp.layers`."""

from tfvae.layers.autoregressive import AutoregressiveTransform
from tfvae.layers.bernoulli import IndependentBernoulli
from tfvae.layers.beta import IndependentBeta
from tfvae.layers.categorical import (
    CategoricalMixtureOfOneHotCategorical,
    IndependentCategorical,
    OneHotCategorical,
)
from tfvae.layers.continuous_bernoulli import IndependentContinuousBernoulli
from tfvae.layers.conv_variational import (
    Conv1DFlipout,
    Conv1DReparameterization,
    Conv2DFlipout,
    Conv2DReparameterization,
    Conv3DFlipout,
    Conv3DReparameterization,
    Convolution1DFlipout,
    Convolution1DReparameterization,
    Convolution2DFlipout,
    Convolution2DReparameterization,
    Convolution3DFlipout,
    Convolution3DReparameterization,
)
from tfvae.layers.counts import (
    IndependentNegativeBinomial,
    IndependentPoisson,
    IndependentZeroInflatedNegativeBinomial,
)
from tfvae.layers.dense_variational import (
    DenseFlipout,
    DenseLocalReparameterization,
    DenseReparameterization,
)
from tfvae.layers.discretized_logistic import DiscretizedLogistic, MixtureDiscretizedLogistic
from tfvae.layers.distribution_lambda import DistributionLambda
from tfvae.layers.distribution_layer import DistributionLayer, Samples
from tfvae.layers.flow_posteriors import PlanarFlow, RadialFlow, SylvesterFlow
from tfvae.layers.gamma import IndependentGamma
from tfvae.layers.gaussian_process import VariationalGaussianProcess
from tfvae.layers.initializers import BlockwiseInitializer
from tfvae.layers.inverse_autoregressive import InverseAutoregressiveFlow
from tfvae.layers.joint_variational import DenseVariational
from tfvae.layers.kl_divergence import KLDivergenceAddLoss, KLDivergenceRegularizer
from tfvae.layers.laplace import IndependentLaplace
from tfvae.layers.logistic import IndependentLogistic
from tfvae.layers.mean_field import (
    default_loc_scale_fn,
    default_mean_field_normal_fn,
    default_multivariate_normal_fn,
)
from tfvae.layers.mixture import MixtureLogistic, MixtureNormal, MixtureSameFamily
from tfvae.layers.multivariate_normal import (
    MultivariateNormalDiag,
    MultivariateNormalLowRank,
    MultivariateNormalTriL,
)
from tfvae.layers.normal import IndependentNormal
from tfvae.layers.student_t import IndependentStudentT
from tfvae.layers.variable import VariableLayer
from tfvae.layers.variational_weight import ScaledKLDivergence
from tfvae.layers.von_mises_fisher import VonMisesFisher

__all__ = [
    "AutoregressiveTransform",
    "BlockwiseInitializer",
    "CategoricalMixtureOfOneHotCategorical",
    "Conv1DFlipout",
    "Conv1DReparameterization",
    "Conv2DFlipout",
    "Conv2DReparameterization",
    "Conv3DFlipout",
    "Conv3DReparameterization",
    "Convolution1DFlipout",
    "Convolution1DReparameterization",
    "Convolution2DFlipout",
    "Convolution2DReparameterization",
    "Convolution3DFlipout",
    "Convolution3DReparameterization",
    "DenseFlipout",
    "DenseLocalReparameterization",
    "DenseReparameterization",
    "DenseVariational",
    "DiscretizedLogistic",
    "DistributionLambda",
    "DistributionLayer",
    "IndependentBernoulli",
    "IndependentBeta",
    "IndependentCategorical",
    "IndependentContinuousBernoulli",
    "IndependentGamma",
    "IndependentLaplace",
    "IndependentLogistic",
    "IndependentNegativeBinomial",
    "IndependentNormal",
    "IndependentPoisson",
    "IndependentStudentT",
    "IndependentZeroInflatedNegativeBinomial",
    "InverseAutoregressiveFlow",
    "KLDivergenceAddLoss",
    "KLDivergenceRegularizer",
    "MixtureDiscretizedLogistic",
    "MixtureLogistic",
    "MixtureNormal",
    "MixtureSameFamily",
    "MultivariateNormalDiag",
    "MultivariateNormalLowRank",
    "MultivariateNormalTriL",
    "OneHotCategorical",
    "PlanarFlow",
    "RadialFlow",
    "Samples",
    "ScaledKLDivergence",
    "SylvesterFlow",
    "VariableLayer",
    "VariationalGaussianProcess",
    "VonMisesFisher",
    "default_loc_scale_fn",
    "default_mean_field_normal_fn",
    "default_multivariate_normal_fn",
]
