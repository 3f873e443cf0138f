from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tfvae.data.pictures import PictureFiles, find_pictures, resize, set_channels, survey


def read_one(path, channels=3, size=None):
    size, channels = survey((path,), size, channels)
    return PictureFiles((path,), None, size, channels)[np.array([0])].images[0]


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "webp", "PNG"])
def test_lossless_formats_come_back_exactly(tmp_path, suffix):
    # Two colours, so that a GIF's palette holds them all.
    pixels = np.zeros((6, 4, 3), np.uint8)
    pixels[::2] = [10, 200, 60]
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).save(path, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(read_one(path), pixels)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg"])
def test_jpeg_comes_back_nearly(tmp_path, suffix):
    pixels = np.full((8, 8, 3), [30, 120, 220], np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}", quality=95)
    assert np.abs(read_one(tmp_path / f"a.{suffix}").astype(int) - pixels).max() <= 3


def test_grey_is_found_and_deep_grey_is_scaled(tmp_path):
    Image.fromarray(np.array([[0, 77], [128, 255]], np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.array([[0, 257 * 77], [257 * 128, 65535]], np.uint16)).save(
        tmp_path / "b.png"
    )
    paths = find_pictures(tmp_path)
    assert survey(paths, None, None) == ((2, 2), 1)
    read = PictureFiles(paths, None, (2, 2), 1)[np.array([0, 1])].images
    assert read[0, ..., 0].tolist() == [[0, 77], [128, 255]]
    np.testing.assert_array_equal(read[0], read[1])


def test_one_coloured_picture_makes_all_rgb(tmp_path):
    Image.new("L", (3, 2), 9).save(tmp_path / "a.png")
    Image.new("RGB", (3, 2), (1, 2, 3)).save(tmp_path / "b.png")
    paths = find_pictures(tmp_path)
    assert survey(paths, None, None) == ((2, 3), 3)
    assert survey(paths, (8, 8), 1) == ((8, 8), 1)
    both = PictureFiles(paths, np.array([5, 6]), (2, 3), 3)[np.array([1, 0])]
    assert both.images[:, 0, 0].tolist() == [[1, 2, 3], [9, 9, 9]]
    assert both.labels.tolist() == [6, 5]


def test_transparent_pixels_lie_on_white(tmp_path):
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read_one(tmp_path / "a.png").tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_a_camera_held_sideways(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = np.zeros((4, 8, 3), np.uint8)
    wide[:, :4] = 255
    Image.fromarray(wide).save(tmp_path / "a.png", exif=exif)
    upright = read_one(tmp_path / "a.png")
    assert upright.shape == (8, 4, 3)
    assert upright[:4].min() == 255
    assert upright[4:].max() == 0


def test_fitting_crops_the_middle_and_does_not_stretch(tmp_path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    Image.fromarray(wide).save(tmp_path / "a.png")
    assert read_one(tmp_path / "a.png", size=(10, 10)).min() == 255
    half = read_one(tmp_path / "a.png", size=(5, 15))
    assert half.shape == (5, 15, 3)
    assert half[:, 6:9].min() > 230
    assert half[:, :4].max() < 25


def test_differing_sizes_are_named(tmp_path):
    Image.new("L", (3, 2)).save(tmp_path / "a.png")
    Image.new("L", (5, 4)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"image_size=`. Received: 2x3 in .*a.png and 4x5 in .*b"):
        survey(find_pictures(tmp_path), None, None)


@pytest.mark.parametrize("damage", ["not a picture", "cut short"])
def test_damaged_pictures_are_named(tmp_path, damage):
    path = tmp_path / "broken.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    data = path.read_bytes()
    path.write_bytes(b"hello" if damage == "not a picture" else data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"broken.png cannot be read as a picture.*Received: "):
        read_one(path)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    Image.new("L", (100, 100)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"cannot be read.*DecompressionBombError"):
        read_one(tmp_path / "a.png")


def test_other_files_are_no_pictures(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "._a.png").write_bytes(b"a resource fork")
    (tmp_path / "folder.png").mkdir()
    Image.new("L", (3, 2)).save(tmp_path / "folder.png" / "a.png")
    assert find_pictures(tmp_path) == (tmp_path / "folder.png" / "a.png",)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_resizing_arrays(dtype):
    top = 255 if dtype == "uint8" else 1.0
    images = np.zeros((2, 8, 8, 3), dtype)
    images[:, :, 4:] = top
    small = resize(images, (4, 4))
    assert small.shape == (2, 4, 4, 3)
    assert small.dtype == images.dtype
    assert small.min() >= 0
    assert small.max() <= top
    assert small[..., :1, :].max() < 0.06 * top
    assert small[..., -1:, :].min() > 0.94 * top
    assert small.mean() == pytest.approx(top / 2, rel=0.01)
    assert resize(images, (8, 8)) is images


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_channels_there_and_back(dtype):
    levels = np.arange(256) / (1 if dtype == "uint8" else 255)
    grey = levels.astype(dtype).reshape(1, 16, 16, 1)
    colour = set_channels(grey, 3)
    assert colour.shape == (1, 16, 16, 3)
    np.testing.assert_allclose(set_channels(colour, 1), grey, rtol=1e-6)
    assert set_channels(colour, 3) is colour


def test_luma_is_pillows(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    ours = set_channels(pixels, 1)[0, ..., 0].astype(int)
    assert np.abs(ours - np.asarray(Image.fromarray(pixels[0]).convert("L"))).max() <= 1


def test_only_grey_and_rgb_convert():
    with pytest.raises(ValueError, match=r"convert to `channels=1`. Received: images of 4 chan"):
        set_channels(np.zeros((1, 2, 2, 4)), 1)
