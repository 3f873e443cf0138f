"""Pictures: samples, reconstructions, interpolations, training curves and the latent plane.

Every function takes plain NumPy arrays, so it serves anybody's model, and follows one convention:
it returns a `matplotlib.figure.Figure` and, given `path`, also writes it there as a PNG.
The figures belong to no window and no pyplot state: nothing has to be closed, any thread may draw,
and a notebook shows the returned figure. For other formats call `figure.savefig` on it.
"""

from tfvae.plots.charts import latent_scatter, training_curves
from tfvae.plots.pictures import image_grid, interpolations, latent_manifold, reconstructions

__all__ = [
    "image_grid",
    "interpolations",
    "latent_manifold",
    "latent_scatter",
    "reconstructions",
    "training_curves",
]
