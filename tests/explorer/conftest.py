"""One small model and its page."""

import keras
import numpy as np
import pytest

import tfvae
from tfvae import data, explorer


@pytest.fixture(scope="session")
def faces_of_16():
    images, labels = data.faces(300, size=16, seed=3)
    return images, {name: labels[name] for name in ("background", "skin_tone", "brows")}


@pytest.fixture(scope="session")
def small_vae(faces_of_16):
    """Trained until some of the labels are in its code, at other seeds too."""
    pictures = faces_of_16[0].astype(np.float32) / 255
    keras.utils.set_random_seed(0)
    vae = tfvae.VAE.for_images((16, 16, 3), latent_dim=4, hidden=(32,), likelihood="normal")
    vae.compile(optimizer=keras.optimizers.Adam(3e-3))
    vae.fit(pictures, batch_size=50, epochs=60, verbose=0)
    return vae


@pytest.fixture(scope="session")
def small_page(small_vae, faces_of_16, tmp_path_factory):
    images, labels = faces_of_16
    return explorer.build(
        small_vae,
        tmp_path_factory.mktemp("explorer") / "page",
        images=images,
        labels=labels,
        meanings={"skin_tone": "0 light, 1 dark"},
        title="small",
        noun="face",
        about={"data": "faces"},
        runtime=False,
    )
