"""The divergence of a posterior from its prior, as a part of the loss.

**How these layers differ from those of `tfp.layers` that share their names.** Both take the same
`use_exact_kl`, `test_points_fn`, `test_points_reduce_axis` and `weight`, and a prior that is a
distribution or a function (`distribution_b` there, `prior` here).

- *The divergence is added once.* On Keras 2 TFP's regulariser comes to be added twice, so that a
  model trains at twice the weight that it states.
- *It is the mean over the batch*, in nats an example, as the likelihood of a Keras loss is. TFP's
  layers sum over the batch; there Keras divides the regulariser's sum by the first dimension of the
  output, which is the number of draws where there are several, and leaves that of
  `KLDivergenceAddLoss` as it is, so that the weight has to undo the size of the batch.
- *Draws are averaged*, unless another mean is asked for that includes them. They estimate one
  number; TFP adds them up by default.
- *A closed form is used where there is one* (`exact="auto"`): it has the expectation of the
  estimate and none of its noise. `use_exact_kl=False` estimates, as TFP does by default.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.common.symbolic_scope import in_symbolic_scope
from tensorflow_probability import distributions as tfd

from tfvae.divergences import check_exact, kl_divergence, monte_carlo_kl
from tfvae.layers.distribution_layer import (
    convert_distribution,
    deserialize_callable,
    serialize_callable,
    standardize_conversion,
)
from tfvae.layers.latent_regularizer import LatentRegularizer
from tfvae.layers.parameters import positive_integer
from tfvae.layers.scheduled_weight import as_scheduled_weight, scheduled_weight_config

DRAWS = "draws"


@keras.saving.register_keras_serializable(package="tfvae")
class KLDivergenceRegularizer(LatentRegularizer):
    """The Kullback-Leibler divergence from the prior, KL(q(z|x) || p(z)), in nats.

    The layer or model that holds it adds the mean over the batch to its loss, once. With it and the
    negative log-likelihood the loss is minus the evidence lower bound; with `weight` the objective
    of the beta-VAE. How it differs from TFP's: see the module.

    Args:
        prior: p(z): a layer of `tfvae.priors`, a Keras model whose output is a distribution,
            whatever its input, a `tfd.Distribution`, or a function without arguments that returns
            one. Only what a layer or model owns is trained. To be saved it must be one of these, or
            a registered function.
        weight: the factor beta of the divergence: a number, a schedule of `tfvae.schedules`, or a
            `keras.Variable`, which is saved, and trained if it is trainable; 1 if `None`.
        exact: `True` for TFP's closed form, `False` for Monte Carlo, `"auto"` for the closed form
            where TFP has one registered.
        num_samples: draws of the Monte Carlo estimate; with 1 the draw that the decoder saw.
        use_exact_kl: TFP's name for `exact`, without `"auto"`.
        test_points_fn: the points of the Monte Carlo estimate, in place of `num_samples` draws: a
            function from the distribution to `[..., B, event]`, such as `Samples(5)`. Points are
            of the estimate alone, so that `exact="auto"` with them means `False`.
        test_points_reduce_axis: the axes of the log-ratios `[..., B]` that the mean is taken over:
            `"draws"`, all before the batch; integers, those of the draws among them; `None`, all.
            As `test_points_fn` it asks for the estimate.
        **kwargs: `name`, `dtype`.

    Raises:
        TypeError: if `prior` or `test_points_fn` is none of these.
        ValueError: if `weight` is negative, if `exact` or `num_samples` is out of range, if
            `use_exact_kl` contradicts `exact`, if test points are asked for together with the
            closed form or with `num_samples`, or if `prior` is a distribution with variables, which
            no model would train.

    Example:
        >>> from tfvae.priors import StandardNormal
        >>> regularizer = KLDivergenceRegularizer(StandardNormal(2), weight=0.5)
        >>> q = tfd.MultivariateNormalDiag(tf.ones([3, 2]), tf.ones([3, 2]))
        >>> regularizer(q).numpy().tolist()
        [0.5, 0.5, 0.5]

    Reference:
        Kingma and Welling (2014), arXiv:1312.6114, equation 3; Higgins et al. (2017), beta-VAE,
        ICLR, equation 4, for the weight.
    """

    term_names = ("kl",)

    def __init__(
        self,
        prior: Any,
        weight: Any = 1.0,
        exact: bool | str = "auto",
        num_samples: int = 1,
        *,
        use_exact_kl: bool | None = None,
        test_points_fn: Any = None,
        test_points_reduce_axis: Any = DRAWS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prior = _checked_prior(deserialize_callable(prior))
        self.weight = as_scheduled_weight(1.0 if weight is None else weight, "weight", "beta")
        self.num_samples = positive_integer(num_samples, "num_samples")
        test_points_fn = deserialize_callable(test_points_fn)
        self.test_points_fn = (
            None
            if test_points_fn is None
            else standardize_conversion(test_points_fn, "test_points_fn")
        )
        if isinstance(test_points_reduce_axis, str) and test_points_reduce_axis != DRAWS:
            raise ValueError(
                f"`test_points_reduce_axis` must be {DRAWS!r}, None, an integer or integers. "
                f"Received: {test_points_reduce_axis!r}"
            )
        self.test_points_reduce_axis = test_points_reduce_axis
        self.exact = _exactness(exact, use_exact_kl, self._asks_for_points())
        if self.test_points_fn is not None and num_samples != 1:
            raise ValueError(
                "`num_samples` and `test_points_fn` both say which points the estimate takes: "
                f"give one of them. Received: num_samples={num_samples!r}, "
                f"test_points_fn={test_points_fn!r}"
            )

    def _asks_for_points(self) -> bool:
        axis = self.test_points_reduce_axis
        return self.test_points_fn is not None or not isinstance(axis, str)

    def prior_distribution(self) -> tfd.Distribution:
        """The prior p(z) as a distribution, made anew so that gradients reach its weights."""
        if isinstance(self.prior, tfd.Distribution):
            return self.prior
        return self.prior(tf.zeros([1, 1])) if isinstance(self.prior, keras.Model) else self.prior()

    def terms(self, q: tfd.Distribution) -> dict[str, tf.Tensor]:
        prior, reduce_axis = self.prior_distribution(), self.test_points_reduce_axis
        if self.test_points_fn is not None:
            points, _ = convert_distribution(q, self.test_points_fn, lambda: None)
            return {"kl": monte_carlo_kl(q, prior, points, reduce_axis)}
        kl = kl_divergence(
            q, prior, exact=self.exact, num_samples=self.num_samples, reduce_axis=reduce_axis
        )
        return {"kl": kl}

    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.cast(self.weight, terms["kl"].dtype) * terms["kl"]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.options()}

    def options(self) -> dict[str, Any]:
        """The configuration without what every layer has."""
        if isinstance(self.prior, tfd.Distribution):
            raise ValueError(
                "A `tfd.Distribution` as `prior` cannot be saved: use a layer of `tfvae.priors` "
                "such as `StandardNormal(16)`, or a registered function that returns the "
                f"distribution. Received: prior={self.prior!r}"
            )
        return {
            "prior": serialize_callable(self.prior, "prior"),
            "weight": scheduled_weight_config(self.weight),
            "exact": self.exact,
            "num_samples": self.num_samples,
            "test_points_fn": (
                None
                if self.test_points_fn is None
                else serialize_callable(self.test_points_fn, "test_points_fn")
            ),
            "test_points_reduce_axis": self.test_points_reduce_axis,
        }


@keras.saving.register_keras_serializable(package="tfvae")
class KLDivergenceAddLoss(keras.layers.Layer):
    """Passes a distribution on, and adds the mean over the batch of its divergence to the loss.

    To stand behind a distribution layer; the same as that layer's `activity_regularizer`. What
    follows sees the distribution itself, with its draw. How it differs from TFP's: see the module;
    in short, the divergence counts once, as the mean over the batch.

    Args:
        prior: as for `KLDivergenceRegularizer`, as are the other arguments.
        weight: the factor of the divergence: a number, a schedule, or a `keras.Variable`.
        exact: closed form, estimate, or `"auto"`.
        num_samples: draws of the estimate.
        use_exact_kl: TFP's name for `exact`.
        test_points_fn: the points of the estimate.
        test_points_reduce_axis: the axes of its mean.
        **kwargs: `name`, `dtype`.

    Raises:
        TypeError: if what comes in is not a distribution; and as `KLDivergenceRegularizer` does.
        ValueError: as `KLDivergenceRegularizer` does.

    Example:
        >>> from tfvae.layers import MultivariateNormalDiag
        >>> layer = KLDivergenceAddLoss(tfd.MultivariateNormalDiag(tf.zeros(2)), weight=0.5)
        >>> q = layer(MultivariateNormalDiag(2)(tf.constant([[1.0, 2.0, 0.5413, 0.5413]])))
        >>> type(q).__name__, [round(float(loss), 2) for loss in layer.losses]
        ('MultivariateNormalDiag', [1.25])
    """

    def __init__(
        self,
        prior: Any,
        weight: Any = 1.0,
        exact: bool | str = "auto",
        num_samples: int = 1,
        *,
        use_exact_kl: bool | None = None,
        test_points_fn: Any = None,
        test_points_reduce_axis: Any = DRAWS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Keras would cast a distribution of another dtype, which makes a bare tensor of it.
        self._convert_input_args = False
        self.regularizer = KLDivergenceRegularizer(
            prior,
            weight,
            exact,
            num_samples,
            use_exact_kl=use_exact_kl,
            test_points_fn=test_points_fn,
            test_points_reduce_axis=test_points_reduce_axis,
            dtype=kwargs.get("dtype"),
        )

    def build(self, input_shape: Any) -> None:
        self.regularizer.build(input_shape)
        self.built = True

    def call(self, q: tfd.Distribution) -> tfd.Distribution:
        # A functional model is built from placeholders, which are no distributions.
        if isinstance(q, tfd.Distribution) or not in_symbolic_scope():
            self.add_loss(tf.reduce_mean(self.regularizer(q)))
        return q

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.regularizer.options()}


def _checked_prior(prior: Any) -> Any:
    if not (isinstance(prior, tfd.Distribution) or callable(prior)):
        raise TypeError(
            "`prior` must be a layer of `tfvae.priors`, a `tfd.Distribution`, or a function "
            f"that returns one. Received: {prior!r}"
        )
    if isinstance(prior, tfd.Distribution) and prior.trainable_variables:
        raise ValueError(
            "A model does not train the variables of a `tfd.Distribution`: use a layer of "
            "`tfvae.priors` such as `TrainableNormal(16)`, or a model such as "
            "`keras.Sequential([VariableLayer(...), MultivariateNormalTriL(...)])`. "
            f"Received: prior={prior!r} with {len(prior.trainable_variables)} variable(s)"
        )
    return prior


def _exactness(exact: bool | str, use_exact_kl: bool | None, points: bool) -> bool | str:
    """What `exact` and TFP's `use_exact_kl` say together, given whether test points are set."""
    check_exact(exact)
    if not (use_exact_kl is None or isinstance(use_exact_kl, bool)):
        raise ValueError(f"`use_exact_kl` must be True, False or None. Received: {use_exact_kl!r}")
    if use_exact_kl is not None:
        if exact not in ("auto", use_exact_kl):
            raise ValueError(
                "`exact` and `use_exact_kl` are two names of one choice: give one of them. "
                f"Received: exact={exact!r}, use_exact_kl={use_exact_kl!r}"
            )
        exact = use_exact_kl
    if points and exact is True:
        raise ValueError(
            "The closed form of the divergence has no test points: leave out `test_points_fn` and "
            "`test_points_reduce_axis`, or take the estimate. Received: exact=True and test points"
        )
    return False if points else exact
