"""The plots: every pixel where it belongs, every line and label there, files whole or absent."""

from __future__ import annotations

import os

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import norm

from tfvae import plots

WHITE = (255, 255, 255)


def render(figure: Figure) -> NDArray[np.uint8]:
    """The figure as `[H, W, 3]`."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]


def corner(figure: Figure) -> tuple[int, int]:
    """Row and column of the top left pixel of the figure's picture."""
    box = figure.axes[0].get_window_extent()
    return round(figure.bbox.height - box.y1), round(box.x0)


def random_images(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def texts(artists) -> list[str]:
    return [artist.get_text() for artist in artists]


def notes(figure: Figure) -> list[str]:
    return [text for axes in figure.axes for text in texts(axes.texts)]


HISTORY = {
    "loss": [560.0, 140.0, 120.0, 112.0, 108.0, 106.0, 105.0, 104.5],
    "nll": [550.0, 125.0, 100.0, 90.0, 85.0, 82.0, 80.5, 79.5],
    "kl": [10.0, 15.0, 20.0, 22.0, 23.0, 24.0, 24.5, 25.0],
    "val_loss": [150.0, 130.0, 118.0, 112.0, 109.0, 107.0, 106.0, 105.5],
    "learning_rate": [1e-3] * 8,
}

CALLS = {
    "image_grid": lambda **k: plots.image_grid(random_images(5, 6, 7, 3), **k),
    "reconstructions": lambda **k: plots.reconstructions(
        random_images(3, 8, 8, 1), random_images(3, 8, 8, 1, seed=1), **k
    ),
    "interpolations": lambda **k: plots.interpolations(random_images(2, 4, 8, 8, 3), **k),
    "latent_manifold": lambda **k: plots.latent_manifold(random_images(9, 8, 8, 1), **k),
    "training_curves": lambda **k: plots.training_curves(HISTORY, **k),
    "latent_scatter": lambda **k: plots.latent_scatter(
        np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 3, **k
    ),
}


CHARTS = ("training_curves", "latent_scatter")


# --- what all six share --------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
def test_the_file_holds_the_figure(name, tmp_path):
    path = tmp_path / "picture.png"
    figure = CALLS[name](path=path, title="A title")
    assert isinstance(figure, Figure)
    with Image.open(path) as picture:
        assert (picture.format, picture.mode) == ("PNG", "RGB")
        # The layout of a chart settles by a millionth more at its second drawing.
        np.testing.assert_allclose(
            np.asarray(picture, int), render(figure), atol=4 if name in CHARTS else 0
        )
    assert os.listdir(tmp_path) == ["picture.png"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("name", CALLS)
def test_the_path_may_be_a_string_and_is_overwritten(name, tmp_path):
    path = tmp_path / "picture.PNG"
    path.write_bytes(b"old")
    figure = CALLS[name](path=str(path))
    with Image.open(path) as picture:
        assert picture.size == tuple(figure.bbox.size.astype(int))


@pytest.mark.parametrize("name", CALLS)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(name, tmp_path, monkeypatch):
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")

    def save(self, target, **options):
        with open(target, "wb") as file:
            file.write(b"half a pic")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(OSError, match="disk full"):
        CALLS[name](path=path)
    assert os.listdir(tmp_path) == ["picture.png"]
    assert path.read_bytes() == b"old"


def test_a_failed_rename_leaves_nothing(tmp_path):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OSError, match=r"folder\.png"):
        CALLS["image_grid"](path=tmp_path / "folder.png")
    assert os.listdir(tmp_path) == ["folder.png"]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("file", ["picture.jpg", "picture", "missing/picture.png"])
def test_a_path_that_is_no_png_in_a_folder_is_refused(name, file, tmp_path):
    with pytest.raises(ValueError, match=r"`path` must name a \.png .*Received: '.*picture"):
        CALLS[name](path=tmp_path / file)
    assert os.listdir(tmp_path) == []


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", CALLS)
def test_the_users_style_and_state_neither_matter_nor_change(name):
    plain = render(CALLS[name](title="A title"))
    style = {
        "figure.facecolor": "black",
        "figure.autolayout": True,
        "figure.dpi": 50,
        "savefig.dpi": 300,
        "axes.facecolor": "black",
        "axes.grid": True,
        "axes.axisbelow": False,
        "grid.linestyle": ":",
        "image.interpolation": "bicubic",
        "image.origin": "lower",
        "image.cmap": "hot",
        "lines.linewidth": 9,
    }
    with matplotlib.rc_context(style):
        before = dict(matplotlib.rcParams)
        np.testing.assert_array_equal(render(CALLS[name](title="A title")), plain)
        assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("title", ["A title", "A rather long title " * 4, "Two\nlines"])
def test_all_text_lies_inside_the_figure(name, title):
    figure = CALLS[name](title=title)
    ink = np.any(render(figure) != 255, axis=-1)
    # The picture itself, or a panel, may touch no border either once there is text.
    assert not ink[0].any()
    assert not ink[-1].any()
    assert not ink[:, 0].any()
    assert not ink[:, -1].any()


# --- pictures ------------------------------------------------------------------------------------


def test_image_grid_places_each_pixel():
    images = random_images(5, 6, 7, 3)
    pixels = render(plots.image_grid(images, columns=3, scale=4))
    assert pixels.shape == (2 * 24 + 2, 3 * 28 + 2 * 2, 3)
    for index, image in enumerate(images):
        top, left = index // 3 * 26, index % 3 * 30
        expected = np.kron(image, np.ones((4, 4, 1), np.uint8))
        np.testing.assert_array_equal(pixels[top : top + 24, left : left + 28], expected)
    for gap in (pixels[24:26], pixels[:, 28:30], pixels[:, 58:60], pixels[26:, 60:]):
        assert np.all(gap == 255)


def test_image_grid_rounds_floats_and_shows_grey_as_grey():
    values = np.array([0.0, 0.25, 0.501, 1.0], np.float32)
    pixels = render(plots.image_grid(values.reshape(1, 2, 2, 1), scale=1))
    np.testing.assert_array_equal(pixels[..., 0], [[0, 64], [128, 255]])
    np.testing.assert_array_equal(pixels[..., 1], pixels[..., 0])
    np.testing.assert_array_equal(pixels[..., 2], pixels[..., 0])


def test_image_grid_forgives_the_rounding_of_half_precision():
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
def test_image_grid_is_exact_at_every_size(height, width):
    # Sizes such as 1.15 inches at 100 dots, which floats cut short, are why 128 was chosen.
    image = random_images(1, height, width, 3)
    np.testing.assert_array_equal(render(plots.image_grid(image, scale=1)), image[0])
    figure = plots.image_grid(image, scale=1, title="A title")
    top, left = corner(figure)
    np.testing.assert_array_equal(render(figure)[top : top + height, left : left + width], image[0])


def test_reconstructions_stand_below_their_originals():
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


def test_reconstructions_may_mix_bytes_and_floats():
    image = random_images(2, 8, 8, 3)
    figure = plots.reconstructions(image, image / 255.0, scale=1)
    pixels, (top, left) = render(figure), corner(figure)
    np.testing.assert_array_equal(
        pixels[top : top + 8, left:], pixels[top + 10 : top + 18, left:]
    )  # equal rows


def test_interpolations_give_each_pair_a_row():
    frames = random_images(2, 5, 6, 6, 3)
    pixels = render(plots.interpolations(frames, scale=2))
    assert pixels.shape == (2 * 12 + 2, 5 * 12 + 4 * 2, 3)
    for row in range(2):
        for step in range(5):
            tile = pixels[row * 14 : row * 14 + 12, step * 14 : step * 14 + 12]
            np.testing.assert_array_equal(tile[::2, ::2], frames[row, step])


@pytest.mark.parametrize("nested", [True, False])
def test_latent_manifold_grows_right_and_up(nested):
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


# --- charts --------------------------------------------------------------------------------------


def test_training_curves_draw_a_panel_for_each_metric():
    figure = plots.training_curves(HISTORY)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "loss",
        "negative log-likelihood",
        "KL divergence",
    ]
    assert [len(axes.get_lines()) for axes in figure.axes] == [2, 1, 1]
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch"] * 3
    assert figure.axes[0].get_ylabel() == "nats an example"
    for axes, name in zip(figure.axes, ("loss", "nll", "kl"), strict=True):
        line = axes.get_lines()[0]
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 9))
        np.testing.assert_array_equal(line.get_ydata(), HISTORY[name])
    assert len({axes.get_lines()[0].get_color() for axes in figure.axes}) == 3


def test_training_curves_dash_validation_in_the_same_colour():
    figure = plots.training_curves(HISTORY)
    training, validation = figure.axes[0].get_lines()
    assert training.get_color() == validation.get_color()
    assert (training.is_dashed(), validation.is_dashed()) == (False, True)
    np.testing.assert_array_equal(validation.get_ydata(), HISTORY["val_loss"])
    assert texts(figure.legends[0].get_texts()) == ["training", "validation"]


def test_training_curves_without_validation():
    figure = plots.training_curves({"loss": [3.0, 2.0, 1.0], "kl": [0.1, 0.2, 0.3]})
    assert [len(axes.get_lines()) for axes in figure.axes] == [1, 1]
    assert texts(figure.legends[0].get_texts()) == ["training"]


def test_training_curves_take_other_metrics_in_order():
    history = {"elbo": [-3.0, -2.0], "val_bound": [-5.0, -4.0], "loss": [1.0, 2.0]}
    figure = plots.training_curves(history, metrics=("bound", "elbo", "absent"))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["bound", "elbo"]
    assert texts(figure.legends[0].get_texts()) == ["training", "validation"]


def test_a_huge_first_epoch_does_not_flatten_the_rest():
    loss = np.r_[1e6, np.linspace(120.0, 100.0, 30)]
    figure = plots.training_curves({"loss": loss})
    bottom, top = figure.axes[0].get_ylim()
    assert 98 < bottom < 100
    assert 120 < top < 122
    assert notes(figure) == ["↑ off the scale: 1e+06"]


def test_values_far_below_are_noted_too():
    figure = plots.training_curves({"kl": np.r_[-800.0, np.linspace(20.0, 25.0, 30)]})
    bottom, top = figure.axes[0].get_ylim()
    assert 19 < bottom < 20
    assert 25 < top < 26
    assert notes(figure) == ["↓ off the scale: -800"]


@pytest.mark.parametrize(
    "values", [np.linspace(100.0, 0.0, 20), [550.0, 120.0], [0.0] * 9 + [5.0], [7.0] * 5, [0.0]]
)
def test_ordinary_curves_are_shown_whole(values):
    figure = plots.training_curves({"loss": values})
    bottom, top = figure.axes[0].get_ylim()
    assert bottom < np.min(values)
    assert top > np.max(values)
    assert notes(figure) == []


def test_a_single_epoch_is_a_dot():
    figure = plots.training_curves({"loss": [3.0], "val_loss": [4.0]})
    training, validation = figure.axes[0].get_lines()
    assert (training.get_marker(), training.get_markevery()) == ("o", [True])
    # The two differ in the dot's filling, and the legend tells which is which.
    assert to_hex(training.get_markerfacecolor()) == to_hex(training.get_color())
    assert to_hex(validation.get_markerfacecolor()) == "#ffffff"
    assert [line.get_marker() for line in figure.legends[0].get_lines()] == ["o", "o"]
    figure.canvas.draw()
    ticks = [tick for tick in figure.axes[0].get_xticks() if 0.5 <= tick <= 1.5]
    assert ticks == [1.0]


def test_values_that_are_not_finite_leave_gaps():
    figure = plots.training_curves({"loss": [9.0, 8.0, np.nan, 7.0, np.inf, 5.0, 4.0]})
    (line,) = figure.axes[0].get_lines()
    np.testing.assert_array_equal(line.get_ydata(), [9.0, 8.0, np.nan, 7.0, np.nan, 5.0, 4.0])
    assert line.get_markevery() == [False, False, False, True, False, False, False]
    bottom, top = figure.axes[0].get_ylim()
    assert 3.5 < bottom < 4
    assert 9 < top < 9.5


def test_a_curve_with_no_finite_value_says_so():
    figure = plots.training_curves({"loss": [np.nan, np.nan], "kl": [1.0, 2.0]})
    assert notes(figure) == ["no finite value"]
    assert len(figure.axes[0].get_yticks()) == 0


@pytest.mark.parametrize("epochs", [1, 2, 3, 8, 47, 1000])
def test_epoch_ticks_are_whole_and_start_at_one(epochs):
    figure = plots.training_curves({"loss": np.linspace(2.0, 1.0, epochs)})
    figure.canvas.draw()
    left, right = figure.axes[0].get_xlim()
    ticks = [tick for tick in figure.axes[0].get_xticks() if left <= tick <= right]
    assert 1 <= len(ticks) <= 7
    assert all(tick == round(tick) and 1 <= tick <= epochs for tick in ticks)


def scatter_of(count: int, labels=None) -> Figure:
    return plots.latent_scatter(np.random.default_rng(0).normal(size=(count, 2)), labels)


def test_latent_scatter_draws_the_points_on_the_priors_circles():
    codes = np.random.default_rng(0).normal(size=(30, 2))
    figure = plots.latent_scatter(codes)
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.collections[0].get_offsets(), codes)
    circles = [patch for patch in axes.patches if isinstance(patch, Circle)]
    assert [circle.radius for circle in circles] == [1.0, 2.0]
    assert [tuple(circle.center) for circle in circles] == [(0, 0), (0, 0)]
    assert texts(axes.texts) == ["1σ", "2σ"]
    assert axes.get_legend() is None
    assert axes.get_aspect() == 1.0
    figure.canvas.draw()
    # One unit is as long along z_1 as along z_2, and the 2σ circle is in view.
    x, y = np.diff(axes.transData.transform([(0, 0), (1, 1)]), axis=0)[0]
    assert x == pytest.approx(y, rel=1e-6)
    for low, high in (axes.get_xlim(), axes.get_ylim()):
        assert low < -2
        assert high > 2


@pytest.mark.parametrize("classes", [1, 10, 11, 20])
def test_latent_scatter_gives_each_class_a_colour_and_a_name(classes):
    labels = 3 * (np.arange(60) % classes) - 2
    (axes,) = scatter_of(60, labels).axes
    assert texts(axes.get_legend().get_texts()) == [str(3 * k - 2) for k in range(classes)]
    colours = [to_hex(line.get_color()) for line in axes.get_legend().get_lines()]
    assert len(set(colours)) == classes
    drawn = [to_hex(colour) for colour in axes.collections[0].get_facecolors()]
    assert drawn == [colours[i % classes] for i in range(60)]


@pytest.mark.parametrize("labels", [np.linspace(0.0, 5.0, 60), np.arange(60)])
def test_latent_scatter_gives_values_a_colour_bar(labels):
    axes, bar = scatter_of(60, labels).axes
    assert axes.get_legend() is None
    np.testing.assert_array_equal(axes.collections[0].get_array(), labels)
    assert bar.get_ylim() == (labels.min(), labels.max())


def test_latent_scatter_takes_booleans_as_classes():
    (axes,) = scatter_of(6, [True, False] * 3).axes
    assert texts(axes.get_legend().get_texts()) == ["False", "True"]


# --- refusals ------------------------------------------------------------------------------------

IMAGES = np.zeros((4, 8, 8, 1))
CODES = np.zeros((4, 2))


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
        (lambda: plots.training_curves([1.0]), TypeError, "`history` must map .*Received: list"),
        (lambda: plots.training_curves({"acc": [1.0]}), ValueError, r"Received: \['acc'\]"),
        (lambda: plots.training_curves({"loss": []}), ValueError, r"shapes {'loss': \(0,\)}"),
        (
            lambda: plots.training_curves({"loss": [1.0, 2.0], "val_loss": [1.0]}),
            ValueError,
            r"one length.*shapes {'loss': \(2,\), 'val_loss': \(1,\)}",
        ),
        (lambda: plots.training_curves({"loss": ["a"]}), TypeError, r"history\['loss'\].*dtype"),
        (lambda: plots.latent_scatter(np.zeros((4, 3))), ValueError, r"\[N, 2\].*shape \(4, 3\)"),
        (lambda: plots.latent_scatter(CODES[:0]), ValueError, r"shape \(0, 2\)"),
        (lambda: plots.latent_scatter(CODES + np.inf), ValueError, "Received: 8 of 8 values"),
        (lambda: plots.latent_scatter(CODES, [1, 2]), ValueError, r"N = 4.*shape \(2,\)"),
        (lambda: plots.latent_scatter(CODES, list("abcd")), TypeError, "`labels` .*dtype"),
        (lambda: plots.latent_scatter(CODES, [0.0, 1, 2, np.nan]), ValueError, "1 of 4 values"),
    ],
)
def test_unusable_input_is_refused(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "Received: " in str(caught.value)
