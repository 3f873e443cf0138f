"""The examples in `tools/examples` run, on little data, and find what they are there to show."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "tools" / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    # `from __future__ import annotations` makes `NamedTuple` look its module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def size_and_shades(path):
    with Image.open(path) as picture:
        return picture.size, len(np.unique(np.asarray(picture.convert("L"))))


@pytest.fixture
def mnist(tmp_path):
    """Blots in the layout of MNIST."""
    rng = np.random.default_rng(0)
    images = np.clip(rng.normal(60, 60, (232, 28, 28)), 0, 255).astype("uint8")
    labels = np.zeros(232, "uint8")
    parts = {"x_train": images[:32], "x_test": images[32:]}
    np.savez(tmp_path / "mnist.npz", y_train=labels[:32], y_test=labels[32:], **parts)
    return str(tmp_path / "mnist.npz")


def test_the_autoencoder_shows_that_tfp_trains_at_twice_its_weight(mnist, tmp_path, monkeypatch):
    module = example("tfp_vae")
    kinds = module.kinds(True)
    assert [(name, weight) for name, *_, weight in kinds] == [
        ("tfvae.layers", 1.0),
        ("tfp.layers", 0.5),
        ("tfvae.layers", 2.0),
        ("tfp.layers", 1.0),
    ]
    # Two of the four, for the time that Keras takes to trace each.
    monkeypatch.setattr(module, "kinds", lambda tfp: [kinds[0], kinds[3]])
    ours, theirs = module.main(mnist, tmp_path / "out", epochs=1, tfp=True, filters=2)
    assert (ours.weight, theirs.weight) == (1.0, 1.0)
    assert ours.effective_beta == pytest.approx(1.0, rel=1e-4)
    # TFP's regulariser takes one draw of an image, whose log-ratio has a deviation of about
    # sqrt(2 KL): for 200 images and a KL above 1 the standard error is below a tenth.
    assert theirs.effective_beta == pytest.approx(2.0, rel=0.3)
    for row in (ours, theirs):
        assert 1 < row.kl < 20
        assert row.elbo == pytest.approx(row.reconstruction - row.kl)
        # One step from the same weights: the untrained decoder gives a half.
        assert row.reconstruction == pytest.approx(-784 * np.log(2), rel=0.05)
    for name in ("reconstructions.png", "samples.png"):
        size, shades = size_and_shades(tmp_path / "out" / name)
        assert min(size) > 200
        assert shades > 10


def test_tfp_charges_the_divergence_twice():
    module = example("tfp_vae")
    import tensorflow_probability
    import tf_keras

    x = np.random.default_rng(0).integers(0, 2, (3, *module.SHAPE)).astype("float32")
    for kind in ((module.keras, module.layers, 1), (tf_keras, tensorflow_probability.layers, 2)):
        *home, times = kind
        encoder = module.build(*home, weight=1.0, filters=2).encoder
        encoder(x)
        assert len(encoder.losses) == times


def test_the_regression_has_five_cases(tmp_path):
    scores = example("tfp_regression").main(tmp_path / "out", steps=150, draws=3)
    assert list(scores) == [
        "No uncertainty",
        "Aleatoric",
        "Epistemic",
        "Aleatoric and epistemic",
        "Functional",
    ]
    # Enough to tell that the deviation of the noise is not 1.
    assert scores["Aleatoric"] < scores["No uncertainty"] - 1
    assert scores["Aleatoric and epistemic"] < scores["Epistemic"] - 1
    size, shades = size_and_shades(tmp_path / "out" / "regression.png")
    assert min(size) > 700
    assert shades > 100
