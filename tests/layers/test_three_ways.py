"""The three ways of building a VAE in Keras, each taken through all that is done with a model.

One VAE, with a trainable prior and a variable as the weight of its divergence, is built as a
Sequential, a Functional and a subclassed model, with one draw of the latent and with several, and
compiled with XLA and without. The three have the same weights and the same noise, so that they
must have the same numbers.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import tfvae
from tfvae import layers, losses, priors, regularizers

N, D, L, S = 10, 6, 2, 3
BATCH = 5
X = np.random.default_rng(0).integers(0, 2, (N, D)).astype("f")


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    """A model whose forward pass is the paper's."""

    def __init__(self, encoder, decoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder, self.decoder = encoder, decoder

    def call(self, x):
        q = self.encoder(x)
        return self.decoder(q)

    def get_config(self):
        halves = {"encoder": self.encoder, "decoder": self.decoder}
        serialize = keras.saving.serialize_keras_object
        return {**super().get_config(), **{name: serialize(half) for name, half in halves.items()}}

    @classmethod
    def from_config(cls, config):
        return cls(**{k: keras.saving.deserialize_keras_object(v) for k, v in config.items()})


def sequential(encoder, decoder):
    return keras.Sequential([keras.Input((D,)), *encoder, *decoder])


def functional(encoder, decoder):
    x = keras.Input((D,))
    encode = keras.Model(x, encoder[1](encoder[0](x)))
    z = keras.Input(batch_shape=encode.output.shape)
    decode = keras.Model(z, decoder[1](decoder[0](z)))
    return keras.Model(x, decode(encode(x)))


def subclassed(encoder, decoder):
    return Subclassed(keras.Sequential(encoder), keras.Sequential(decoder))


WAYS = {"sequential": sequential, "functional": functional, "subclassed": subclassed}


class Fitted(NamedTuple):
    """A model that was fitted, what was in its parts, and how its loss went."""

    model: keras.Model
    prior: priors.TrainableNormal
    weight: keras.Variable
    losses: list[float]


@cache
def fitted(way: str, draws: int, jit_compile: bool) -> Fitted:
    keras.utils.set_random_seed(0)
    prior = priors.TrainableNormal(L)
    weight = keras.Variable(0.5, trainable=False)
    kl = regularizers.KLDivergenceRegularizer(prior, weight=weight)
    conversion = "sample" if draws == 1 else layers.Samples(draws)
    posterior = layers.MultivariateNormalDiag(L, conversion, activity_regularizer=kl, seed=1)
    model = WAYS[way](
        [keras.layers.Dense(2 * L), posterior],
        [keras.layers.Dense(D), layers.IndependentBernoulli(D, "mean", seed=2)],
    )
    model(X[:1])
    rewind(model)
    model.compile(
        keras.optimizers.Adam(0.1), losses.NegativeLogLikelihood(), jit_compile=jit_compile
    )
    history = model.fit(X, X, batch_size=BATCH, epochs=4, shuffle=False, verbose=0).history
    return Fitted(model, prior, weight, history["loss"])


def rewind(model: keras.Model) -> None:
    """Sets the noise back to the first draw."""
    for variable in model.variables:
        if variable.name == "seed_state":
            variable.assign([variable.numpy()[0], 0])


def evaluate(model: keras.Model) -> float:
    rewind(model)
    return model.evaluate(X, X, batch_size=BATCH, verbose=0)


def value(model: keras.Model) -> np.ndarray:
    """The tensor that the model's distribution stands for, with the first noise, without XLA."""
    rewind(model)
    return tf.convert_to_tensor(model(X)).numpy()


every = pytest.mark.parametrize(
    ("way", "draws", "jit_compile"),
    [(way, draws, jit) for way in WAYS for draws in (1, S) for jit in (False, True)],
)


@every
def test_fit_trains_all_weights_and_no_way_differs(way, draws, jit_compile):
    model, prior, weight, history = fitted(way, draws, jit_compile)
    # XLA draws other noise than TensorFlow for a seed, so each is compared with its like.
    like = fitted("sequential", draws, jit_compile)
    assert history == pytest.approx(like.losses, rel=1e-4)
    assert history[-1] < history[0] - 0.1
    assert len(model.trainable_weights) == 6
    assert sum(variable is weight for variable in model.non_trainable_weights) == 1
    assert np.all(prior.loc.numpy() != 0.0)
    assert np.all(np.abs(prior.raw_scale.numpy() - 0.5413) > 1e-3)
    assert float(weight) == 0.5


@every
def test_evaluate_holds_the_divergence_times_the_weight_once(way, draws, jit_compile):
    model, prior, weight, _ = fitted(way, draws, jit_compile)
    kernel, bias = (np.float64(w) for w in model.trainable_weights[:2])
    loc, raw = np.split(np.float64(X) @ kernel + bias, 2, axis=1)
    ratio = (np.logaddexp(0, raw) + 1e-5) / np.float64(prior().stddev())
    shift = (loc - np.float64(prior().mean())) / np.float64(prior().stddev())
    kl = 0.5 * (ratio**2 + shift**2 - 1 - 2 * np.log(ratio)).sum(1).mean()
    found = {}
    for value in (0.0, 0.5, 2.0):
        weight.assign(value)
        found[value] = evaluate(model)
    weight.assign(0.5)
    assert kl > 0.01
    assert found[2.0] - found[0.0] == pytest.approx(2 * kl, rel=1e-4)
    assert found[0.5] - found[0.0] == pytest.approx(kl / 2, rel=1e-4)


@every
def test_predict_is_the_value_of_the_model(way, draws, jit_compile):
    model = fitted(way, draws, jit_compile).model
    p = model(X)
    assert isinstance(p, tfd.Independent)
    rewind(model)
    # All at once: Keras joins batches along the first axis, which is that of the draws.
    predicted = model.predict(X, batch_size=N, verbose=0)
    assert predicted.shape == ((N, D) if draws == 1 else (draws, N, D))
    rewind(model)
    expected = tf.function(lambda: tf.convert_to_tensor(model(X)), jit_compile=jit_compile)()
    np.testing.assert_allclose(predicted, expected, rtol=1e-4)
    assert len(np.unique(predicted)) > predicted.size / 2


@every
def test_a_saved_model_is_the_same(way, draws, jit_compile, tmp_path):
    model = fitted(way, draws, jit_compile).model
    rewind(model)
    model.save(tmp_path / "model.keras")
    loaded = tfvae.load(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    assert loaded.jit_compile == jit_compile
    assert evaluate(loaded) == evaluate(model)
    np.testing.assert_array_equal(value(loaded), value(model))
    # The prior and the weight, arguments of an argument, are weights of the new model too.
    assert len(loaded.trainable_weights) == 6
    for found, expected in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(found, expected)


@every
def test_an_exported_model_serves_the_value(way, draws, jit_compile, tmp_path):
    model = fitted(way, draws, jit_compile).model
    expected = value(model)
    rewind(model)
    model.export(tmp_path / "exported", verbose=False)
    served: Any = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(served.serve(X), expected, rtol=1e-4)
    assert served.serve(X[:3]).shape == ((3, D) if draws == 1 else (draws, 3, D))
