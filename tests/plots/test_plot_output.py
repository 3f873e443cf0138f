"""What all six plots share: files whole or absent, no user's style, text inside the figure."""

from __future__ import annotations

import os

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from tfvae import plots


def random_images(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


CALLS = {
    "image_grid": lambda **k: plots.image_grid(random_images(5, 6, 7, 3), **k),
    "reconstructions": lambda **k: plots.reconstructions(
        random_images(3, 8, 8, 1), random_images(3, 8, 8, 1, seed=1), **k
    ),
    "interpolations": lambda **k: plots.interpolations(random_images(2, 4, 8, 8, 3), **k),
    "latent_manifold": lambda **k: plots.latent_manifold(random_images(9, 8, 8, 1), **k),
    "training_curves": lambda **k: plots.training_curves(
        {
            "loss": [9.0, 8.0, 7.0],
            "val_loss": [9.5, 9.0, 8.5],
            "nll": [8.0, 6.0, 5.0],
            "kl": [1.0, 2.0, 2.0],
        },
        **k,
    ),
    "latent_scatter": lambda **k: plots.latent_scatter(
        np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 3, **k
    ),
}

CHARTS = ("training_curves", "latent_scatter")


@pytest.mark.parametrize("name", CALLS)
def test_the_file_holds_the_figure(name, tmp_path, render):
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


def test_a_folder_in_the_way_is_refused(tmp_path):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ValueError, match=r"Received: .*folder\.png"):
        CALLS["image_grid"](path=tmp_path / "folder.png")
    assert os.listdir(tmp_path) == ["folder.png"]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("picture.jpg", r"`path` must name a \.png"),
        ("picture", r"`path` must name a \.png"),
        ("missing/picture.png", "directory .* does not exist"),
    ],
)
def test_a_path_that_is_no_png_in_a_folder_is_refused(name, file, message, tmp_path):
    with pytest.raises(ValueError, match=f"{message}.*Received: .*{file}"):
        CALLS[name](path=tmp_path / file)
    assert os.listdir(tmp_path) == []


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", CALLS)
def test_the_users_style_and_state_neither_matter_nor_change(name, render):
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
def test_all_text_lies_inside_the_figure(name, title, render):
    figure = CALLS[name](title=title)
    ink = np.any(render(figure) != 255, axis=-1)
    # The picture itself, or a panel, may touch no border either once there is text.
    assert not ink[0].any()
    assert not ink[-1].any()
    assert not ink[:, 0].any()
    assert not ink[:, -1].any()
