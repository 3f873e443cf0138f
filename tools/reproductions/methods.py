"""Every method by its argument, on one network, with where its formula is from and what checks it.

To add one, add a line to its group: how its model is made from a `Setting`, the reference of its
formula, and the test that compares it with an oracle, as `path::name`. Warm-ups are of fixed
lengths, for the number of epochs is known only once some have been measured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tfvae
from reproductions.setting import Setting

BASELINE = "vae"
"""Whose images the others' are compared with, one by one."""
WARM_UP_EPOCHS = 10
DRAWS = 5


class Method(NamedTuple):
    """One line of the table.

    Attributes:
        label: what it is, for people.
        make: makes the model.
        reference: authors, year, arXiv id and equation of its formula.
        test: the test that compares it with an oracle, as `path::name`.
    """

    label: str
    make: Callable[[Setting], Any]
    reference: str
    test: str


def _objective(make: Callable[[], Any], draws: int = DRAWS) -> Callable[[Setting], Any]:
    return lambda setting: setting.vae(objective=make(), num_samples=draws)


def _prior(make: Callable[[Setting], Any]) -> Callable[[Setting], Any]:
    return lambda setting: setting.vae(prior=make(setting))


def _regularizer(make: Callable[[Any, Setting], Any]) -> Callable[[Setting], Any]:
    """Of what takes a standard normal prior, and the setting."""

    def model(setting: Setting) -> Any:
        prior = tfvae.priors.StandardNormal(setting.latent_dim)
        return setting.vae(regularizer=make(prior, setting))

    return model


def _posterior(layer: str, **options: Any) -> Callable[[Setting], Any]:
    """Of a layer of `tfvae.layers` that takes the size of a code and these options."""

    def model(setting: Setting) -> Any:
        kind = getattr(tfvae.layers, layer)
        size = kind.params_size(setting.latent_dim, **options)
        return setting.vae_with_posterior(size, kind(setting.latent_dim, **options))

    return model


def _autoencoder(penalty: str, weight: float) -> Callable[[Setting], Any]:
    # Weights of a likelihood in nats, as in `tfvae.Autoencoder`.
    return lambda setting: setting.autoencoder(
        code_weight=1e-2, decoder_penalty=penalty, decoder_weight=weight
    )


def _cyclical(setting: Setting) -> Any:
    return setting.vae(beta=tfvae.schedules.Cyclical(_warm_up(setting), cycles=4))


def _dip(prior: Any, kind: str) -> Any:
    # As in the paper: kind "i" holds the diagonal ten times as hard, kind "ii" alike.
    diagonal = 100.0 if kind == "i" else 10.0
    divergence = tfvae.regularizers.KLDivergenceRegularizer(prior)
    return tfvae.regularizers.Sum([divergence, tfvae.regularizers.DIP(10.0, diagonal, kind)])


def _spherical(setting: Setting) -> Any:
    size = tfvae.layers.VonMisesFisher.params_size(setting.latent_dim)
    layer = tfvae.layers.VonMisesFisher(setting.latent_dim)
    prior = tfvae.priors.SphericalUniform(setting.latent_dim)
    return setting.vae_with_posterior(size, layer, prior=prior)


def _sylvester(setting: Setting) -> Any:
    # Fewer dimensions than units only where a test's codes are short.
    return _posterior("SylvesterFlow", num_flows=4, num_units=min(8, setting.latent_dim))(setting)


def _autoregressive(setting: Setting) -> Any:
    from tfvae.flows import AutoregressiveNetwork

    made = AutoregressiveNetwork(
        2, event_shape=setting.latent_dim, hidden_units=[64], activation="tanh"
    )
    diagonal = tfvae.layers.MultivariateNormalDiag(setting.latent_dim)
    flow = tfvae.layers.AutoregressiveTransform(made)
    return setting.vae_with_posterior(2 * setting.latent_dim, diagonal, flow)


def _warm_up(setting: Setting) -> int:
    return WARM_UP_EPOCHS * setting.steps


_LATENT = "tests/regularizers/test_latent_regularizers.py::"
_BOUND = "tests/test_objectives.py::test_bounds_are_their_formulas"
_GRADIENT = (
    "tests/test_objectives.py::test_gradients_have_the_mean_of_the_derivative_of_their_bound"
)
_SCHEDULE = "tests/test_schedules.py::test_values_are_those_of_the_formula"
_PRIOR = "tests/priors/test_prior_family.py::"
_FAMILY = "tests/layers/test_vector_families.py::"
_FLOW = "tests/layers/test_flow_posteriors.py::test_density_is_the_change_of_variables_of_the_draws"
_REGULARIZED = "tests/models/test_regularized_autoencoder.py::"
_RAINFORTH = "Rainforth, Kosiorek, Le, Maddison, Igl, Wood and Teh (2018), arXiv:1802.04537, "

REGULARIZERS = {
    BASELINE: Method(
        "VAE",
        lambda setting: setting.vae(),
        "Kingma and Welling (2014), arXiv:1312.6114, eq. 7",
        "tests/models/test_vae.py::test_loss_is_nll_plus_beta_times_kl_averaged_by_example",
    ),
    "beta4": Method(
        "beta-VAE, beta = 4",
        lambda setting: setting.vae(beta=4.0),
        "Higgins et al. (2017), beta-VAE, ICLR, eq. 4",
        "tests/models/test_vae.py::test_loss_is_nll_plus_beta_times_kl_averaged_by_example",
    ),
    "warmup": Method(
        "linear warm-up of the KL",
        lambda setting: setting.vae(beta=tfvae.schedules.LinearWarmup(_warm_up(setting))),
        "Sønderby, Raiko, Maaløe, Sønderby and Winther (2016), arXiv:1602.02282, section 2.3",
        _SCHEDULE,
    ),
    "cyclical": Method(
        "cyclical warm-up of the KL",
        _cyclical,
        "Fu, Li, Liu, Gao, Celikyilmaz and Carin (2019), arXiv:1903.10145, eq. 6 and 7",
        _SCHEDULE,
    ),
    "capacity": Method(
        "Capacity, to 25 nats, gamma = 30",
        _regularizer(
            lambda prior, setting: tfvae.regularizers.Capacity(
                prior, tfvae.schedules.LinearWarmup(_warm_up(setting), stop=25.0), weight=30.0
            )
        ),
        "Burgess et al. (2018), arXiv:1804.03599, eq. 8",
        _LATENT + "test_capacity_is_the_distance_of_the_divergence",
    ),
    "freebits": Method(
        "FreeBits, 0.1 nats a dimension",
        _regularizer(lambda prior, setting: tfvae.regularizers.FreeBits(prior, nats=0.1)),
        "Kingma et al. (2016), arXiv:1606.04934, eq. 15",
        _LATENT + "test_free_bits_are_free_for_each_group",
    ),
    "betatc": Method(
        "TotalCorrelation (beta-TCVAE), beta = 6",
        _regularizer(
            lambda prior, setting: tfvae.regularizers.TotalCorrelation(
                prior, dataset_size=len(setting.train), beta=6.0
            )
        ),
        "Chen, Li, Grosse and Duvenaud (2018), arXiv:1802.04942, eq. 2 and 4",
        _LATENT + "test_total_correlation_is_the_brute_force_sum",
    ),
    "factorvae": Method(
        "AdversarialTotalCorrelation (FactorVAE), gamma = 10, discriminator of 200-200 "
        "in place of the paper's six layers of 1,000",
        _regularizer(
            lambda prior, setting: tfvae.regularizers.AdversarialTotalCorrelation(
                prior, weight=10.0, hidden_units=(200, 200), seed=1
            )
        ),
        "Kim and Mnih (2018), arXiv:1802.05983, eq. 2 and 3",
        "tests/regularizers/test_adversarial_total_correlation.py::"
        "test_the_terms_and_the_cost_are_the_formulas",
    ),
    "infovae": Method(
        "MaximumMeanDiscrepancy with half the KL (InfoVAE), weight 100",
        _regularizer(
            lambda prior, setting: tfvae.regularizers.Sum(
                [
                    tfvae.regularizers.KLDivergenceRegularizer(prior, weight=0.5),
                    tfvae.regularizers.MaximumMeanDiscrepancy(prior, weight=100.0, seed=1),
                ]
            )
        ),
        "Zhao, Song and Ermon (2019), arXiv:1706.02262, eq. 6 and 7",
        _LATENT + "test_the_discrepancy_is_the_sum_over_pairs",
    ),
    "wae": Method(
        "MaximumMeanDiscrepancy alone (WAE), lambda = 10",
        _regularizer(
            lambda prior, setting: tfvae.regularizers.MaximumMeanDiscrepancy(
                prior, weight=10.0, seed=1
            )
        ),
        "Tolstikhin, Bousquet, Gelly and Schölkopf (2018), arXiv:1711.01558, algorithm 2",
        _LATENT + "test_the_discrepancy_is_the_sum_over_pairs",
    ),
    "dip1": Method(
        "DIP-VAE I, 10 and 100",
        _regularizer(lambda prior, setting: _dip(prior, "i")),
        "Kumar, Sattigeri and Balakrishnan (2018), arXiv:1711.00848, eq. 6",
        _LATENT + "test_dip_is_the_distance_of_the_covariance_from_the_identity",
    ),
    "dip2": Method(
        "DIP-VAE II, 10 and 10",
        _regularizer(lambda prior, setting: _dip(prior, "ii")),
        "Kumar, Sattigeri and Balakrishnan (2018), arXiv:1711.00848, eq. 7",
        _LATENT + "test_dip_is_the_distance_of_the_covariance_from_the_identity",
    ),
}

OBJECTIVES = {
    "elbo": Method(
        "ELBO by Monte Carlo, K = 5",
        _objective(lambda: tfvae.objectives.ELBO()),
        "Kingma and Welling (2014), arXiv:1312.6114, eq. 6",
        _BOUND,
    ),
    "iwae5": Method(
        "IWAE, K = 5",
        _objective(lambda: tfvae.objectives.IWAE()),
        "Burda, Grosse and Salakhutdinov (2016), arXiv:1509.00519, eq. 8 and 13",
        _GRADIENT,
    ),
    "dreg5": Method(
        "DReG, K = 5",
        _objective(lambda: tfvae.objectives.DReG()),
        "Tucker, Lawson, Gu and Maddison (2019), arXiv:1810.04152, eq. 8",
        _GRADIENT,
    ),
    "stl": Method(
        "StickingTheLanding, K = 5",
        _objective(lambda: tfvae.objectives.StickingTheLanding()),
        "Roeder, Wu and Duvenaud (2017), arXiv:1703.09194, eq. 6",
        _GRADIENT,
    ),
    "miwae": Method(
        "MIWAE, 2 groups of 4",
        _objective(lambda: tfvae.objectives.MIWAE(2), draws=8),
        _RAINFORTH + "eq. 14",
        _BOUND,
    ),
    "piwae": Method(
        "PIWAE, 2 groups of 4",
        _objective(lambda: tfvae.objectives.PIWAE(2), draws=8),
        _RAINFORTH + "eq. 16 and 17",
        _GRADIENT,
    ),
    "ciwae": Method(
        "CIWAE, beta = 0.5, K = 5",
        _objective(lambda: tfvae.objectives.CIWAE(0.5)),
        _RAINFORTH + "eq. 15",
        _BOUND,
    ),
    "renyi": Method(
        "Renyi, alpha = 0.5, K = 5",
        _objective(lambda: tfvae.objectives.Renyi(0.5)),
        "Li and Turner (2016), arXiv:1602.02311, eq. 7 to 10",
        _BOUND,
    ),
}

PRIORS = {
    "normalprior": Method(
        "TrainableNormal prior",
        _prior(lambda setting: tfvae.priors.TrainableNormal(setting.latent_dim)),
        "a normal with a mean and a scale for each dimension",
        "tests/test_priors.py::test_a_trained_prior_has_the_density_of_its_weights",
    ),
    "mixture": Method(
        "GaussianMixture prior of 10",
        _prior(lambda setting: tfvae.priors.GaussianMixture(setting.latent_dim, 10)),
        "Dilokthanakul et al. (2016), arXiv:1611.02648, for its use",
        _PRIOR + "test_a_mixture_has_the_density_of_its_weights",
    ),
    "vampprior": Method(
        "VampPrior of 100 pseudo-inputs",
        _prior(
            lambda setting: tfvae.priors.VampPrior(
                setting.latent_dim, setting.training_images(100), bounds=(0.0, 1.0)
            )
        ),
        "Tomczak and Welling (2018), arXiv:1705.07120, eq. 9",
        _PRIOR + "test_the_vamp_prior_is_the_mean_of_the_posteriors_of_its_pseudo_inputs",
    ),
    "coupling": Method(
        "NormalizingFlow prior, 4 couplings",
        _prior(lambda setting: tfvae.priors.NormalizingFlow(setting.latent_dim, "coupling")),
        "Dinh, Sohl-Dickstein and Bengio (2017), arXiv:1605.08803, eq. 7 and 8",
        _PRIOR + "test_the_density_of_a_flow_is_the_change_of_variables_of_its_draws",
    ),
    "autoregressive": Method(
        "NormalizingFlow prior, 4 autoregressive layers",
        _prior(lambda setting: tfvae.priors.NormalizingFlow(setting.latent_dim, "autoregressive")),
        "Papamakarios, Pavlakou and Murray (2017), arXiv:1705.07057, eq. 3 to 6",
        _PRIOR + "test_the_density_of_a_flow_is_the_change_of_variables_of_its_draws",
    ),
    "spline": Method(
        "NormalizingFlow prior, 4 spline couplings of 8 bins",
        _prior(lambda setting: tfvae.priors.NormalizingFlow(setting.latent_dim, "spline")),
        "Durkan, Bekasov, Murray and Papamakarios (2019), arXiv:1906.04032, section 3.1",
        _PRIOR + "test_the_density_of_a_flow_is_the_change_of_variables_of_its_draws",
    ),
}

POSTERIORS = {
    "fullcovariance": Method(
        "full covariance posterior",
        _posterior("MultivariateNormalTriL"),
        "Kingma and Welling (2019), arXiv:1906.02691, section 2.5.1",
        _FAMILY + "test_full_covariance",
    ),
    "lowrank": Method(
        "low-rank covariance posterior, rank 5",
        _posterior("MultivariateNormalLowRank", rank=5),
        "Tomczak, Swaroop and Turner (2020), NeurIPS, for the family",
        _FAMILY + "test_low_rank_density_and_moments",
    ),
    "vmf": Method(
        "von Mises-Fisher posterior, uniform prior",
        _spherical,
        "Davidson, Falorsi, De Cao, Kipf and Tomczak (2018), arXiv:1804.00891",
        _FAMILY + "test_directions",
    ),
    "maf": Method(
        "masked autoregressive flow posterior",
        _autoregressive,
        "Papamakarios, Pavlakou and Murray (2017), arXiv:1705.07057, eq. 3 to 6",
        "tests/layers/test_autoregressive.py::test_density_is_that_of_the_inverse",
    ),
    "planar": Method(
        "planar flow posterior, 4 maps",
        _posterior("PlanarFlow", num_flows=4),
        "Rezende and Mohamed (2015), arXiv:1505.05770, eq. 10 to 12",
        _FLOW,
    ),
    "radial": Method(
        "radial flow posterior, 4 maps",
        _posterior("RadialFlow", num_flows=4),
        "Rezende and Mohamed (2015), arXiv:1505.05770, eq. 14",
        _FLOW,
    ),
    "sylvester": Method(
        "Sylvester flow posterior, 4 maps of 8 units",
        _sylvester,
        "Van den Berg, Hasenclever, Tomczak and Welling (2018), arXiv:1803.05649, section 3",
        _FLOW,
    ),
    "iaf": Method(
        "inverse autoregressive flow posterior, 4 maps of 64 hidden units",
        _posterior("InverseAutoregressiveFlow", num_flows=4, context_size=16),
        "Kingma et al. (2016), arXiv:1606.04934, eq. 9 to 11",
        _FLOW,
    ),
}

AUTOENCODERS = {
    "rael2": Method(
        "Autoencoder, code weight 0.01, l2 of the decoder 0.0001 (RAE-L2)",
        _autoencoder("l2", 1e-4),
        "Ghosh, Sajjadi, Vergari, Black and Schölkopf (2020), arXiv:1903.12436, section 3",
        _REGULARIZED + "test_the_loss_is_the_likelihood_and_the_weighted_terms",
    ),
    "raegp": Method(
        "Autoencoder, code weight 0.01, gradient of the decoder 0.01 (RAE-GP)",
        _autoencoder("gradient", 1e-2),
        "Ghosh, Sajjadi, Vergari, Black and Schölkopf (2020), arXiv:1903.12436, section 3",
        _REGULARIZED + "test_the_gradient_is_that_of_the_mean_along_a_direction_and_unbiased",
    ),
}

GROUPS = {
    "regularisers": REGULARIZERS,
    "objectives": OBJECTIVES,
    "priors": PRIORS,
    "posteriors": POSTERIORS,
    "autoencoders, without a likelihood of the data": AUTOENCODERS,
}
"""In the order of the table."""

METHODS = {name: method for group in GROUPS.values() for name, method in group.items()}
