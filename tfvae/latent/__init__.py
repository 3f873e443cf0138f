"""The latent space in use: paths, attributes and edits."""

from tfvae.latent.attribute import Attribute, fit_attributes
from tfvae.latent.editing import edit, move_codes
from tfvae.latent.paths import interpolate, most_active_dimensions, traverse
from tfvae.latent.reading import Reading

__all__ = [
    "Attribute",
    "Reading",
    "edit",
    "fit_attributes",
    "interpolate",
    "most_active_dimensions",
    "move_codes",
    "traverse",
]
