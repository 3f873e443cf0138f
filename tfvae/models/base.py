"""What the autoencoders share beside their training: they decode, embed and interpolate."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions import float_dtype
from tfvae.layers.distribution_layer import DistributionLayer
from tfvae.models.training import TrainedOnExamples

EVALUATION_BATCH = 256


class LatentVariableModel(TrainedOnExamples):
    """Abstract base of models with an encoder, a latent code and a decoder.

    Args:
        encoder: a Keras model or layer from data `[B, *data_shape]` to the latent.
        decoder: a Keras model or layer from codes `[B, *latent_shape]` to a distribution over the
            data.
        term_names: names of the parts of the cost, as they are logged.
        **kwargs: `name`, `dtype`.
    """

    def __init__(
        self, encoder: Any, decoder: Any, term_names: Iterable[str], **kwargs: Any
    ) -> None:
        for name, network in (("encoder", encoder), ("decoder", decoder)):
            if not isinstance(network, keras.layers.Layer):
                raise TypeError(f"`{name}` must be a Keras model or layer. Received: {network!r}")
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.term_trackers = {name: keras.metrics.Mean(name=name) for name in term_names}
        self._compiled_functions: dict[Any, Callable] = {}

    @abstractmethod
    def code(self, x: Any) -> tf.Tensor:
        """The code of each example that stands for it best, `[B, *latent_shape]`."""

    def data_support(self) -> tuple[float, float] | None:
        """That of the decoder's last distribution layer."""
        parts = self.decoder._flatten_layers()
        layers = [layer for layer in parts if isinstance(layer, DistributionLayer)]
        return layers[-1].support if layers else None

    # ---- decoding -------------------------------------------------------------------------

    def decode(self, z: Any, training: bool | None = False) -> tfd.Distribution:
        """The likelihood p(x|z) for codes `[N, *latent_shape]`, a distribution over the data."""
        p = self.decoder(tf.convert_to_tensor(z), training=training)
        if not isinstance(p, tfd.Distribution):
            raise TypeError(
                "The decoder must output a distribution: end it in a distribution layer, such as "
                f"`tfvae.layers.IndependentBernoulli`. Received: {p!r}"
            )
        return p

    def transform(self, x: Any, batch_size: int = EVALUATION_BATCH) -> np.ndarray:
        """Embeds data: the code that stands for each example best.

        Args:
            x: data `[N, *data_shape]`.
            batch_size: how many examples are held at a time.

        Returns:
            `[N, *latent_shape]`: posterior means, or what `tfvae.distributions.central_value` puts
            in their place; an autoencoder's codes.
        """
        return self._map_batches("transform", self.code, x, batch_size=batch_size)

    def reconstruct(self, x: Any, batch_size: int = EVALUATION_BATCH) -> np.ndarray:
        """Encodes to the most representative code and decodes to the mean of p(x|z).

        Args:
            x: data `[N, *data_shape]`.
            batch_size: how many examples are held at a time.

        Returns:
            `[N, *data_shape]`.
        """

        def reconstruct_batch(batch: tf.Tensor) -> tf.Tensor:
            return self.decode(self.code(batch)).mean()

        return self._map_batches("reconstruct", reconstruct_batch, x, batch_size=batch_size)

    def interpolate(self, a: Any, b: Any, steps: int = 8) -> np.ndarray:
        """Decodes points on the straight line between the codes of two images, or of N pairs.

        Args:
            a: one example `data_shape`, or `[N, *data_shape]`.
            b: as `a`.
            steps: number of points, the ends included; at least 2.

        Returns:
            `[steps, *data_shape]` for one pair, `[N, steps, *data_shape]` for N.

        Raises:
            ValueError: if `steps` is below 2 or the shapes differ.
        """
        a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
        if steps < 2 or a.shape != b.shape:
            raise ValueError(
                "`interpolate` needs two arrays of one shape and at least 2 steps. "
                f"Received: shapes {a.shape} and {b.shape}, steps={steps}"
            )
        single = a.ndim == len(self.data_shape)
        if single:
            a, b = a[None], b[None]
        start, end = self.code(a).numpy(), self.code(b).numpy()
        t = np.linspace(0.0, 1.0, steps, dtype=np.float32)
        t = t.reshape(1, steps, *[1] * (start.ndim - 1))
        codes = (1 - t) * start[:, None] + t * end[:, None]
        frames = self._decode_means(codes.reshape(-1, *start.shape[1:]))
        frames = frames.reshape(len(a), steps, *frames.shape[1:])
        return frames[0] if single else frames

    def _decode_means(self, codes: np.ndarray, batch_size: int = EVALUATION_BATCH) -> np.ndarray:
        def decode_batch(z: tf.Tensor) -> tf.Tensor:
            return self.decode(z).mean()

        return self._map_batches("decode", decode_batch, codes, batch_size=batch_size)

    def _map_batches(
        self, key: Any, fn: Callable, *arrays: Any, batch_size: int = EVALUATION_BATCH
    ) -> np.ndarray:
        """Runs `fn`, compiled once under `key`, over batches of the arrays; joins the results."""
        arrays = tuple(np.asarray(array) for array in arrays)
        compiled = self._compiled(key, fn)
        if len(arrays[0]) == 0:
            raise ValueError(f"There are no examples. Received: shape {arrays[0].shape}")
        parts = [
            compiled(*(tf.convert_to_tensor(a[start : start + batch_size]) for a in arrays))
            for start in range(0, len(arrays[0]), batch_size)
        ]
        return np.concatenate([part.numpy() for part in parts])

    def _compiled(self, key: Any, fn: Callable, jit_compile: bool = False) -> Callable:
        """A compiled function, traced once for each model and not for each call."""
        key = (key, jit_compile)
        if key not in self._compiled_functions:
            self._compiled_functions[key] = tf.function(
                fn, jit_compile=jit_compile or None, reduce_retracing=True, autograph=False
            )
        return self._compiled_functions[key]

    # ---- shapes and configuration ---------------------------------------------------------

    def _build_networks(self, input_shape: Any) -> tuple[int, ...]:
        """Builds encoder and decoder on symbolic batches; returns the shape of a code."""
        self.data_shape = tuple(input_shape[1:])
        latent = self.encoder(keras.KerasTensor((None, *self.data_shape), float_dtype()))
        # A layer that takes S draws puts them before the batch, which is the unknown dimension.
        batch_axis = latent.shape.index(None)
        self.latent_shape = tuple(latent.shape[batch_axis + 1 :])
        self.num_draws = math.prod(latent.shape[:batch_axis])
        self.decoder(keras.KerasTensor((None, *self.latent_shape), latent.dtype))
        self.built = True
        return self.latent_shape

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "encoder": serialize(self.encoder),
            "decoder": serialize(self.decoder),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        deserialize = keras.saving.deserialize_keras_object
        return cls(
            **{
                key: deserialize(value, custom_objects=custom_objects)
                if isinstance(value, dict)
                else value
                for key, value in config.items()
            }
        )
