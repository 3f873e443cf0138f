"""Scores that say how strange an example is to a model, and where to draw the line.

The likelihood is the obvious score and a trap: a model of clothes finds digits more likely than
clothes, because an image of few details is cheap to describe whatever it shows (Nalisnick et al.
2019). The two further scores subtract what is easy about an example: the likelihood ratio, what a
model of all images would pay for it, and the likelihood regret, what the decoder would pay if the
encoder had been right about it. `tools/anomaly_benchmark.py` measures all three.

All scores are in nats, and the higher, the stranger.
"""

from __future__ import annotations

import io
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow_probability import distributions as tfd

from tfvae import random
from tfvae.distributions import as_tensor_like
from tfvae.divergences import kl_divergence
from tfvae.latent.codes import encode
from tfvae.models.examples import as_batch

# The draws that fit a posterior are not those that judge it.
_FITTING, _JUDGING = 0, 1
_SMALLEST_SCALE = 1e-6


def anomaly_score(
    model: Any, x: Any, num_samples: int = 16, seed: int = 0, batch_size: int = 128
) -> np.ndarray:
    """Minus the importance-weighted bound of log p(x), in nats.

    Args:
        model: a built `tfvae.VAE`.
        x: data `[N, *data_shape]`.
        num_samples: importance samples for each example.
        seed: fixes the draws.
        batch_size: how many examples are held at a time.

    Returns:
        float32 `[N]`.

    Raises:
        TypeError: if the model has no likelihood of x, as an autoencoder has none.
        ValueError: if `x` is outside the likelihood's support or of another shape.

    Example:
        >>> from tfvae.models import VAE
        >>> vae = VAE.for_images((8, 8, 1), latent_dim=2, hidden=(16,))
        >>> anomaly_score(vae, np.zeros((3, 8, 8, 1), "float32")).shape
        (3,)

    Reference:
        Nalisnick et al. (2019), Do Deep Generative Models Know What They Don't Know?,
        arXiv:1810.09136, for what it misses.
    """
    if not hasattr(model, "log_likelihood"):
        raise TypeError(
            "Only a model with a prior has a likelihood of x: take a `tfvae.VAE`. "
            f"Received: {type(model).__name__}"
        )
    batch, _ = as_batch(model, x)
    return -model.log_likelihood(batch, num_samples, seed, batch_size)


def likelihood_ratio(
    model: Any,
    x: Any,
    background: Any = "png",
    num_samples: int = 16,
    seed: int = 0,
    batch_size: int = 128,
) -> np.ndarray:
    """How much better a model of images in general explains x: log p_background(x) - log p(x).

    A background model shares with the model what makes any image likely, such as large flat areas,
    and not what makes the training images special; the ratio keeps the latter.

    Args:
        model: a built `tfvae.VAE`.
        x: data `[N, *data_shape]`.
        background: `"png"`, the best known lossless coder of images: log p_background is minus the
            length of the file, in nats. Or another built model, such as one that was trained on the
            same data with a share of their pixels drawn at random.
        num_samples: importance samples for each example.
        seed: fixes the draws.
        batch_size: how many examples are held at a time.

    Returns:
        float32 `[N]`; with a density as the likelihood, up to a constant.

    Raises:
        TypeError: if a model has no likelihood of x.
        ValueError: if `x` is not images in [0, 1] where `background` is `"png"`.

    Example:
        >>> from tfvae.models import VAE
        >>> vae = VAE.for_images((8, 8, 1), latent_dim=2, hidden=(16,))
        >>> likelihood_ratio(vae, np.zeros((3, 8, 8, 1), "float32")).shape
        (3,)

    Reference:
        Ren et al. (2019), Likelihood Ratios for Out-of-Distribution Detection, arXiv:1906.02845,
        equation 5, for a background model.
        Serra et al. (2020), Input Complexity and Out-of-distribution Detection with
        Likelihood-based Generative Models, arXiv:1909.11480, equation 2, for a coder.
    """
    batch, _ = as_batch(model, x)
    score = anomaly_score(model, batch, num_samples, seed, batch_size)
    if isinstance(background, str):
        if background != "png":
            raise ValueError(f"`background` must be 'png' or a model. Received: {background!r}")
        return score - np.float32(math.log(2.0)) * _png_bits(batch)
    return score - anomaly_score(background, batch, num_samples, seed, batch_size)


def _png_bits(images: np.ndarray) -> np.ndarray:
    """The length in bits of each image as a PNG of 256 levels, float32 `[N]`."""
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            "PNG stores images [N, H, W, C] of one or three channels: give another `background`. "
            f"Received: shape {images.shape}"
        )
    if not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(
            "PNG stores images in [0, 1]. "
            f"Received: values from {images.min():g} to {images.max():g}"
        )
    levels = np.rint(images * 255).astype(np.uint8)
    sizes = []
    for image in levels[..., 0] if images.shape[-1] == 1 else levels:
        file = io.BytesIO()
        Image.fromarray(image).save(file, format="PNG", optimize=True)
        sizes.append(8 * file.tell())
    return np.array(sizes, np.float32)


def likelihood_regret(
    model: Any,
    x: Any,
    num_steps: int = 100,
    learning_rate: float = 0.05,
    num_samples: int = 16,
    seed: int = 0,
    batch_size: int = 128,
) -> np.ndarray:
    """How much the bound of x gains if its own posterior is fitted to it, and to nothing else.

    For an example like those of the training the encoder's posterior is about the best there is;
    for a strange one it is a poor guess, and the regret is large:

        regret(x) = max_q ELBO(x; q) - ELBO(x; q(z|x)),    q a normal of independent dimensions.

    Both bounds take the same draws. The paper fits all of the encoder; the mean and scale of q
    alone, its variant, leave the decoder's verdict the same and fit a batch of examples at once.

    Args:
        model: a built `tfvae.VAE`. The posterior that it starts from has the means and variances
            of the encoder's.
        x: data `[N, *data_shape]`.
        num_steps: steps of Adam.
        learning_rate: of Adam at the start, in units of the code and of the logarithm of its
            scale; it falls to zero.
        num_samples: draws that judge the two posteriors.
        seed: fixes the draws.
        batch_size: how many examples are fitted at a time; it does not change the result.

    Returns:
        float32 `[N]`.

    Raises:
        TypeError: if the model has no prior.
        ValueError: if a number is not positive.

    Example:
        >>> from tfvae.models import VAE
        >>> vae = VAE.for_images((8, 8, 1), latent_dim=2, hidden=(16,))
        >>> likelihood_regret(vae, np.zeros((3, 8, 8, 1), "float32"), num_steps=5).shape
        (3,)

    Reference:
        Xiao, Yan and Amit (2020), Likelihood Regret: An Out-of-Distribution Detection Score for
        Variational Auto-encoder, arXiv:2003.02977, equation 6.
    """
    if not hasattr(model, "prior"):
        raise TypeError(
            "Only a model with a prior has a bound of log p(x): take a `tfvae.VAE`. "
            f"Received: {type(model).__name__}"
        )
    if min(num_steps, learning_rate, num_samples, batch_size) <= 0:
        raise ValueError(
            "Steps, rates and counts must be positive. "
            f"Received: num_steps={num_steps}, learning_rate={learning_rate}, "
            f"num_samples={num_samples}, batch_size={batch_size}"
        )
    x, _ = as_batch(model, x)

    @tf.function(reduce_retracing=True)
    def bound(batch: tf.Tensor, loc: tf.Tensor, log_scale: tf.Tensor, noise: tf.Tensor) -> Any:
        return _bound(model, batch, loc, log_scale, noise)

    @tf.function(reduce_retracing=True)
    def gradients(batch: tf.Tensor, loc: tf.Tensor, log_scale: tf.Tensor, noise: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch([loc, log_scale])
            # The examples share no parameter: the gradient of the sum is that of each.
            cost = -tf.reduce_sum(_bound(model, batch, loc, log_scale, noise))
        return tape.gradient(cost, [loc, log_scale])

    regrets = []
    row_seeds = random.seeds(seed, len(x))
    for first in range(0, len(x), batch_size):
        part = slice(first, first + batch_size)
        batch = tf.convert_to_tensor(x[part], tf.float32)
        start = _start(model, x[part])
        judging = _noise(row_seeds[part], num_samples, start[0].shape[1:], _JUDGING)
        drawn = _noise(row_seeds[part], num_steps, start[0].shape[1:], _FITTING)
        # Each draw with its mirror image: the noise of the mean's gradient cancels.
        fitting = tf.stack([drawn, -drawn], axis=1)
        fitted = [keras.Variable(value) for value in start]
        # The rate falls, so that the last draws do not decide.
        decay = keras.optimizers.schedules.CosineDecay(learning_rate, num_steps)
        optimizer = keras.optimizers.Adam(decay)
        for step in range(num_steps):
            at = [tf.convert_to_tensor(variable) for variable in fitted]
            optimizer.apply(gradients(batch, *at, fitting[step]), fitted)
        best = bound(batch, *(tf.convert_to_tensor(variable) for variable in fitted), judging)
        regrets.append((best - bound(batch, *map(tf.constant, start), judging)).numpy())
    # The encoder's own posterior is one of those that the maximum is taken over.
    return np.maximum(np.concatenate(regrets), 0.0)


def _start(model: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The means and the logarithms of the scales of q(z|x), float32 `[B, *latent_shape]`."""
    mean, covariance = encode(model, x)
    variance = covariance if covariance.ndim == 2 else np.einsum("nii->ni", covariance)
    log_scale = np.log(np.maximum(np.sqrt(variance), _SMALLEST_SCALE))
    shape = (len(x), *model.latent_shape)
    return mean.reshape(shape).astype(np.float32), log_scale.reshape(shape).astype(np.float32)


def _noise(row_seeds: np.ndarray, draws: int, shape: Any, stream: int) -> tf.Tensor:
    """Standard normal noise `[draws, B, *shape]`, a stream of its own for each row."""
    noise = random.normal(row_seeds, draws * math.prod(shape), stream)
    by_row = tf.reshape(noise, [len(row_seeds), draws, *shape])
    return tf.transpose(by_row, [1, 0, *range(2, 2 + len(shape))])


def _bound(
    model: Any, batch: tf.Tensor, loc: tf.Tensor, log_scale: tf.Tensor, noise: tf.Tensor
) -> tf.Tensor:
    """ELBO(x; q) `[B]` for q = N(loc, scale^2) and noise `[S, B, *latent_shape]`."""
    scale = tf.exp(log_scale)
    if loc.shape.rank == 2:
        q = tfd.MultivariateNormalDiag(loc, scale)
    else:
        q = tfd.Independent(tfd.Normal(loc, scale), reinterpreted_batch_ndims=loc.shape.rank - 1)
    z = loc + scale * noise
    draws = z.shape[0]
    p = model.decode(tf.reshape(z, [-1, *z.shape[2:]]))
    tiled = tf.tile(batch, [draws] + [1] * (batch.shape.rank - 1))
    log_likelihood = tf.reshape(p.log_prob(tiled), [draws, -1])
    kl = kl_divergence(as_tensor_like(q, z, is_draw=True), model.prior.distribution())
    return tf.reduce_mean(log_likelihood, axis=0) - kl


def threshold(scores: Any, quantile: float = 0.95) -> float:
    """The score above which to call an example strange, from held-out examples of the usual kind.

    Of further examples of that kind at most a share `1 - quantile` is above it, in expectation over
    the held-out examples and whatever the distribution of scores: it is their quantile with the
    correction for a finite number of them, the score of rank ceil((N + 1) quantile).

    Args:
        scores: of held-out examples, which the model was not trained on, `[N]`.
        quantile: the share of usual examples that should pass, in (0, 1).

    Returns:
        The threshold.

    Raises:
        ValueError: if the scores are not finite, or too few for the quantile.

    Example:
        >>> threshold(range(1, 100), quantile=0.95)
        95.0

    Reference:
        Vovk, Gammerman and Shafer (2005), Algorithmic Learning in a Random World, chapter 2.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1 or not np.isfinite(scores).all() or not 0 < quantile < 1:
        raise ValueError(
            "`threshold` needs finite scores [N] and a quantile in (0, 1). "
            f"Received: shape {scores.shape}, quantile={quantile!r}"
        )
    # The slack is for products such as 100 * 0.95, a little above 95 in binary.
    rank = math.ceil((len(scores) + 1) * quantile - 1e-9)
    if rank > len(scores):
        raise ValueError(
            f"A quantile of {quantile} needs at least {math.ceil(quantile / (1 - quantile))} "
            f"scores. Received: {len(scores)}"
        )
    return float(np.sort(scores)[rank - 1])
