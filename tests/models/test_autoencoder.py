"""The deterministic autoencoder: a VAE without the variational."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from tensorflow_probability import distributions as tfd

import tfvae
from tfvae import VAE, Autoencoder, layers

N, D, L = 10, 6, 2
X = np.random.default_rng(0).uniform(size=(N, D)).astype("f")


def dense(inputs, outputs, *head):
    return keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(outputs), *head])


def make(encoder=None, **options):
    keras.utils.set_random_seed(0)
    decoder = dense(L, D, layers.IndependentNormal(D, "mean", scale=0.5))
    ae = Autoencoder(encoder or dense(D, L), decoder)
    ae.compile(keras.optimizers.SGD(0.01), **options)
    return ae


def nll(ae, x):
    error = (x - ae.reconstruct(x)) / 0.5
    return (0.5 * error**2 + np.log(0.5) + 0.5 * np.log(2 * np.pi)).sum(1)


def test_minimises_the_negative_log_likelihood_averaged_by_example():
    ae = make()
    expected = nll(ae, X).mean()
    found = ae.evaluate(X, batch_size=4, verbose=0, return_dict=True)
    assert set(found) == {"loss", "nll"}
    assert found["loss"] == found["nll"] == pytest.approx(expected, rel=1e-5)
    history = ae.fit(X, validation_split=0.3, epochs=50, verbose=0).history
    assert set(history) == {"loss", "nll", "val_loss", "val_nll"}
    assert history["loss"][-1] < history["loss"][0] - 0.5


def test_the_code_is_the_encoders_output_and_the_forward_pass_its_likelihood():
    ae = make()
    z = ae.encode(X)
    np.testing.assert_array_equal(z, ae.encoder(X))
    np.testing.assert_array_equal(ae(X).mean(), ae.decode(z).mean())
    assert isinstance(ae(X), tfd.Independent)
    np.testing.assert_allclose(ae.predict(X, verbose=0), ae.reconstruct(X), rtol=1e-5, atol=1e-6)


def test_a_distribution_is_reduced_to_its_mean():
    ae = make(dense(D, 2 * L, layers.MultivariateNormalDiag(L)))
    np.testing.assert_array_equal(ae.encode(X), ae.encoder(X).mean())
    np.testing.assert_array_equal(ae.reconstruct(X), ae.reconstruct(X))


def test_interpolation_ends_in_the_reconstructions():
    ae = make()
    path = ae.interpolate(X[:2], X[2:4], 4)
    assert path.shape == (2, 4, D)
    np.testing.assert_allclose(path[:, 0], ae.reconstruct(X[:2]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(path[:, -1], ae.reconstruct(X[2:4]), rtol=1e-5, atol=1e-6)


def test_an_example_of_weight_zero_has_no_influence():
    weight = np.float32([1] * 5 + [0] * 5)
    weights = []
    for x in (X, np.where(weight[:, None] > 0, X, 100 * X)):
        ae = make()
        ae.fit(x, sample_weight=weight, batch_size=N, shuffle=False, verbose=0)
        weights.append(np.concatenate([w.numpy().ravel() for w in ae.trainable_weights]))
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-6)


@pytest.mark.parametrize("network", ["dense", "conv"])
def test_has_the_networks_of_the_vae_and_is_saved(network, tmp_path):
    shape = (5, 7, 3)
    ae = Autoencoder.for_images(shape, L, network, (4, 5))
    vae = VAE.for_images(shape, L, network, (4, 5))
    assert ae.decoder.count_params() == vae.decoder.count_params()
    # The encoder's last layer gives a code instead of a mean and a scale; a layer that draws has a
    # state of two numbers.
    last = ae.encoder.layers[-1]
    state = vae.encoder.layers[-1].seed_state.shape[0]
    assert vae.encoder.count_params() - state - ae.encoder.count_params() == last.count_params()
    x = np.random.default_rng(1).uniform(size=(4, *shape)).astype("f")
    ae.compile()
    ae.fit(x, verbose=0)
    ae.save(tmp_path / "model.keras")
    loaded = tfvae.load(tmp_path / "model.keras")
    assert isinstance(loaded, Autoencoder)
    np.testing.assert_array_equal(loaded.reconstruct(x), ae.reconstruct(x))
    assert ae.reconstruct(x).shape == x.shape


REFUSED = {
    "sampling": (
        lambda: make().sample(3, seed=1),
        TypeError,
        r"An autoencoder cannot generate: .*`tfvae.VAE`.*Received: sample\(n=3, seed=1\)",
    ),
    "a loss": (
        lambda: make(loss="mse"),
        ValueError,
        r"Autoencoder brings its own loss.*Received: loss='mse'",
    ),
    "a decoder without a distribution": (
        lambda: Autoencoder(dense(D, L), dense(L, D))(X),
        TypeError,
        r"decoder must output a distribution.*Received",
    ),
    "bytes": (
        lambda: make().fit((255 * X).astype(np.uint8), verbose=0),
        ValueError,
        r"Data must be floating point.*Received: dtype uint8",
    ),
    "an encoder that is a function": (
        lambda: make(lambda x: x),
        TypeError,
        r"`encoder` must be a Keras model or layer. Received: <function",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name):
    act, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        act()
