"""What the autoencoders share: how they train, are measured, decode and interpolate.

A model states its cost for each example in nats (`example_terms`); here that becomes a training
step, a test step and the progress bar. Keras' own step hands a loss the prediction alone, but the
cost needs the posterior and the likelihood of the same forward pass, weighted by example.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.data import check_images
from tfvae.distributions import float_dtype
from tfvae.layers.distribution_layer import DistributionLayer
from tfvae.models.planned_steps import planned_steps, warn_of_long_schedules

EVALUATION_BATCH = 256


class ExampleTerms(NamedTuple):
    """What one forward pass says of each example.

    Attributes:
        cost: what is minimised, `[B]`, in nats.
        terms: its parts by the name they are logged under, each `[B]`.
        likelihood: p(x|z), for metrics that the user adds.
    """

    cost: tf.Tensor
    terms: dict[str, tf.Tensor]
    likelihood: tfd.Distribution


class LatentVariableModel(keras.Model):
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
    def example_terms(self, x: tf.Tensor, training: bool) -> ExampleTerms:
        """One forward pass of a batch `[B, *data_shape]`."""

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        # Keras lists those of a layer inside a layer twice.
        return list(dict.fromkeys(super().metrics))

    @abstractmethod
    def code(self, x: Any) -> tf.Tensor:
        """The code of each example that stands for it best, `[B, *latent_shape]`."""

    # ---- training -------------------------------------------------------------------------

    def compile(self, optimizer: Any = None, loss: Any = None, **kwargs: Any) -> None:
        """Prepares `fit`; the loss is the model's own.

        Args:
            optimizer: a Keras optimizer or its name; Adam with a learning rate of 1e-3 if `None`.
            loss: must be `None`.
            **kwargs: as for `keras.Model.compile`; `metrics` are called with the data and the
                likelihood, `metric(x, p)`.

        Raises:
            ValueError: if a loss is given.
        """
        if loss is not None:
            raise ValueError(
                f"{type(self).__name__} brings its own loss, the cost of an example in nats: "
                "choose the likelihood by the decoder's last layer and the latent's cost by "
                "`regularizer`. "
                f"Received: loss={loss!r}"
            )
        super().compile(
            optimizer=keras.optimizers.Adam(1e-3) if optimizer is None else optimizer, **kwargs
        )

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def fit(self, x: Any = None, y: Any = None, **kwargs: Any) -> keras.callbacks.History:
        """Trains on data alone; see `keras.Model.fit` for every other argument.

        Args:
            x: data `[N, *data_shape]`, or a dataset of batches `x`, `(x, y)` or
                `(x, y, sample_weight)`. Labels `y` are ignored.
            y: ignored, so that a labelled pipeline serves as it is.
            **kwargs: as for `keras.Model.fit`.

        Returns:
            Keras' history: for each epoch the loss and its parts in nats an example.

        Raises:
            ValueError: if the data is outside the likelihood's support, not finite or empty.

        Warns:
            UserWarning: if a schedule is longer than the training, which then ends on the way.
        """
        self._check_data(x)
        steps = planned_steps(x, **kwargs)
        if steps is not None:
            warn_of_long_schedules(self, steps)
        history = super().fit(x, _target(y, kwargs), **kwargs)
        if steps is None:
            warn_of_long_schedules(self, 0)
        return history

    def evaluate(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        """Measures the cost and its parts; `fit` does so on its validation data.

        Args:
            x: data, as for `fit`.
            y: ignored.
            **kwargs: as for `keras.Model.evaluate`.

        Returns:
            As `keras.Model.evaluate`.

        Raises:
            ValueError: if the data is outside the likelihood's support, not finite or empty.
        """
        self._check_data(x)
        return super().evaluate(x, _target(y, kwargs), **kwargs)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = self._minimised(x, sample_weight, training=True)
            scaled = self.optimizer.scale_loss(loss)
        weights = self.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(scaled, weights), weights, strict=True))
        return self.get_metrics_result()

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        self._minimised(x, sample_weight, training=False)
        return self.get_metrics_result()

    def _minimised(self, x: tf.Tensor, sample_weight: Any, training: bool) -> tf.Tensor:
        """The mean cost of the batch plus the networks' own penalties; updates the metrics."""
        x = self._as_data(x)
        if not self.built:
            self.build(x.shape)
        cost, terms, p = self.example_terms(x, training)
        if sample_weight is None:
            weigh = tf.identity
        else:
            weight = tf.reshape(tf.cast(sample_weight, cost.dtype), [-1])
            weigh = weight.__mul__
        penalties = [tf.cast(penalty, cost.dtype) for penalty in self.losses]
        loss = tf.add_n([tf.reduce_mean(weigh(cost)), *penalties])
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(cost)[0])
        for name, tracker in self.term_trackers.items():
            tracker.update_state(weigh(terms[name]))
        self.compute_metrics(x, x, p, sample_weight)
        return loss / tf.distribute.get_strategy().num_replicas_in_sync

    def _check_data(self, x: Any) -> None:
        """Checks arrays whole, datasets by the first batch."""
        support = _likelihood_support(self.decoder)
        if isinstance(x, tf.data.Dataset):
            x = next(iter(x.take(1)), None)
            if x is None:
                raise ValueError("The dataset has no batches. Received: an empty tf.data.Dataset")
            x, _, _ = keras.utils.unpack_x_y_sample_weight(x)
        if isinstance(x, (np.ndarray, tf.Tensor)):
            check_images(np.asarray(x), name="x", unit_interval=support == (0.0, 1.0))

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

    def _as_data(self, x: Any) -> tf.Tensor:
        """Data as a float tensor; whole numbers are refused, since their scale is unknown."""
        x = tf.convert_to_tensor(x)
        if not x.dtype.is_floating:
            raise ValueError(
                "Data must be floating point, scaled as the likelihood expects it: see "
                "`tfvae.data.pipeline`, or divide images by 255. "
                f"Received: dtype {x.dtype.name}, shape {tuple(x.shape)}"
            )
        return tf.cast(x, float_dtype())

    def transform(self, x: Any, batch_size: int = EVALUATION_BATCH) -> np.ndarray:
        """Embeds data: the code that stands for each example best.

        Args:
            x: data `[N, *data_shape]`.
            batch_size: how many examples are held at a time.

        Returns:
            `[N, *latent_shape]`: posterior means, or an autoencoder's codes.
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

    def _compiled(self, key: str, fn: Callable) -> Callable:
        """A compiled function, traced once for each model and not for each call."""
        if key not in self._compiled_functions:
            self._compiled_functions[key] = tf.function(fn, reduce_retracing=True)
        return self._compiled_functions[key]

    # ---- shapes and configuration ---------------------------------------------------------

    def _build_networks(self, input_shape: Any) -> tuple[int, ...]:
        """Builds encoder and decoder on symbolic batches; returns the shape of a code."""
        self.data_shape = tuple(input_shape[1:])
        latent = self.encoder(keras.KerasTensor((None, *self.data_shape), float_dtype()))
        # A layer that takes S draws puts them before the batch, which is the unknown dimension.
        self.latent_shape = tuple(latent.shape[latent.shape.index(None) + 1 :])
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


def _target(y: Any, options: dict[str, Any]) -> Any:
    """Something to stand for the targets, without which Keras drops `sample_weight` silently."""
    return options.get("sample_weight") if y is None else y


def _likelihood_support(decoder: keras.layers.Layer) -> tuple[float, float] | None:
    """The interval that the decoder's last distribution layer gives probability to, if it says."""
    layers = [layer for layer in decoder._flatten_layers() if isinstance(layer, DistributionLayer)]
    return layers[-1].support if layers else None
