"""The rows of published tables: how the model is made, and what was published, by whom, where.

The default epochs are those that fit into 90 minutes of two slow cores, scored with 5,000 samples
of 10,000 images. There an epoch costs about 4.6 processor seconds for the VAE, 13 for K = 5, 75 to
110 for K = 50 (40 to 60 s on two cores); on a fast processor 1.3, 3.8 and 25. The VampPrior's costs
three to four times the VAE's, since its encoder also sees the 500 pseudo-inputs with every batch,
and its scores twice as much.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tfvae
from reproductions.setting import Setting

IWAE_PAPER = (
    "Burda, Grosse and Salakhutdinov (2016), arXiv:1509.00519, table 1, one stochastic layer"
)
IWAE_EPOCHS = 3280
"""Eight stages of 3^i epochs, i = 0 to 7, at learning rates of 1e-3 * 10^(-i/7), batches of 20."""


class Row(NamedTuple):
    """One row.

    Attributes:
        label: what it is, for people.
        make: makes the model.
        published: the negative log-likelihood that was published, in nats.
        source: who published it, and where.
        published_epochs: epochs behind the published figure; `None` if it was stopped early.
        epochs: what a run takes by default, so that all of it ends within 90 minutes of two cores.
        note: where we differ from the source, beyond what all rows do.
    """

    label: str
    make: Callable[[Setting], Any]
    published: float
    source: str
    published_epochs: int | None
    epochs: int
    note: str = ""


def _vamp_prior(setting: Setting) -> Any:
    pseudo_inputs = setting.training_images(500)
    prior = tfvae.priors.VampPrior(setting.latent_dim, pseudo_inputs, bounds=(0.0, 1.0))
    return setting.vae(prior=prior)


ROWS = {
    "vae": Row(
        "VAE",
        lambda setting: setting.vae(),
        86.76,
        IWAE_PAPER,
        IWAE_EPOCHS,
        epochs=900,
    ),
    "iwae5": Row(
        "IWAE, K = 5",
        lambda setting: setting.vae(objective=tfvae.objectives.IWAE(), num_samples=5),
        85.54,
        IWAE_PAPER,
        IWAE_EPOCHS,
        epochs=300,
    ),
    "iwae50": Row(
        "IWAE, K = 50",
        lambda setting: setting.vae(objective=tfvae.objectives.IWAE(), num_samples=50),
        84.78,
        IWAE_PAPER,
        IWAE_EPOCHS,
        epochs=75,
    ),
    "dreg50": Row(
        "DReG, K = 50",
        lambda setting: setting.vae(objective=tfvae.objectives.DReG(), num_samples=50),
        84.32,
        "public code, github.com/nbip/IWAE, README, DReG estimator, one stochastic layer",
        IWAE_EPOCHS,
        epochs=75,
        note="The estimator is that of Tucker, Lawson, Gu and Maddison (2019), arXiv:1810.04152, "
        "who publish curves, not this figure; the same code gives 84.59 for IWAE, K = 50.",
    ),
    "vampprior": Row(
        "VampPrior, 500 pseudo-inputs",
        _vamp_prior,
        82.38,
        "Tomczak and Welling (2018), arXiv:1705.07120, table 1, dynamicMNIST, VAE (L = 1), a "
        "figure not checked against the paper",
        None,
        epochs=150,
        note="Theirs is another network: 784-300-300-40 with gated layers, a warm-up of 100 epochs "
        "and early stopping; with the standard normal prior it is said to reach 84.50 (not checked "
        "either), where the network used here is published with 86.76.",
    ),
}
