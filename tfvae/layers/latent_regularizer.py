"""What regularises a latent: a layer from a distribution to its cost for each example, in nats.

Most of the VAE family differs in this function alone. A regulariser is a Keras layer, so that what
it owns (a trainable prior, a learned weight) is seen, trained and saved by whoever holds it: a
distribution layer, as `activity_regularizer`, or `tfvae.VAE`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions import float_dtype
from tfvae.layers.scheduled_weight import scheduled_weights


class LatentRegularizer(keras.layers.Layer):
    """Abstract base: `terms` measures the latent, `combine` makes the cost of the measurements.

    Args:
        **kwargs: `name`, `dtype`, `trainable` as for every Keras layer.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(dtype=float_dtype(kwargs.pop("dtype", None)), **kwargs)
        # Keras would cast a distribution of another dtype, which makes a bare tensor of it.
        self._convert_input_args = False
        # A plain distribution, without a value, is regularised as well as a layer's output.
        self._allow_non_tensor_positional_args = True

    def build(self, input_shape: Any = None) -> None:
        self.built = True

    # The names of what `terms` returns, known before the first call so that metrics exist.
    term_names: tuple[str, ...] = ()

    @abstractmethod
    def terms(self, q: tfd.Distribution) -> dict[str, tf.Tensor]:
        """What is measured of q(z|x), unweighted, by the name it is logged under; each `[B]`."""

    @abstractmethod
    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        """The cost that is minimised, `[B]`."""

    def advance(self, q: Any) -> None:
        """Begins the next training step of every schedule; `call` does so when it trains.

        At the end of a dataset of unknown length TensorFlow runs what of a step needs no data:
        the count waits for a value that `q` carries, so that it is of whole steps.
        """
        with tf.control_dependencies([tf.convert_to_tensor(q)] if tf.is_tensor(q) else []):
            for weight in scheduled_weights(self):
                weight.advance()

    def call(self, q: tfd.Distribution, training: bool | None = None) -> tf.Tensor:
        if not isinstance(q, tfd.Distribution):
            raise TypeError(
                f"{type(self).__name__} regularises a distribution: give it to a distribution "
                "layer, such as `MultivariateNormalDiag(..., activity_regularizer=...)`, or to "
                f"`tfvae.VAE`. Received: {q!r}"
            )
        if training:
            self.advance(q)
        return self.combine(self.terms(q))
