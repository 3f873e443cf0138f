"""A posterior and a prior that are flows, on a device: TFLite's own operators, the same numbers."""

from __future__ import annotations

import numpy as np
from small_models import LATENT, SHAPE, make_vae

from tfvae import layers, priors, random
from tfvae.export import read_card, tflite
from tfvae.export.flatbuffer import operators, schema
from tfvae.export.interpreter import runners

BUILTIN = set(vars(schema().BuiltinOperator)) - {"CUSTOM"}


def test_a_device_bends_codes_as_the_model_does(tmp_path):
    prior = priors.NormalizingFlow(LATENT, "spline", num_layers=2, hidden_units=(4,), num_bins=4)
    rng = np.random.default_rng(0)
    for weight in prior.trainable_weights:
        weight.assign_add(0.5 * rng.normal(size=weight.shape))
    vae = make_vae(posterior=layers.SylvesterFlow(LATENT), prior=prior)
    path = tflite(vae, tmp_path / "model.tflite")
    content = path.read_bytes()
    for name, kinds in operators(content).items():
        assert set(kinds) <= BUILTIN, name
    card = read_card(path)
    assert {"encode", "decode", "reconstruct", "sample"} <= set(card["signatures"])
    run = runners(content)
    x = rng.uniform(size=(1, *SHAPE)).astype("f")
    encoded = run["encode"](x=x)
    assert list(encoded) == ["loc"]
    np.testing.assert_allclose(encoded["loc"], vae.code(x), atol=1e-4)
    np.testing.assert_allclose(run["reconstruct"](x=x)["x"], vae.reconstruct(x), atol=1e-4)
    sampled = run["sample"](seed=random.seeds(5, 1))
    np.testing.assert_allclose(sampled["z"], prior.draw(random.seeds(5, 1)), atol=1e-4)
    np.testing.assert_allclose(sampled["x"], vae.sample(1, seed=5), atol=1e-4)
