"""Regularisers of the latent: a distribution in, its cost for each example in nats out, `[B]`.

`LatentRegularizer` says what one is. The divergence and its base live with the layers, because
`KLDivergenceAddLoss` is one; here they are handed on under the name of what they do. What measures
a batch as a whole gives each example the same cost, so that the mean over the batch, which the loss
takes, is the measurement.
"""

from tfvae.regularizers.adversarial_total_correlation import AdversarialTotalCorrelation
from tfvae.regularizers.capacity import Capacity
from tfvae.regularizers.disentangled_inferred_prior import DIP
from tfvae.regularizers.free_bits import FreeBits
from tfvae.regularizers.kl_divergence import KLDivergenceRegularizer, LatentRegularizer
from tfvae.regularizers.maximum_mean_discrepancy import MaximumMeanDiscrepancy
from tfvae.regularizers.sum import Sum
from tfvae.regularizers.total_correlation import TotalCorrelation

__all__ = [
    "DIP",
    "AdversarialTotalCorrelation",
    "Capacity",
    "FreeBits",
    "KLDivergenceRegularizer",
    "LatentRegularizer",
    "MaximumMeanDiscrepancy",
    "Sum",
    "TotalCorrelation",
]
