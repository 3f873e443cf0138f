"""The tutorial "TFP Probabilistic Layers: Regression", on Keras 3: five kinds of uncertainty.

    python tools/examples/tfp_regression.py --out runs/tfp-regression

One set of 150 points, of which the noise grows to the right and the trend oscillates more and more,
and five models of it, each a stock `keras.Sequential` that ends in a distribution layer and is
trained by `fit` with minus the log-likelihood:

1. none: a line, and noise of deviation 1 that nobody has asked the data about;
2. aleatoric, "what cannot be known": the noise is learned, as a function of x;
3. epistemic, "what few data leave open": the line's weights have a posterior, each call is a draw;
4. both;
5. functional: not a line but a Gaussian process, any smooth function.

The picture has a panel for each. The table says what each is worth: the mean negative
log-likelihood of 1,000 new points, in nats, with the weights averaged over 100 draws.

Seen on 2 shared CPU cores, about a minute in all:

    uncertainty              -log p(y|x)  noise at -20, 60  spread of the line at 60
    No uncertainty                 6.303        1.00, 1.00                      0.00
    Aleatoric                      2.499        0.53, 4.30                      0.00
    Epistemic                      6.191        1.00, 1.00                      0.19
    Aleatoric and epistemic        2.493        0.52, 4.25                      0.36
    Functional                     2.268        2.86, 2.38                      0.00
    the truth                      1.881        0.75, 3.75

The spread of the third can be checked: among independent normals the best posterior of slope and
intercept has the variances 1 / (1 + sum x^2) and 1 / (1 + 150), which makes 0.17 at x = 60. So few
weights are known well after 150 points; epistemic uncertainty is small here, and is not what the
model lacks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from scipy.special import logsumexp
from scipy.stats import norm
from tensorflow_probability import distributions as tfd
from tensorflow_probability import math as tfm

from tfvae import layers

LOW, HIGH = -20.0, 60.0
NUM_POINTS, NUM_NEW, BATCH = 150, 1000, 50
INDUCING_POINTS = 40


def raw_scale(scale: float) -> float:
    """The inverse of softplus."""
    return float(np.log(np.expm1(scale)))


def negative_log_likelihood(y: tf.Tensor, p: tfd.Distribution) -> tf.Tensor:
    """What all models but the process minimise."""
    return -p.log_prob(y)


class Case(NamedTuple):
    """A model of the data and how it is trained and judged."""

    title: str
    parts: list[keras.layers.Layer]
    # Whether every call of the model is a draw of its weights.
    is_random: bool = False
    loss: Callable[[Any, Any], Any] = negative_log_likelihood


class Prediction(NamedTuple):
    """Normal predictions at points x, `[draws, len(x)]`."""

    loc: np.ndarray
    scale: np.ndarray

    def at(self, points: Any) -> Prediction:
        """The prediction at some of the points."""
        return Prediction(self.loc[:, points], self.scale[:, points])

    def log_prob(self, y: np.ndarray) -> np.ndarray:
        """log p(y|x), the mean over the draws inside the logarithm, `[len(y)]`."""
        return logsumexp(norm.logpdf(y, self.loc, self.scale), axis=0, b=1 / len(self.loc))


# ---- the data ---------------------------------------------------------------------------------


def truth(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of y at x."""
    along = (x - LOW) / (HIGH - LOW)
    return 5.0 + x / 8.0 * (1.0 + np.sin(x)), 0.75 + 3.0 * along**2


def draw_data(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points x, uniform over the range, and y, both `[n, 1]`."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(LOW, HIGH, (n, 1))
    return x.astype("f"), rng.normal(*truth(x)).astype("f")


# ---- the five models --------------------------------------------------------------------------


def fixed_noise(t: tf.Tensor) -> tfd.Distribution:
    """A normal whose deviation is 1, come what may."""
    return tfd.Normal(t, 1.0)


def learned_noise(t: tf.Tensor) -> tfd.Distribution:
    """A normal from two columns, the mean and the raw deviation."""
    # x reaches 60: without the factor one step of a weight would change the noise too much.
    return tfd.Normal(t[..., :1], 1e-3 + tf.nn.softplus(0.05 * t[..., 1:]))


def posterior_mean_field(kernel_size: int, bias_size: int, dtype: Any) -> keras.Model:
    """Independent normals over all weights: around 0, with a scale of 0.1, to begin with."""
    n = kernel_size + bias_size

    def normals(t: tf.Tensor) -> tfd.Distribution:
        scale = 1e-5 + tf.nn.softplus(raw_scale(0.1) + t[n:])
        return tfd.Independent(tfd.Normal(t[:n], scale), reinterpreted_batch_ndims=1)

    return keras.Sequential(
        [layers.VariableLayer(2 * n, dtype), layers.DistributionLambda(normals)]
    )


def prior_trainable(kernel_size: int, bias_size: int, dtype: Any) -> keras.Model:
    """Independent normals of deviation 1 around means that are learned with the posterior."""

    def normals(t: tf.Tensor) -> tfd.Distribution:
        return tfd.Independent(tfd.Normal(t, 1.0), reinterpreted_batch_ndims=1)

    return keras.Sequential(
        [
            layers.VariableLayer(kernel_size + bias_size, dtype),
            layers.DistributionLambda(normals),
        ]
    )


def dense(units: int) -> keras.layers.Layer:
    """A dense layer that starts at 0, as the posterior of a Bayesian one does."""
    # Random weights times an x of 60 may start at next to no noise, and take long to come back.
    return keras.layers.Dense(units, kernel_initializer="zeros")


def bayesian_dense(units: int) -> keras.layers.Layer:
    """A dense layer over whose weights there is a posterior."""
    # The loss is a mean over examples, the divergence is one for all of them.
    return layers.DenseVariational(
        units, posterior_mean_field, prior_trainable, kl_weight=1 / NUM_POINTS
    )


class RBFKernel(keras.layers.Layer):
    """The weights of an exponentiated quadratic kernel, which is made of them at every access."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.raw_amplitude = self.add_weight(shape=(), initializer="zeros", name="amplitude")
        self.raw_length = self.add_weight(shape=(), initializer="zeros", name="length_scale")

    @property
    def kernel(self) -> tfm.psd_kernels.ExponentiatedQuadratic:
        return tfm.psd_kernels.ExponentiatedQuadratic(
            amplitude=tf.nn.softplus(0.1 * tf.convert_to_tensor(self.raw_amplitude)),
            length_scale=tf.nn.softplus(5.0 * tf.convert_to_tensor(self.raw_length)),
        )


def gaussian_process() -> keras.layers.Layer:
    """A process with inducing points that start evenly over the range."""
    points = np.linspace(LOW, HIGH, INDUCING_POINTS, dtype="f")[None, :, None]
    return layers.VariationalGaussianProcess(
        INDUCING_POINTS,
        RBFKernel(),
        inducing_index_points_initializer=keras.initializers.Constant(points),
        unconstrained_observation_noise_variance_initializer=keras.initializers.Constant(
            raw_scale(1.0)
        ),
        convert_to_tensor_fn="mean",
    )


def variational_loss(y: tf.Tensor, p: tfd.Distribution) -> tf.Tensor:
    """Minus the bound of the process, whose loss is a sum over the batch."""
    return p.variational_loss(y, kl_weight=BATCH / NUM_POINTS)


def cases() -> list[Case]:
    """The five, not trained yet."""
    noise = layers.DistributionLambda
    return [
        Case("No uncertainty", [dense(1), noise(fixed_noise)]),
        Case("Aleatoric", [dense(2), noise(learned_noise)]),
        Case("Epistemic", [bayesian_dense(1), noise(fixed_noise)], is_random=True),
        Case("Aleatoric and epistemic", [bayesian_dense(2), noise(learned_noise)], is_random=True),
        Case("Functional", [gaussian_process()], loss=variational_loss),
    ]


def train(case: Case, x: np.ndarray, y: np.ndarray, steps: int) -> keras.Model:
    """Fits the case's model for so many steps."""
    model = keras.Sequential([keras.Input((1,)), *case.parts])
    # Large steps first, for the weights have far to go; small ones last, for the noise of a draw.
    rate = keras.optimizers.schedules.CosineDecay(0.1, steps)
    model.compile(keras.optimizers.Adam(rate), loss=case.loss)
    batches = tf.data.Dataset.from_tensor_slices((x, y)).cache().shuffle(NUM_POINTS, seed=0)
    batches = batches.batch(BATCH, drop_remainder=True).repeat().take(steps)
    model.fit(batches, shuffle=False, verbose=0)
    return model


def predict(model: keras.Model, x: np.ndarray, draws: int) -> Prediction:
    """What the model says of y at x `[n]` in so many calls."""
    made = [model(x[:, None]) for _ in range(draws)]
    return Prediction(
        np.stack([np.float64(p.mean())[:, 0] for p in made]),
        np.stack([np.float64(p.stddev())[:, 0] for p in made]),
    )


# ---- what is shown ----------------------------------------------------------------------------


def draw_panel(axes: Axes, x: np.ndarray, p: Prediction) -> None:
    """Up to 15 of the predictions, each a line with a band of two deviations of the noise."""
    many = len(p.loc) > 1
    for loc, scale in zip(p.loc[:15], p.scale[:15], strict=True):
        axes.plot(x, loc, color="tab:red", linewidth=0.7 if many else 1.3, label="mean")
        band = {"color": "tab:blue", "alpha": 0.03 if many else 0.25, "linewidth": 0}
        axes.fill_between(x, loc - 2 * scale, loc + 2 * scale, label="± 2 deviations", **band)


def draw_picture(panels: dict[str, Prediction], data: Any, x: np.ndarray, path: Path) -> None:
    """Writes the panels, two rows of three, with the legend in the last place."""
    figure = Figure(figsize=(13, 7), layout="constrained")
    grid = figure.subplots(2, 3, sharex=True, sharey=True).ravel()
    for axes, (title, p) in zip(grid, panels.items(), strict=False):
        axes.plot(*data, ".", color="0.35", markersize=3, label="data")
        axes.plot(x, truth(x)[0], color="0.35", linewidth=0.8, linestyle=":", label="true mean")
        draw_panel(axes, x, p)
        axes.set_title(title, loc="left")
        axes.set_xlim(x[0], x[-1])
        axes.set_ylim(-8.0, 31.0)
        if len(p.loc) > 1:
            # 150 points leave a line little freedom: its ensemble is seen from nearby.
            centre = p.loc[:, -1].mean()
            near = {"xlim": (HIGH, x[-1]), "ylim": (centre - 3, centre + 3)}
            inset = axes.inset_axes((0.05, 0.62, 0.3, 0.35), xticks=[], yticks=[], **near)
            draw_panel(inset, x, p)
            axes.indicate_inset_zoom(inset, edgecolor="black")
    grid[2].tick_params(labelbottom=True)
    grid[5].set_axis_off()
    grid[5].legend(*grid[0].get_legend_handles_labels(), loc="center", frameon=False)
    figure.savefig(path, dpi=110)


def main(
    out: Annotated[Path, typer.Option(help="Folder for the picture.")] = Path(
        "runs/tfp-regression"
    ),
    steps: Annotated[int, typer.Option(min=1)] = 2000,
    draws: Annotated[int, typer.Option(min=1, help="Of the random weights.")] = 100,
) -> dict[str, float]:
    """Trains the five models, prints what their predictions are worth, writes the picture.

    Returns:
        The negative log-likelihood of each on the new points, in nats a point.
    """
    data = draw_data(NUM_POINTS, seed=0)
    x_new, y_new = (part[:, 0] for part in draw_data(NUM_NEW, seed=1))
    # Beyond the data too: there the models part.
    line = np.arange(LOW - 10, HIGH + 10.25, 0.25, dtype="f")
    ends = NUM_NEW + np.flatnonzero((line == LOW) | (line == HIGH))
    table = Table(title=f"{NUM_NEW:,} new points, nats a point")
    for heading in ("uncertainty", "-log p(y|x)", "noise at -20, 60", "spread at 60", "seconds"):
        table.add_column(heading, justify="left" if heading == "uncertainty" else "right")
    scores, panels = {}, {}
    keras.utils.set_random_seed(0)
    for number, case in enumerate(cases(), start=1):
        start = time.perf_counter()
        model = train(case, *data, steps)
        seconds = time.perf_counter() - start
        p = predict(model, np.concatenate([x_new, line]), draws if case.is_random else 1)
        scores[case.title] = nll = -float(p.at(slice(NUM_NEW)).log_prob(y_new).mean())
        panels[f"{number}. {case.title}"] = p.at(slice(NUM_NEW, None))
        noise, spread = p.at(ends).scale.mean(0), p.at(ends).loc.std(0)[1]
        row = (f"{nll:.3f}", f"{noise[0]:.2f}, {noise[1]:.2f}", f"{spread:.2f}", f"{seconds:.0f}")
        table.add_row(case.title, *row)
    entropy = -norm.logpdf(y_new, *truth(x_new)).mean()
    table.add_row("the truth", f"{entropy:.3f}", "0.75, 3.75")
    Console(width=100).print(table)
    out.mkdir(parents=True, exist_ok=True)
    draw_picture(panels, data, line, out / "regression.png")
    return scores


if __name__ == "__main__":
    typer.run(main)
