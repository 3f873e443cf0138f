"""What a latent-variable model does with its code: how much of it, at what price, in nats.

They ask a model for `encode`, `elbo_terms` and its prior alone, and leave its random state as it
is, so that a training may be looked at while it goes on (`tfvae.callbacks.LatentDiagnostics`).
"""

from tfvae.metrics.collapse import advice
from tfvae.metrics.diagnostics import Diagnostics, diagnose
from tfvae.metrics.dimensions import active_units, activity, kl_per_dimension
from tfvae.metrics.information import marginal_kl, mutual_information
from tfvae.metrics.rate_distortion import distortion, rate
from tfvae.metrics.streaming import ActiveUnits, KLPerDimension

__all__ = [
    "ActiveUnits",
    "Diagnostics",
    "KLPerDimension",
    "active_units",
    "activity",
    "advice",
    "diagnose",
    "distortion",
    "kl_per_dimension",
    "marginal_kl",
    "mutual_information",
    "rate",
]
