"""Mixtures as priors: of normals, and of the encoder's own posteriors."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae import random
from tfvae.distributions import mixture_of, plain, positive_scale
from tfvae.distributions.elements import elements_or_none
from tfvae.priors.base import Prior
from tfvae.priors.normal import draw_standard_normal, independent_normal

# The stream of a seed that chooses the component; its noise is of stream 0.
_COMPONENT = 1


COVARIANCES = ("diagonal", "full")


def draw_mixture(
    row_seeds: Any,
    probabilities: tf.Tensor,
    loc: tf.Tensor,
    scale: tf.Tensor,
    mixing: tf.Tensor | None = None,
) -> tf.Tensor:
    """Draws from a mixture of normals.

    Args:
        row_seeds: int32 `[N, 2]`.
        probabilities: of the components, `[K]`.
        loc: `[K, *event_shape]`.
        scale: `[K, *event_shape]`.
        mixing: of vectors, what stands below the diagonal of the components' triangular factors,
            `[K, D, D]`; `None` for independent elements.

    Returns:
        `[N, *event_shape]`.
    """
    # The first component at which the distribution function exceeds a uniform number.
    steps = tf.cumsum(probabilities)[:-1]
    above = tf.cast(random.uniform(row_seeds, 1, stream=_COMPONENT), steps.dtype) > steps
    component = tf.reduce_sum(tf.cast(above, tf.int32), axis=1)
    noise = draw_standard_normal(row_seeds, tuple(loc.shape[1:]), loc.dtype)
    spread = tf.gather(scale, component) * noise
    if mixing is not None:
        spread += tf.reduce_sum(tf.gather(mixing, component) * noise[:, tf.newaxis], axis=-1)
    return tf.gather(loc, component) + spread


@keras.saving.register_keras_serializable(package="tfvae")
class GaussianMixture(Prior):
    """A mixture of normals, all of it learned: p(z) = sum_k pi_k N(z; m_k, L_k L_k').

    It starts with equal weights, means drawn from the standard normal and unit covariances. The
    diagonal of L_k, the scale, is `positive_scale` of its weight; with a full covariance a second
    weight holds what is below it. The divergence from the mixture is estimated from draws.

    Args:
        event_shape: shape of one code.
        num_components: the number K of components.
        covariance: `"diagonal"`, or `"full"` where a code is a vector.
        **kwargs: `name`, `dtype`, `trainable`.

    Raises:
        ValueError: if `num_components` is not a positive integer, the covariance is unknown, or it
            is full and a code is no vector.

    Example:
        >>> prior = GaussianMixture(3, num_components=5)
        >>> prior().batch_shape.rank, prior.draw(random.seeds(0, 2)).shape.as_list()
        (0, [2, 3])

    Reference:
        Dilokthanakul, Mediano, Garnelo, Lee, Salimbeni, Arulkumaran and Shanahan (2016), Deep
        Unsupervised Clustering with Gaussian Mixture VAEs, arXiv:1611.02648, for its use.
    """

    def __init__(
        self,
        event_shape: Any,
        num_components: int,
        covariance: str = "diagonal",
        **kwargs: Any,
    ) -> None:
        super().__init__(event_shape, **kwargs)
        self.num_components = _component_count(num_components, "num_components")
        if covariance not in COVARIANCES:
            raise ValueError(f"`covariance` must be one of {COVARIANCES}. Received: {covariance!r}")
        if covariance == "full" and len(self.event_shape) != 1:
            raise ValueError(
                "A full covariance is that of a vector. "
                f"Received: event_shape={event_shape!r}, covariance={covariance!r}"
            )
        self.covariance = covariance
        shape = (self.num_components, *self.event_shape)
        self.logits = self.add_weight(
            shape=shape[:1], initializer="zeros", autocast=False, name="logits"
        )
        self.loc = self.add_weight(
            shape=shape,
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            autocast=False,
            name="loc",
        )
        # softplus(log(e - 1)) = 1
        self.raw_scale = self.add_weight(
            shape=shape,
            initializer=keras.initializers.Constant(0.5413248546129181),
            autocast=False,
            name="raw_scale",
        )
        if covariance == "full":
            self.lower = self.add_weight(
                shape=(*shape, *self.event_shape),
                initializer="zeros",
                autocast=False,
                name="lower",
            )

    def _mixing(self) -> tf.Tensor | None:
        """What is below the diagonal of L_k, `[K, D, D]`."""
        if self.covariance == "diagonal":
            return None
        # A product, since TFLite has no builtin that cuts a triangle out of a matrix.
        below = np.tril(np.ones(2 * self.event_shape), k=-1)
        return self.lower * tf.constant(below, self.compute_dtype)

    def distribution(self) -> tfd.Distribution:
        loc, scale = tf.convert_to_tensor(self.loc), positive_scale(self.raw_scale)
        mixing = self._mixing()
        if mixing is None:
            components = independent_normal(loc, scale, len(self.event_shape))
        else:
            components = tfd.MultivariateNormalTriL(loc, mixing + tf.linalg.diag(scale))
        shares = tfd.Categorical(logits=tf.convert_to_tensor(self.logits))
        return mixture_of(shares, components)

    def draw(self, row_seeds: Any) -> tf.Tensor:
        loc, scale = tf.convert_to_tensor(self.loc), positive_scale(self.raw_scale)
        return draw_mixture(row_seeds, tf.nn.softmax(self.logits), loc, scale, self._mixing())

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_components": self.num_components,
            "covariance": self.covariance,
        }


@keras.saving.register_keras_serializable(package="tfvae")
class VampPrior(Prior):
    """The mixture of the encoder's posteriors at pseudo-inputs u_k that are learned:

        p(z) = (1/K) sum_k q(z|u_k).

    The model that it is given to hands it its encoder, `attach`; the pseudo-inputs are its only
    weights. The encoder sees them without `training`. The divergence is estimated from draws.

    Args:
        event_shape: shape of one code.
        pseudo_inputs: the number K of components; or their first values, `[K, *data_shape]`, for
            which training examples are a good choice. By number they begin as noise about 0.05.
        bounds: the interval that they are kept in, such as `(0, 1)` for images; none if `None`.
        **kwargs: `name`, `dtype`, `trainable`.

    Raises:
        ValueError: if there are no pseudo-inputs, they do not have the shape of the data, the
            bounds are no interval, or the prior is used without a model.
        NotImplementedError: by `draw`, if the posterior is not a normal of independent elements.

    Example:
        >>> from tfvae import VAE
        >>> vae = VAE.for_images((6,), 2, hidden=(4,), prior=VampPrior(2, pseudo_inputs=5))
        >>> vae.prior().components_distribution.batch_shape.as_list(), vae.sample(3, seed=0).shape
        ([5], (3, 6))

    Reference:
        Tomczak and Welling (2018), VAE with a VampPrior, arXiv:1705.07120, equation 9.
    """

    def __init__(
        self,
        event_shape: Any,
        pseudo_inputs: Any = 500,
        bounds: tuple[float, float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_shape, **kwargs)
        given = not isinstance(pseudo_inputs, (int, np.integer))
        self.first_values = np.asarray(pseudo_inputs, np.float32) if given else None
        count = len(pseudo_inputs) if given else pseudo_inputs
        self.num_components = _component_count(count, "pseudo_inputs")
        if bounds is not None and not (len(bounds) == 2 and bounds[0] < bounds[1]):
            raise ValueError(
                f"`bounds` must be a lower and an upper one, or None. Received: {bounds!r}"
            )
        self.bounds = None if bounds is None else (float(bounds[0]), float(bounds[1]))
        self.pseudo_inputs: Any = None
        self._encode: Any = None

    def attach(self, encoder: keras.layers.Layer, data_shape: tuple[int, ...]) -> None:
        """Makes the pseudo-inputs, or keeps those of an earlier model of the same encoder."""
        shape = (self.num_components, *data_shape)
        if self.pseudo_inputs is not None:
            if self._encode.__defaults__[0] is not encoder:
                raise ValueError(
                    "A VampPrior is a mixture of the posteriors of one encoder: make another one "
                    f"for another encoder. Received: {encoder!r} for {self!r}"
                )
            return
        initializer: Any = keras.initializers.RandomNormal(0.05, 0.01)
        if self.first_values is not None:
            if self.first_values.shape != shape:
                raise ValueError(
                    f"`pseudo_inputs` must have the shape of data, {data_shape}, behind their "
                    f"number. Received: shape {self.first_values.shape}"
                )
            values = self.first_values
            initializer = lambda shape, dtype: keras.ops.convert_to_tensor(values, dtype)  # noqa: E731
        self.pseudo_inputs = self.add_weight(
            shape=shape,
            initializer=initializer,
            constraint=None if self.bounds is None else Interval(*self.bounds),
            autocast=False,
            name="pseudo_inputs",
        )
        # In a function: the model owns the encoder, and the prior only calls it.
        self._encode = lambda x, encoder=encoder: encoder(x, training=False)

    def posteriors(self) -> tfd.Distribution:
        """The posteriors q(z|u_k), of batch shape `[K]`."""
        if self._encode is None:
            raise ValueError(
                "A VampPrior needs the encoder of a model: give it to one, "
                f"`tfvae.VAE(encoder, decoder, prior=...)`. Received: {self!r} alone"
            )
        return plain(self._encode(tf.convert_to_tensor(self.pseudo_inputs)))

    def distribution(self) -> tfd.Distribution:
        logits = tf.zeros([self.num_components], self.compute_dtype)
        return mixture_of(tfd.Categorical(logits=logits), self.posteriors())

    def draw(self, row_seeds: Any) -> tf.Tensor:
        posteriors = self.posteriors()
        normals = elements_or_none(posteriors)
        if not isinstance(normals, tfd.Normal):
            raise NotImplementedError(
                "Draws from seeds are those of posteriors of independent normal elements; of "
                f"others take `prior().sample()`. Received: {posteriors!r}"
            )
        shares = tf.fill([self.num_components], 1.0 / self.num_components)
        return draw_mixture(row_seeds, shares, normals.mean(), normals.stddev())

    def get_config(self) -> dict[str, Any]:
        # The values are weights: a loaded prior gets them from the file.
        return {
            **super().get_config(),
            "pseudo_inputs": self.num_components,
            "bounds": self.bounds,
        }


@keras.saving.register_keras_serializable(package="tfvae")
class Interval(keras.constraints.Constraint):
    """Keeps a weight between two numbers.

    Args:
        low: the smallest value.
        high: the largest value.

    Example:
        >>> Interval(0.0, 1.0)(tf.constant([-1.0, 0.5, 2.0])).numpy().tolist()
        [0.0, 0.5, 1.0]
    """

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def __call__(self, value: Any) -> Any:
        return keras.ops.clip(value, self.low, self.high)

    def get_config(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high}


def _component_count(number: Any, name: str) -> int:
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 1:
        raise ValueError(f"`{name}` must be at least 1. Received: {number!r}")
    return int(number)
