"""The penalties of a regularised autoencoder: what they are and what they cost."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfvae import Autoencoder, layers, schedules
from tfvae.models.decoder_penalties import decode_with_gradient, squared_kernels
from tfvae.networks import conv_decoder

N, D, L, SCALE = 10, 6, 2, 0.5
RNG = np.random.default_rng(0)
X = RNG.uniform(size=(N, D)).astype("f")


def make(kernel_regularizer=None, hidden=(), **options):
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential([keras.Input((D,)), keras.layers.Dense(L)])
    body = [keras.layers.Dense(units, "tanh") for units in hidden]
    last = keras.layers.Dense(D, kernel_regularizer=kernel_regularizer)
    # The scale is trained too, and is no kernel.
    likelihood = layers.IndependentNormal(D, "mean", scale="shared")
    decoder = keras.Sequential([keras.Input((L,)), *body, last, likelihood])
    last.bias.assign(RNG.normal(size=D))
    ae = Autoencoder(encoder, decoder, seed=7, **options)
    ae.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
    return ae


def directions(size, count=0):
    """The signs of a call of the model with seed 7, after `count` others."""
    return tfp.random.rademacher(size, seed=tf.constant([7, count])).numpy()


# ---- what they measure --------------------------------------------------------------------------


def small_decoder(network):
    keras.utils.set_random_seed(1)
    if network == "dense":
        body, shape = [keras.layers.Dense(4, "tanh"), keras.layers.Dense(D)], (D,)
        return keras.Sequential(
            [keras.Input((L,)), *body, layers.IndependentBernoulli(shape, "mean")]
        )
    body = conv_decoder(L, (3, 2, 1), hidden=(3,), activation="tanh").layers
    return keras.Sequential(
        [keras.Input((L,)), *body, layers.IndependentBernoulli((3, 2, 1), "mean")]
    )


@pytest.mark.parametrize("network", ["dense", "conv"])
def test_the_gradient_is_that_of_the_mean_along_a_direction_and_unbiased(network):
    decoder = small_decoder(network)
    codes = RNG.normal(size=(3, L)).astype("f")
    z = tf.constant(codes)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(z)
        mean = decoder(z).mean()
        elements = tf.unstack(tf.reshape(mean, [3, D]), axis=1)
    jacobian = np.stack([tape.gradient(element, z) for element in elements], axis=1)
    exact = np.square(jacobian).sum((1, 2))
    # One call: J'v with the signs of its seed.
    seed = tf.constant([3, 4])
    v = tfp.random.rademacher(mean.shape, seed=seed).numpy().reshape(3, D)
    p, found = decode_with_gradient(decoder, z, seed)
    expected = np.square(np.einsum("bij,bi->bj", jacobian, v)).sum(1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_allclose(p.mean(), mean, rtol=1e-6)
    assert np.abs(expected / exact - 1).max() > 0.05
    # In the mean over 4,000 directions the whole Jacobian, within four standard errors.
    _, many = decode_with_gradient(decoder, tf.repeat(z, 4000, axis=0), seed)
    many = many.numpy().reshape(3, 4000)
    error = many.std(axis=1, ddof=1) / np.sqrt(4000)
    assert np.all(np.abs(many.mean(1) - exact) < 4 * error)
    assert np.all(4 * error < 0.1 * exact)


def test_the_penalty_trains_a_linear_decoder_as_its_closed_form_says():
    # D(z) = z'W + b: the estimate is |W v|^2, and its gradient 2 W v v'.
    ae = make(decoder_penalty="gradient", decoder_weight=1.0)
    kernel = ae.decoder.layers[0].kernel
    with tf.GradientTape() as tape:
        terms = ae.example_terms(tf.constant(X), training=True).terms
        penalty = tf.reduce_mean(terms["decoder_gradient"])
    v = directions((N, D))
    w = np.float64(kernel)
    np.testing.assert_allclose(terms["decoder_gradient"], np.square(v @ w.T).sum(1), rtol=1e-5)
    expected = 2 * w @ (v.T @ v) / N
    np.testing.assert_allclose(tape.gradient(penalty, kernel.value), expected, rtol=1e-4, atol=1e-5)


def test_kernels_count_and_biases_and_scales_do_not():
    ae = make(hidden=(4,))
    expected = sum(np.square(layer.kernel).sum() for layer in ae.decoder.layers[:2])
    assert float(squared_kernels(ae.decoder)) == pytest.approx(expected, rel=1e-6)
    assert len(ae.decoder.trainable_weights) == 5


# ---- what they cost -----------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [3, 10])
@pytest.mark.parametrize("penalty", [None, "l2", "gradient"])
def test_the_loss_is_the_likelihood_and_the_weighted_terms(penalty, batch_size):
    ae = make(hidden=(4,), code_weight=0.3, decoder_penalty=penalty, decoder_weight=0.7)
    found = ae.evaluate(X, batch_size=batch_size, verbose=0, return_dict=True)
    z = ae.transform(X)
    norm = 0.5 * np.square(z).sum(1).mean()
    nll = -np.mean(ae.decode(z).log_prob(X))
    term = {} if penalty is None else {f"decoder_{penalty}": found.get(f"decoder_{penalty}")}
    if penalty == "l2":
        assert term["decoder_l2"] == pytest.approx(float(squared_kernels(ae.decoder)), rel=1e-5)
    assert set(found) == {"loss", "nll", "code_norm", *term}
    assert found["nll"] == pytest.approx(nll, rel=1e-5)
    assert found["code_norm"] == pytest.approx(norm, rel=1e-5)
    total = nll + 0.3 * norm + 0.7 * sum(term.values())
    assert found["loss"] == pytest.approx(total, rel=1e-5)


def test_a_regulariser_of_keras_counts_once():
    ae = make(keras.regularizers.L2(0.1), code_weight=0.3)
    found = ae.evaluate(X, batch_size=4, verbose=0, return_dict=True)
    penalty = 0.1 * np.square(ae.decoder.layers[0].kernel).sum()
    expected = found["nll"] + 0.3 * found["code_norm"] + penalty
    assert found["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("penalty", ["l2", "gradient"])
def test_training_makes_the_decoder_flatter(penalty):
    ae = make(hidden=(4,), code_weight=0.1, decoder_penalty=penalty, decoder_weight=2.0)
    name = f"decoder_{penalty}"
    before = ae.evaluate(X, verbose=0, return_dict=True)[name]
    ae.fit(X, epochs=20, batch_size=N, verbose=0)
    assert ae.evaluate(X, verbose=0, return_dict=True)[name] < 0.6 * before


def test_a_schedule_is_followed_and_logged():
    ae = make(code_weight=schedules.LinearWarmup(4, stop=2.0), decoder_penalty="gradient")
    history = ae.fit(X, batch_size=5, epochs=2, verbose=0).history
    assert set(history) == {"loss", "nll", "code_norm", "decoder_gradient", "code_weight"}
    assert history["code_weight"] == [0.5, 1.5]


REFUSED = {
    "another penalty": (lambda: make(decoder_penalty="l1"), "`decoder_penalty` must be one of"),
    "a negative weight": (lambda: make(code_weight=-1.0), "`code_weight` must be a finite"),
    "a kernel charged twice": (
        lambda: make(keras.regularizers.L2(0.1), decoder_penalty="l2"),
        "it would be charged twice",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name):
    act, message = REFUSED[name]
    with pytest.raises(ValueError, match=rf"{message}.*Received"):
        act()


def test_it_still_cannot_generate():
    with pytest.raises(TypeError, match="An autoencoder cannot generate"):
        make(code_weight=0.1, decoder_penalty="l2").sample(2)
