"""The networks: shapes for every image, the order of the parameters, and what they refuse."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfvae import layers, networks

IMAGE_SHAPES = [(8, 8, 1), (28, 28, 1), (9, 13, 3), (1, 5, 2), (17, 16, 4)]


def test_dense_has_the_layers_it_says():
    model = networks.dense((4, 3), 5, hidden=(7, 6), activation="tanh", name="body")
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert model.name == "body"
    assert [layer.units for layer in dense] == [7, 6, 5]
    assert [layer.activation.__name__ for layer in dense] == ["tanh", "tanh", "linear"]
    assert model.count_params() == (12 * 7 + 7) + (7 * 6 + 6) + (6 * 5 + 5)


def test_dense_computes_the_formula():
    model = networks.dense((3,), 2, hidden=(4,), activation="tanh")
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("f")
    first, first_bias, last, last_bias = model.get_weights()
    expected = np.tanh(x @ first + first_bias) @ last + last_bias
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", IMAGE_SHAPES, ids=str)
@pytest.mark.parametrize("hidden", [(3,), (3, 4, 5)], ids=str)
def test_convolutional_networks_fit_images_of_any_size(shape, hidden):
    encoder = networks.conv_encoder(shape, 6, hidden)
    assert encoder(np.zeros((2, *shape), "f")).shape == (2, 6)
    size = int(np.prod(shape))
    for maps in (1, 2):
        decoder = networks.conv_decoder(4, shape, maps, hidden)
        assert decoder(np.zeros((2, 4), "f")).shape == (2, maps * size)


def test_the_encoder_halves_rounding_up_and_the_decoder_mirrors_it():
    encoder = networks.conv_encoder((9, 13, 3), 6, (4, 5))
    decoder = networks.conv_decoder(6, (9, 13, 3), 1, (5, 4))

    def pictures(model):
        shapes = [tuple(layer.output.shape[1:]) for layer in model.layers]
        return [shape for shape in shapes if len(shape) == 3]

    assert pictures(encoder) == [(5, 7, 4), (3, 4, 5)]
    # Doubled to (6, 8), cropped to (5, 7); doubled to (10, 14), cropped to (9, 13).
    assert pictures(decoder) == [
        (3, 4, 5),
        (6, 8, 5),
        (5, 7, 5),
        (10, 14, 4),
        (9, 13, 4),
        (9, 13, 3),
    ]


def test_every_pixel_depends_on_the_code():
    decoder = networks.conv_decoder(2, (9, 13, 3), 2, (5, 4), activation="tanh")
    codes = np.float32([[0, 0], [1, 0], [0, 1]])
    zero, one, other = decoder(codes).numpy()
    assert np.all(zero != one)
    assert np.all(zero != other)


def test_maps_follow_each_other_as_the_distribution_layers_expect():
    shape = (4, 3, 2)
    decoder = networks.conv_decoder(2, shape, maps=2, hidden=(3,))
    last = [layer for layer in decoder.layers if isinstance(layer, keras.layers.Conv2D)][-1]
    last.kernel.assign(np.zeros(last.kernel.shape))
    last.bias.assign([10.0, 20.0, 1.0, 2.0])
    p = layers.IndependentNormal(shape).new(decoder(np.zeros((1, 2), "f")), shape)
    np.testing.assert_array_equal(p.mean()[0], np.broadcast_to([10.0, 20.0], shape))
    softplus = np.log1p(np.exp([1.0, 2.0])) + 1e-5
    np.testing.assert_allclose(p.stddev()[0], np.broadcast_to(softplus, shape), rtol=1e-6)


WRONG = {
    "no hidden layer": (lambda: networks.dense((3,), 2, hidden=()), "`hidden`"),
    "a layer without units": (lambda: networks.dense((3,), 2, hidden=(4, 0)), "`hidden`"),
    "half a unit": (lambda: networks.dense((3,), 2, hidden=(4.5,)), "`hidden`"),
    "an empty example": (lambda: networks.dense((), 2), "`input_shape`"),
    "a vector for convolutions": (lambda: networks.conv_encoder((64,), 2), "network='dense'"),
    "a picture without channels": (lambda: networks.conv_decoder(2, (8, 8)), "network='dense'"),
    "a picture without rows": (lambda: networks.conv_encoder((0, 8, 1), 2), "`image_shape`"),
    "a code without size": (lambda: networks.conv_decoder(0, (8, 8, 1)), "`latent_dim`"),
    "no filters": (lambda: networks.conv_decoder(2, (8, 8, 1), hidden=()), "`hidden`"),
}


@pytest.mark.parametrize("name", WRONG)
def test_refuses(name):
    make, message = WRONG[name]
    with pytest.raises(ValueError, match=rf"{message}.*Received"):
        make()
