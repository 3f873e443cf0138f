"""The latent space in use: paths, attributes, edits, anomalies, samplers."""

from tfvae.latent.anomaly import anomaly_score, likelihood_ratio, likelihood_regret, threshold
from tfvae.latent.attribute import Attribute, fit_attributes
from tfvae.latent.editing import edit, move_codes
from tfvae.latent.paths import interpolate, most_active_dimensions, traverse
from tfvae.latent.reading import Reading
from tfvae.latent.sampler import Sampler, fit_sampler, load_sampler

__all__ = [
    "Attribute",
    "Reading",
    "Sampler",
    "anomaly_score",
    "edit",
    "fit_attributes",
    "fit_sampler",
    "interpolate",
    "likelihood_ratio",
    "likelihood_regret",
    "load_sampler",
    "most_active_dimensions",
    "move_codes",
    "threshold",
    "traverse",
]
