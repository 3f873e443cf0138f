"""A built page holds the model and what its sliders need, and asks for nothing from elsewhere."""

import base64
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tfvae
from tfvae import explorer, latent
from tfvae.explorer import page as page_module
from tfvae.export.interpreter import runners

STATIC = Path(page_module.__file__).parent / "static"
SHIPPED = Path(tfvae.__file__).parents[1] / "saved_models" / "faces"


@pytest.fixture(scope="module")
def content(small_page):
    return explorer.read_page(small_page)


def test_the_page_has_all_its_files(small_page):
    names = {path.name for path in small_page.iterdir()}
    built = {"page.json", "attributes.bin", "examples.png", "model.tflite"}
    assert names == built | {path.name for path in STATIC.iterdir()}


def test_the_model_samples_as_python_does(small_page, small_vae):
    run = runners((small_page / "model.tflite").read_bytes())
    assert {"encode", "decode", "decode_16", "sample"} <= set(run)
    x = run["sample"](seed=np.int32([[9, 0]]))["x"]
    np.testing.assert_allclose(x, small_vae.sample(1, seed=9), atol=1e-5)


def test_the_examples_are_the_last_pictures(small_page, content, faces_of_16):
    strip = np.asarray(Image.open(small_page / "examples.png"))
    assert content["examples"] == 8
    np.testing.assert_array_equal(np.split(strip, 8, axis=1), faces_of_16[0][-8:])


def test_the_dimensions_are_the_most_active(content, small_vae, faces_of_16):
    images = faces_of_16[0].astype(np.float32) / 255
    order = [entry["index"] for entry in content["dimensions"]]
    assert order == latent.most_active_dimensions(small_vae, images).tolist()
    for entry in content["dimensions"]:
        low, high = entry["range"]
        assert low < content["start"][entry["index"]] < high


def test_labels_become_sliders_or_are_said_to_be_missing(content):
    shown = [entry["name"] for entry in content["attributes"]]
    assert "background" in shown
    assert {*shown, *content["attributes_left_out"]} == {"background", "skin_tone", "brows"}
    meanings = {entry["name"]: entry["meaning"] for entry in content["attributes"]}
    assert meanings.get("skin_tone", "0 light, 1 dark") == "0 light, 1 dark"


def test_words_and_shapes(content):
    assert (content["title"], content["noun"]) == ("small", "face")
    assert (content["data_shape"], content["latent_size"]) == ([16, 16, 3], 4)
    assert content["left_out"] == {}
    assert np.shape(content["noise"]) == (page_module.NUM_DRAWS, 4)
    assert len(set(content["seeds"])) == 3


def test_the_inline_script_is_allowed_by_its_sum():
    html = (STATIC / "index.html").read_text(encoding="utf-8")
    (script,) = re.findall(r'<script type="importmap">(.*?)</script>', html, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in html
    assert "default-src 'none'" in html
    imports = json.loads(script)["imports"]
    assert imports["@litertjs/wasm-utils"] == "./litert/wasm-utils.js"
    assert imports["@litertjs/wasm-utils"].removeprefix("./litert/") in explorer.runtime.FILES


@pytest.mark.parametrize("path", sorted(STATIC.iterdir()), ids=lambda path: path.name)
def test_nothing_points_elsewhere(path):
    assert not re.findall(r"(?:https?:)?//[a-z]+\.", path.read_text(encoding="utf-8"))


def test_every_name_that_the_scripts_ask_for_is_in_the_html():
    html = (STATIC / "index.html").read_text(encoding="utf-8")
    scripts = "".join(path.read_text(encoding="utf-8") for path in STATIC.glob("*.js"))
    asked = set(re.findall(r'byId\("([a-z-]+)"\)', scripts))
    assert len(asked) > 20
    assert asked <= set(re.findall(r'id="([a-z-]+)"', html))


def test_an_autoencoder_says_what_it_lacks(tmp_path):
    model = tfvae.Autoencoder.for_images((8, 8, 1), latent_dim=2, hidden=(8,))
    images = np.random.default_rng(0).random((20, 8, 8, 1), "float32")
    page = explorer.read_page(explorer.build(model, tmp_path, images=images, runtime=False))
    assert set(page["left_out"]) >= {"sample", "uncertainty"}
    assert page["seeds"] == []
    assert "sample" not in page["signatures"]
    with pytest.raises(TypeError, match="pass `images`"):
        explorer.build(model, tmp_path, runtime=False)


def test_without_data_a_model_is_seen_through_its_own_samples(tmp_path):
    model = tfvae.VAE.for_images((8, 8, 1), latent_dim=3, hidden=(8,))
    page = explorer.read_page(explorer.build(model, tmp_path, runtime=False))
    assert page["examples"] == 0
    assert page["attributes"] == []
    assert page["codes"] is None
    assert (tmp_path / "attributes.bin").read_bytes() == b""
    assert sorted(entry["index"] for entry in page["dimensions"]) == [0, 1, 2]


def test_a_build_that_fails_leaves_no_page(small_vae, faces_of_16, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("disk full")

    (tmp_path / "page.json").write_text('{"format": 1}')
    assert explorer.read_page(tmp_path) == {"format": 1}
    monkeypatch.setattr(page_module, "_write_examples", fail)
    with pytest.raises(OSError, match="disk full"):
        explorer.build(small_vae, tmp_path, images=faces_of_16[0], runtime=False)
    with pytest.raises(ValueError, match="not the folder of a page"):
        explorer.read_page(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((3, 8, 8, 3), "uint8")}, "`images` must be examples"),
        ({"images": np.full((3, 16, 16, 3), 2.0)}, r"uint8 or in \[0, 1\]"),
        ({"images": None}, "belong to `images`"),
        ({"runtime": "elsewhere"}, "must hold @litertjs/core"),
        ({"labels": {"smile": np.zeros(2)}}, "one number for each of the 300 images"),
    ],
)
def test_what_does_not_fit_is_refused(change, message, small_vae, faces_of_16, tmp_path):
    images, labels = faces_of_16
    arguments = {"images": images, "labels": labels, "runtime": False, **change}
    with pytest.raises(ValueError, match=message):
        explorer.build(small_vae, tmp_path / "page", **arguments)
    assert not (tmp_path / "page").exists()


def test_only_pictures_are_shown(tmp_path):
    model = tfvae.VAE.for_images((8, 8, 2), latent_dim=2, hidden=(8,), likelihood="normal")
    with pytest.raises(ValueError, match=r"Received: VAE with data shape \(8, 8, 2\)"):
        explorer.build(model, tmp_path, runtime=False)


def test_a_page_of_another_release_is_refused(tmp_path):
    (tmp_path / "page.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="Received: format 99"):
        explorer.read_page(tmp_path)


def test_the_shipped_page_is_of_this_release_and_of_the_shipped_model():
    page = SHIPPED / "page"
    digest = hashlib.sha256((SHIPPED / "faces.keras").read_bytes()).hexdigest()
    assert explorer.read_page(page)["about"]["model_sha256"] == digest
    assert explorer.read_page(page)["about"]["tfvae"] == tfvae.__version__
    for path in STATIC.iterdir():
        assert (page / path.name).read_bytes() == path.read_bytes(), f"build anew: {path.name}"
