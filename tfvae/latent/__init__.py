"""The latent space in use: paths, attributes, edits and anomalies."""

from tfvae.latent.anomaly import anomaly_score, likelihood_ratio, likelihood_regret, threshold
from tfvae.latent.attribute import Attribute, fit_attributes
from tfvae.latent.editing import edit, move_codes
from tfvae.latent.paths import interpolate, most_active_dimensions, traverse
from tfvae.latent.reading import Reading

__all__ = [
    "Attribute",
    "Reading",
    "anomaly_score",
    "edit",
    "fit_attributes",
    "interpolate",
    "likelihood_ratio",
    "likelihood_regret",
    "most_active_dimensions",
    "move_codes",
    "threshold",
    "traverse",
]
