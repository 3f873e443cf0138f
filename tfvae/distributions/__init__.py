"""The bridge between TFP's distributions and Keras 3, what both need beneath, what TFP lacks."""

from tfvae.distributions.bridge import as_tensor_like, plain, value_is_draw
from tfvae.distributions.categorical import Categorical, OneHotCategoricalMixture
from tfvae.distributions.central import central_value
from tfvae.distributions.diagonal_normal import MultivariateNormalDiag
from tfvae.distributions.discretized_logistic import DiscretizedLogistic
from tfvae.distributions.flow_bijectors import InverseAutoregressive, Radial, Sylvester
from tfvae.distributions.gamma_draws import Beta, Gamma, NegativeBinomial, StudentT
from tfvae.distributions.low_rank_normal import MultivariateNormalLowRank
from tfvae.distributions.normal_mixture import NormalMixture, by_differences, mixture_of
from tfvae.distributions.precision import float_dtype
from tfvae.distributions.scales import (
    positive_concentration,
    positive_scale,
    smooth_clip,
    softplus,
)
from tfvae.distributions.von_mises_fisher import VonMisesFisher
from tfvae.distributions.zero_inflated import ZeroInflated

__all__ = [
    "Beta",
    "Categorical",
    "DiscretizedLogistic",
    "Gamma",
    "InverseAutoregressive",
    "MultivariateNormalDiag",
    "MultivariateNormalLowRank",
    "NegativeBinomial",
    "NormalMixture",
    "OneHotCategoricalMixture",
    "Radial",
    "StudentT",
    "Sylvester",
    "VonMisesFisher",
    "ZeroInflated",
    "as_tensor_like",
    "by_differences",
    "central_value",
    "float_dtype",
    "mixture_of",
    "plain",
    "positive_concentration",
    "positive_scale",
    "smooth_clip",
    "softplus",
    "value_is_draw",
]
