"""What an exported model answers: functions of named tensors, the same in every format.

Each is a pure function of its inputs and the weights. Noise comes from the seeds among the inputs,
one a row, so an answer depends neither on the batch it is computed in nor on what was asked before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions import by_differences, central_value, plain
from tfvae.distributions.central import TRANSFORMED
from tfvae.export.draws import (
    INDEPENDENT,
    LIKELIHOOD_STREAM,
    POSTERIOR_STREAM,
    QUANTIZED,
    draw,
)
from tfvae.layers.distribution_layer import DistributionLayer
from tfvae.models.autoencoder import Autoencoder
from tfvae.models.vae import VAE
from tfvae.saving.model_file import require_built

SIGNATURE_NAMES = (
    "encode",
    "decode",
    "reconstruct",
    "sample",
    "interpolate",
    "log_prob",
    "anomaly_score",
)
"""Every signature, in the order in which files and cards list them."""

OUTPUT_MEANINGS = {
    "loc": "mean of the posterior; of a flow, where it takes the mean of its base",
    "scale": "standard deviation, of the posterior or of the likelihood",
    "scale_tril": "lower triangular factor of the posterior's covariance",
    "mean": "mean of the likelihood: the picture",
    "x": "mean of the likelihood: the picture",
    "draw": "a draw from the likelihood around x",
    "z": "code drawn from the prior",
    "log_prob": "importance-weighted bound on log p(x), in nats",
    "score": "-log_prob, in nats: the higher, the stranger",
    "logits": "log-odds of the likelihood",
}
"""What an output stands for, by its name; other names are parameters of the likelihood."""

# Families whose `loc` is their mean, which is returned already.
_LOC_IS_MEAN = (tfd.Normal, tfd.Laplace, tfd.Logistic, tfd.MultivariateNormalLinearOperator)


@dataclass(frozen=True)
class Input:
    """A named input.

    Attributes:
        name: its name.
        shape: of one row, without the batch dimension.
        meaning: what it is, for people.
        dtype: float32 or int32.
        interval: the values it may take, if they are bounded.
    """

    name: str
    shape: tuple[int, ...]
    meaning: str
    dtype: tf.DType = tf.float32
    interval: tuple[float, float] | None = None

    def spec(self, batch: int | None) -> tf.TensorSpec:
        """The type of a batch; `None` for a batch of any size."""
        return tf.TensorSpec([batch, *self.shape], self.dtype, name=self.name)


@dataclass(frozen=True)
class Signature:
    """A function that an export offers.

    Attributes:
        name: one of `SIGNATURE_NAMES`.
        inputs: its inputs, all with the same first dimension.
        function: maps them, as keyword arguments, to its outputs by name.
    """

    name: str
    inputs: tuple[Input, ...]
    function: Callable[..., dict[str, tf.Tensor]]


@dataclass(frozen=True)
class Choices:
    """How the functions are computed.

    Attributes:
        num_importance_samples: draws `K` of the posterior in `log_prob` and `anomaly_score`.
        likelihood_draws: whether `sample` also returns a draw from the likelihood.
        likelihood_parameters: whether `decode` also returns the likelihood's parameters.
    """

    num_importance_samples: int = 16
    likelihood_draws: bool = False
    likelihood_parameters: bool = True

    def __post_init__(self) -> None:
        k = self.num_importance_samples
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ValueError(
                f"`num_importance_samples` must be an integer of at least 1. Received: {k!r}"
            )


def signatures_of(
    model: Any, choices: Choices, names: Iterable[str] | None = None
) -> tuple[dict[str, Signature], dict[str, str]]:
    """Finds the signatures of a model.

    Args:
        model: a built `tfvae.VAE` or `tfvae.Autoencoder`.
        choices: how they are computed.
        names: those wanted; all that the model has if `None`.

    Returns:
        The signatures by name, in the order of `SIGNATURE_NAMES`, and why others are left out.

    Raises:
        TypeError: if the model is of another class.
        ValueError: if the model is not built, or a name is unknown or not among the model's.
    """
    if not isinstance(model, (VAE, Autoencoder)):
        raise TypeError(
            "Only a `tfvae.VAE` or a `tfvae.Autoencoder` can be exported: other models have no "
            f"`encode`, `decode` and `sample` to offer. Received: {type(model).__name__}"
        )
    require_built(model)
    found = _all_signatures(model, choices)
    wanted = SIGNATURE_NAMES if names is None else tuple(names)
    for name in wanted:
        if name not in SIGNATURE_NAMES:
            raise ValueError(f"Signatures are {', '.join(SIGNATURE_NAMES)}. Received: {name!r}")
        if name not in found and names is not None:
            raise ValueError(f"{_NO_DENSITY}. Received: signature {name!r}")
    left_out = {name: _NO_DENSITY for name in wanted if name not in found}
    return {name: found[name] for name in SIGNATURE_NAMES if name in {*wanted} & {*found}}, left_out


_NO_DENSITY = "An autoencoder has neither a prior nor a posterior, so it only encodes and decodes"


def _all_signatures(model: VAE | Autoencoder, choices: Choices) -> dict[str, Signature]:
    support = likelihood_layer(model).support
    x, a, b = (
        Input(name, model.data_shape, meaning, interval=support)
        for name, meaning in (("x", "data"), ("a", "data at t = 0"), ("b", "data at t = 1"))
    )
    z = Input("z", model.latent_shape, "code")
    t = Input("t", (), "place on the way from a to b", interval=(0.0, 1.0))
    seed = Input("seed", (2,), "any two integers; they decide the row's noise", tf.int32)
    functions = _Functions(model, choices)
    inputs = {
        "encode": (x,),
        "decode": (z,),
        "reconstruct": (x,),
        "sample": (seed,),
        "interpolate": (a, b, t),
        "log_prob": (x, seed),
        "anomaly_score": (x, seed),
    }
    names = inputs if isinstance(model, VAE) else ("encode", "decode", "reconstruct", "interpolate")
    return {name: Signature(name, inputs[name], getattr(functions, name)) for name in names}


def likelihood_layer(model: VAE | Autoencoder) -> Any:
    """The last distribution layer of the decoder: the family of p(x|z)."""
    layers = [
        layer for layer in model.decoder._flatten_layers() if isinstance(layer, DistributionLayer)
    ]
    if not layers:
        raise ValueError(
            "The decoder must end in a distribution layer, such as "
            f"`tfvae.layers.IndependentBernoulli`. Received: {model.decoder!r}"
        )
    return layers[-1]


class _Functions:
    """The signatures of one model, as methods."""

    def __init__(self, model: Any, choices: Choices) -> None:
        self._model, self._choices = model, choices

    def encode(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        q = self._model.encode(x)
        if not isinstance(q, tfd.Distribution):
            return {"loc": q}
        q = plain(q)
        loc = _central(q)
        if isinstance(q, tfd.MultivariateNormalTriL):
            # TFP's own standard deviation takes the diagonal of a product: not a TFLite builtin.
            tril = q.scale.to_dense()
            scale = tf.sqrt(tf.reduce_sum(tf.square(tril), axis=-1))
            return {"loc": loc, "scale": scale, "scale_tril": tril}
        try:
            return {"loc": loc, "scale": q.stddev()}
        except NotImplementedError:
            # A flow's other parameters are maps, which mean nothing without their code.
            return {"loc": loc, **({} if isinstance(q, TRANSFORMED) else _parameters(q, x))}

    def decode(self, z: tf.Tensor) -> dict[str, tf.Tensor]:
        p = plain(self._model.decode(z))
        mean = _statistic(p, "mean", "likelihood")
        parameters = _parameters(p, z) if self._choices.likelihood_parameters else {}
        return {"mean": mean, **parameters}

    def reconstruct(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"x": self._picture(self._code(x))}

    def sample(self, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        z = self._model.prior.draw(seed)
        p = plain(self._model.decode(z))
        outputs = {"x": _statistic(p, "mean", "likelihood"), "z": z}
        if self._choices.likelihood_draws:
            try:
                outputs["draw"] = draw(p, seed, stream=LIKELIHOOD_STREAM)[0]
            except NotImplementedError as error:
                raise ValueError(
                    f"`sample` cannot draw from this likelihood: {error}. "
                    "Received: likelihood_draws=True"
                ) from None
        return outputs

    def interpolate(self, a: tf.Tensor, b: tf.Tensor, t: tf.Tensor) -> dict[str, tf.Tensor]:
        t = tf.reshape(t, [-1, *[1] * len(self._model.latent_shape)])
        return {"x": self._picture((1.0 - t) * self._code(a) + t * self._code(b))}

    def log_prob(self, x: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        # log p(x) >= E[log (1/K) sum_k p(x|z_k) p(z_k) / q(z_k|x)],  z_k ~ q(z|x)
        draws = self._choices.num_importance_samples
        q = plain(self._model.encode(x))
        z = draw(q, seed, draws, POSTERIOR_STREAM)
        p = plain(self._model.decode(tf.reshape(z, [-1, *self._model.latent_shape])))
        repeated = tf.tile(x, [draws] + [1] * len(self._model.data_shape))
        log_likelihood = tf.reshape(p.log_prob(repeated), [draws, -1])
        # A device has no operators of double precision.
        prior = by_differences(self._model.prior.distribution())
        log_ratio = prior.log_prob(z) - q.log_prob(z)
        bound = tf.reduce_logsumexp(log_likelihood + log_ratio, axis=0) - math.log(draws)
        return {"log_prob": bound}

    def anomaly_score(self, x: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"score": -self.log_prob(x, seed)["log_prob"]}

    def _code(self, x: tf.Tensor) -> tf.Tensor:
        q = self._model.encode(x)
        return _central(q) if isinstance(q, tfd.Distribution) else q

    def _picture(self, z: tf.Tensor) -> tf.Tensor:
        return _statistic(plain(self._model.decode(z)), "mean", "likelihood")


def _central(q: tfd.Distribution) -> tf.Tensor:
    try:
        return central_value(q)
    except NotImplementedError:
        raise _without("mean", q, "posterior") from None


def _statistic(distribution: tfd.Distribution, name: str, role: str) -> tf.Tensor:
    try:
        return getattr(distribution, name)()
    except NotImplementedError:
        raise _without(name, distribution, role) from None


def _without(name: str, distribution: tfd.Distribution, role: str) -> NotImplementedError:
    family = type(distribution).__name__.lstrip("_")
    return NotImplementedError(f"the {role}, a {family}, has no {name} in closed form")


def _parameters(distribution: tfd.Distribution, given: tf.Tensor) -> dict[str, tf.Tensor]:
    """What makes a distribution beside its mean, by the names in TFP, a row for each row given."""
    parameters = _all_parameters(distribution, given)
    while isinstance(distribution, INDEPENDENT):
        distribution = distribution.distribution
    if isinstance(distribution, _LOC_IS_MEAN):
        del parameters["loc"]
    return parameters


def _all_parameters(distribution: tfd.Distribution, given: tf.Tensor) -> dict[str, tf.Tensor]:
    while isinstance(distribution, (INDEPENDENT, QUANTIZED)):
        distribution = distribution.distribution
    rank = distribution.batch_shape.rank
    found = {}
    for name, properties in distribution.parameter_properties().items():
        value = distribution.parameters.get(name)
        if isinstance(value, tfd.Distribution):
            prefix = name.removesuffix("distribution")
            inner = _all_parameters(value, given)
            found.update({prefix + key: tensor for key, tensor in inner.items()})
        elif value is not None and isinstance(properties.event_ndims, int):
            found[name] = _with_rows(value, rank + properties.event_ndims, given)
    return found


def _with_rows(value: Any, rank: int, given: tf.Tensor) -> tf.Tensor:
    """A parameter with a batch dimension, also one that all rows share."""
    value = tf.convert_to_tensor(value)
    if value.shape.rank < rank:
        value = tf.reshape(value, [1] * (rank - value.shape.rank) + value.shape.as_list())
    if value.shape[0] == 1 and given.shape[0] != 1:
        value = tf.repeat(value, tf.shape(given)[0], axis=0)
    return value
