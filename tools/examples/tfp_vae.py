"""The tutorial "TFP Probabilistic Layers: Variational Auto Encoder", on Keras 3.

    python tools/examples/tfp_vae.py --data mnist.npz --out runs/tfp-vae
    python tools/examples/tfp_vae.py --data mnist.npz --out runs/tfp-vae --tfp

A convolutional encoder that outputs a multivariate normal with a full covariance, a decoder that
outputs independent Bernoulli pixels, and minus the log-likelihood as the loss. `--out` gets the
pictures. With `--tfp` the very function that builds the networks is also given `tf_keras` and
`tfp.layers`, and everything is trained from the same weights on the same batches.

What that comparison is about: TFP's distribution layer has two outputs inside, the distribution and
its value, and Keras 2 charges an activity regulariser for both. So TFP trains at twice the weight
that its user wrote; `weight=0.5` gives the bound that was meant. The effective weight is
measured here: an evaluation under a loss of zero reports what the layers add, which is divided by
the divergence in closed form.

Seen with `--tfp --limit 10000 --epochs 3 --batch-size 64`, a minute or two of each on 2 shared CPU
cores; the numbers are means over the 10,000 test images, in nats an image. The bound is that of
beta 1 in every row:

    layers        weight  effective beta     ELBO  E log p(x|z)     KL
    tfvae.layers       1           1.000  -142.45       -132.37  10.07
    tfp.layers       0.5           0.999  -144.33       -134.47   9.87
    tfvae.layers       2           2.000  -154.61       -148.41   6.21
    tfp.layers         1           2.000  -157.12       -151.80   5.32

TFP's betas are estimates, for its regulariser is: by default it takes log q(z|x) - log p(z) at the
draw, where tfvae takes the closed form.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
import typer
from rich.console import Console
from rich.table import Table
from tensorflow_probability import distributions as tfd

from tfvae import data as images_of
from tfvae import layers, plots, priors

LATENT_DIM = 16
SHAPE = (28, 28, 1)


class Networks(NamedTuple):
    """A VAE and its halves."""

    encoder: Any
    decoder: Any
    model: Any


class Scores(NamedTuple):
    """A row of the table: of the test images, in nats an image."""

    method: str
    weight: float
    effective_beta: float
    elbo: float
    reconstruction: float
    kl: float
    seconds: float


def build(keras: Any, layers: Any, weight: float, filters: int) -> Networks:
    """Makes the networks of the tutorial, for whichever Keras and layers are given.

    Args:
        keras: `keras` (3) or `tf_keras` (2).
        layers: `tfvae.layers` or `tfp.layers`: the one import in which the code differs.
        weight: weight of the divergence, as it is handed to the regulariser.
        filters: filters of the outermost convolutions; the tutorial has 32.
    """
    part = keras.layers
    conv = {"activation": tf.nn.leaky_relu, "padding": "same"}
    kl = layers.KLDivergenceRegularizer(priors.StandardNormal(LATENT_DIM), weight=weight)
    encoder = keras.Sequential(
        [
            part.InputLayer(SHAPE),
            part.Rescaling(1.0, offset=-0.5),
            part.Conv2D(filters, 5, **conv),
            part.Conv2D(filters, 5, strides=2, **conv),
            part.Conv2D(2 * filters, 5, **conv),
            part.Conv2D(2 * filters, 5, strides=2, **conv),
            part.Conv2D(4 * LATENT_DIM, 7, activation=tf.nn.leaky_relu),
            part.Flatten(),
            part.Dense(layers.MultivariateNormalTriL.params_size(LATENT_DIM)),
            layers.MultivariateNormalTriL(LATENT_DIM, activity_regularizer=kl),
        ]
    )
    decoder = keras.Sequential(
        [
            part.InputLayer((LATENT_DIM,)),
            part.Reshape((1, 1, LATENT_DIM)),
            part.Conv2DTranspose(2 * filters, 7, activation=tf.nn.leaky_relu),
            part.Conv2DTranspose(2 * filters, 5, **conv),
            part.Conv2DTranspose(2 * filters, 5, strides=2, **conv),
            part.Conv2DTranspose(filters, 5, **conv),
            part.Conv2DTranspose(filters, 5, strides=2, **conv),
            part.Conv2DTranspose(filters, 5, **conv),
            part.Conv2D(1, 5, padding="same"),
            part.Flatten(),
            layers.IndependentBernoulli(SHAPE, "mean"),
        ]
    )
    model = keras.Model(encoder.inputs[0], decoder(encoder.outputs[0]))
    return Networks(encoder, decoder, model)


def train(
    keras: Any, networks: Networks, images: np.ndarray, epochs: int, batch_size: int
) -> float:
    """Fits the model to the images, binarised anew in every epoch; returns the seconds it took."""
    steps = images_of.steps_per_epoch(len(images), batch_size)
    batches = images_of.pipeline(
        images, batch_size=batch_size, binarize="dynamic", shuffle=True, epochs=epochs
    )
    networks.model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=1e-3), loss=lambda x, p: -p.log_prob(x)
    )
    start = time.perf_counter()
    networks.model.fit(
        batches.map(lambda x: (x, x)),
        epochs=epochs,
        steps_per_epoch=steps,
        shuffle=False,
        verbose=2,
    )
    return time.perf_counter() - start


def effective_beta(model: Any, x: np.ndarray, kl: float) -> float:
    """How often the model's loss holds the divergence `kl` of `x`, whatever its layers say."""
    model.compile(loss=lambda x, p: 0.0 * p.log_prob(x))
    return model.evaluate(x, x, batch_size=250, verbose=0) / kl


def bound(networks: Networks, x: np.ndarray) -> tuple[float, float]:
    """The mean of E_q[log p(x|z)], from one draw an image, and of KL(q || p), in closed form."""
    prior = tfd.MultivariateNormalDiag(tf.zeros(LATENT_DIM))
    reconstruction, kl = [], []
    for batch in np.split(x, range(250, len(x), 250)):
        q = networks.encoder(batch)
        reconstruction.append(networks.decoder(q).log_prob(batch))
        kl.append(tfd.kl_divergence(q.tensor_distribution, prior))
    return float(np.mean(np.concatenate(reconstruction))), float(np.mean(np.concatenate(kl)))


def draw_pictures(networks: Networks, x: np.ndarray, out: Path) -> None:
    """Writes reconstructions of test images and images of codes from the prior."""
    shown = x[:20]
    # A draw of q each; the decoder's mean, as its layer says.
    plots.reconstructions(
        shown,
        networks.model.predict(shown, verbose=0),
        columns=10,
        path=out / "reconstructions.png",
        title="Test images, and the mean of p(x|z) under each",
    )
    z = tfd.MultivariateNormalDiag(tf.zeros(LATENT_DIM)).sample(50, seed=(0, 1))
    plots.image_grid(
        np.asarray(networks.decoder(z).mean()),
        columns=10,
        path=out / "samples.png",
        title="The mean of p(x|z) for z from the prior",
    )


def show(rows: list[Scores]) -> None:
    """Prints the table."""
    table = Table(title="Test images, nats an image")
    for heading in ("layers", "weight", "effective beta", "ELBO", "E log p(x|z)", "KL", "seconds"):
        table.add_column(heading, justify="left" if heading == "layers" else "right")
    for row in rows:
        table.add_row(
            row.method,
            f"{row.weight:g}",
            f"{row.effective_beta:.3f}",
            *(f"{value:.2f}" for value in (row.elbo, row.reconstruction, row.kl)),
            f"{row.seconds:.0f}",
        )
    Console(width=100).print(table)


def kinds(tfp: bool) -> list[tuple[str, Any, Any, float]]:
    """What is trained: a name, a Keras, its layers and the weight that they are given."""
    own = ("tfvae.layers", keras, layers)
    if not tfp:
        return [(*own, 1.0)]
    import tensorflow_probability
    import tf_keras

    other = ("tfp.layers", tf_keras, tensorflow_probability.layers)
    return [(*own, 1.0), (*other, 0.5), (*own, 2.0), (*other, 1.0)]


def main(
    data: Annotated[str, typer.Option(help="MNIST in Keras' layout, such as mnist.npz.")],
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("runs/tfp-vae"),
    epochs: Annotated[int, typer.Option(min=1)] = 15,
    limit: Annotated[int | None, typer.Option(help="Train on so many images only.")] = None,
    tfp: Annotated[bool, typer.Option("--tfp", help="Also train TFP's own layers.")] = False,
    batch_size: Annotated[int, typer.Option(min=1)] = 256,
    filters: Annotated[int, typer.Option(min=1, help="Of the outermost convolutions.")] = 32,
) -> list[Scores]:
    """Trains the tutorial's VAE, writes pictures, prints the bound on the test images."""
    splits = images_of.load(data, validation_fraction=0.0)
    images = splits.train.images[:limit]
    x_test = np.float32(images_of.binarize_images(splits.test.images) / 255)
    out.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)
    rows: list[Scores] = []
    start: list[np.ndarray] = []
    for method, keras_of, layers_of, weight in kinds(tfp):
        networks = build(keras_of, layers_of, weight, filters)
        weights = networks.model.trainable_weights
        start = start or [np.asarray(value) for value in weights]
        for variable, value in zip(weights, start, strict=True):
            variable.assign(value)
        print(f"{method}, weight={weight:g}")
        seconds = train(keras_of, networks, images, epochs, batch_size)
        reconstruction, kl = bound(networks, x_test)
        if not rows:
            draw_pictures(networks, x_test, out)
        beta = effective_beta(networks.model, x_test, kl)
        elbo = reconstruction - kl
        rows.append(Scores(method, weight, beta, elbo, reconstruction, kl, seconds))
    show(rows)
    return rows


if __name__ == "__main__":
    typer.run(main)
