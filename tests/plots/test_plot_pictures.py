"""The pictures: every pixel where it belongs."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import norm

from tfvae import plots

WHITE = (255, 255, 255)
IMAGES = np.zeros((4, 8, 8, 1))


def corner(figure: Figure) -> tuple[int, int]:
    """Row and column of the top left pixel of the figure's picture."""
    box = figure.axes[0].get_window_extent()
    return round(figure.bbox.height - box.y1), round(box.x0)


def random_images(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def texts(artists) -> list[str]:
    return [artist.get_text() for artist in artists]


def test_image_grid_places_each_pixel(render):
    images = random_images(5, 6, 7, 3)
    pixels = render(plots.image_grid(images, columns=3, scale=4))
    assert pixels.shape == (2 * 24 + 2, 3 * 28 + 2 * 2, 3)
    for index, image in enumerate(images):
        top, left = index // 3 * 26, index % 3 * 30
        expected = np.kron(image, np.ones((4, 4, 1), np.uint8))
        np.testing.assert_array_equal(pixels[top : top + 24, left : left + 28], expected)
    for gap in (pixels[24:26], pixels[:, 28:30], pixels[:, 58:60], pixels[26:, 60:]):
        assert np.all(gap == 255)


def test_image_grid_rounds_floats_and_shows_grey_as_grey(render):
    values = np.array([0.0, 0.25, 0.501, 1.0], np.float32)
    pixels = render(plots.image_grid(values.reshape(1, 2, 2, 1), scale=1))
    np.testing.assert_array_equal(pixels[..., 0], [[0, 64], [128, 255]])
    np.testing.assert_array_equal(pixels[..., 1], pixels[..., 0])
    np.testing.assert_array_equal(pixels[..., 2], pixels[..., 0])


def test_image_grid_forgives_the_rounding_of_half_precision(render):
    images = np.array([-0.0005, 1.0005], np.float16).reshape(1, 1, 2, 1)
    pixels = render(plots.image_grid(images, scale=1))
    np.testing.assert_array_equal(pixels[0, :, 0], [0, 255])


@pytest.mark.parametrize(
    ("shape", "columns", "size"),
    [
        ((10, 28, 28, 1), None, (4 * 84 + 3 * 2, 3 * 84 + 2 * 2)),  # enlarged past 64
        ((64, 8, 8, 1), None, (8 * 64 + 7 * 2, 8 * 64 + 7 * 2)),
        ((2, 100, 80, 3), None, (2 * 80 + 3, 100)),  # large enough, and a wider gap
        ((60, 28, 28, 1), 60, (60 * 28 + 59 * 2, 28)),  # too many across to enlarge
        ((3, 8, 8, 1), 9, (3 * 64 + 2 * 2, 64)),  # no empty columns
    ],
)
def test_image_grid_chooses_columns_and_zoom(shape, columns, size):
    figure = plots.image_grid(np.zeros(shape), columns=columns)
    assert tuple(figure.bbox.size) == size


@pytest.mark.parametrize("height", [1, 7, 53, 115])
@pytest.mark.parametrize("width", [1, 29, 57, 113])
def test_image_grid_is_exact_at_every_size(height, width, render):
    # Sizes such as 1.15 inches at 100 dots, which floats cut short, are why 128 was chosen.
    image = random_images(1, height, width, 3)
    np.testing.assert_array_equal(render(plots.image_grid(image, scale=1)), image[0])
    figure = plots.image_grid(image, scale=1, title="A title")
    top, left = corner(figure)
    np.testing.assert_array_equal(render(figure)[top : top + height, left : left + width], image[0])


def test_reconstructions_stand_below_their_originals(render):
    above, below = random_images(5, 8, 8, 1), random_images(5, 8, 8, 1, seed=1)
    figure = plots.reconstructions(above, below, columns=3, scale=4)
    pixels, (top, left) = render(figure), corner(figure)
    tops = (0, 34, 34 + 34 + 6, 34 + 34 + 34 + 6)  # a wider gap between pairs
    for index in range(5):
        column = left + index % 3 * 34
        for images, start in ((above, tops[index // 3 * 2]), (below, tops[index // 3 * 2 + 1])):
            tile = pixels[top + start : top + start + 32, column : column + 32]
            np.testing.assert_array_equal(tile[::4, ::4, :1], images[index])
    assert tuple(pixels[top + tops[2] + 16, left + 2 * 34 + 16]) == WHITE  # no sixth image
    axes = figure.axes[0]
    assert texts(axes.get_yticklabels()) == ["original", "reconstruction"] * 2
    np.testing.assert_allclose(axes.get_yticks(), np.add(tops, 15.5))


def test_reconstructions_may_mix_bytes_and_floats(render):
    image = random_images(2, 8, 8, 3)
    figure = plots.reconstructions(image, image / 255.0, scale=1)
    pixels, (top, left) = render(figure), corner(figure)
    np.testing.assert_array_equal(
        pixels[top : top + 8, left:], pixels[top + 10 : top + 18, left:]
    )  # equal rows


def test_interpolations_give_each_pair_a_row(render):
    frames = random_images(2, 5, 6, 6, 3)
    pixels = render(plots.interpolations(frames, scale=2))
    assert pixels.shape == (2 * 12 + 2, 5 * 12 + 4 * 2, 3)
    for row in range(2):
        for step in range(5):
            tile = pixels[row * 14 : row * 14 + 12, step * 14 : step * 14 + 12]
            np.testing.assert_array_equal(tile[::2, ::2], frames[row, step])


@pytest.mark.parametrize("nested", [True, False])
def test_latent_manifold_grows_right_and_up(nested, render):
    images = random_images(3, 3, 4, 4, 3)
    figure = plots.latent_manifold(images if nested else images.reshape(9, 4, 4, 3), scale=1)
    pixels, (top, left) = render(figure), corner(figure)
    for i in range(3):
        for j in range(3):
            y, x = top + (2 - i) * 4, left + j * 4
            np.testing.assert_array_equal(pixels[y : y + 4, x : x + 4], images[i, j])
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.get_xticks(), [1.5, 5.5, 9.5])
    np.testing.assert_allclose(axes.get_yticks(), [9.5, 5.5, 1.5])
    assert "z_1" in axes.get_xlabel()
    assert "z_2" in axes.get_ylabel()


@pytest.mark.parametrize(("side", "count"), [(1, 1), (2, 2), (7, 7), (9, 7), (20, 6)])
def test_latent_manifold_labels_its_quantiles(side, count):
    axes = plots.latent_manifold(np.zeros((side, side, 2, 2, 1))).axes[0]
    labels = [float(text.replace("−", "-")) for text in texts(axes.get_xticklabels())]
    assert texts(axes.get_yticklabels()) == texts(axes.get_xticklabels())
    assert len(labels) == count
    np.testing.assert_allclose(labels, np.negative(labels[::-1]), atol=1e-9)
    columns = (axes.get_xticks() + 0.5) / (axes.get_xlim()[1] + 0.5)
    np.testing.assert_allclose(labels, norm.ppf(columns), atol=0.006)


def test_latent_manifold_takes_other_quantiles():
    axes = plots.latent_manifold(np.zeros((4, 2, 2, 1)), quantiles=[-3.0, 1.5]).axes[0]
    assert texts(axes.get_xticklabels()) == ["−3.00", "1.50"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plots.image_grid(IMAGES[..., 0]), ValueError, r"`images` must be \[N, H, W, C\]"),
        (lambda: plots.image_grid(np.zeros((4, 8, 8, 2))), ValueError, r"shape \(4, 8, 8, 2\)"),
        (lambda: plots.image_grid(IMAGES[:0]), ValueError, r"shape \(0, 8, 8, 1\)"),
        (lambda: plots.image_grid(IMAGES + 1.01), ValueError, "values from 1.01 to 1.01"),
        (lambda: plots.image_grid(IMAGES - 0.01), ValueError, "values from -0.01 to -0.01"),
        (lambda: plots.image_grid(IMAGES + np.nan), ValueError, "values from nan to nan"),
        (lambda: plots.image_grid(IMAGES.astype(int)), TypeError, "Received: int64"),
        (lambda: plots.image_grid(IMAGES, columns=0), ValueError, "`columns` .*Received: 0"),
        (lambda: plots.image_grid(IMAGES, columns=2.0), TypeError, r"`columns` .*Received: 2\.0"),
        (lambda: plots.image_grid(IMAGES, scale=True), TypeError, "`scale` .*Received: True"),
        (
            lambda: plots.reconstructions(IMAGES, IMAGES[:3]),
            ValueError,
            r"same shape .*Received: \(4, 8, 8, 1\) and \(3, 8, 8, 1\)",
        ),
        (lambda: plots.reconstructions(IMAGES, IMAGES * 2 - 1), ValueError, "`reconstructions` as"),
        (lambda: plots.interpolations(IMAGES), ValueError, r"`frames` must be \[R, T, H, W, C\]"),
        (lambda: plots.latent_manifold(IMAGES[:3]), ValueError, r"square.*shape \(3, 8, 8, 1\)"),
        (lambda: plots.latent_manifold(np.zeros((2, 3, 8, 8, 1))), ValueError, "fill a square"),
        (
            lambda: plots.latent_manifold(IMAGES, [0.0]),
            ValueError,
            r"2 finite .*Received: \[0\.0\]",
        ),
        (lambda: plots.latent_manifold(IMAGES, [1.0, 0.0]), ValueError, "rising"),
    ],
)
def test_unusable_input_is_refused(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "Received: " in str(caught.value)
