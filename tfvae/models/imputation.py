"""Filling in what is missing of an example: draws of p(missing | known).

All three ways run chains that alternate between code and pixels, `z ~ q(z|x)` and
`x_missing ~ p(x_missing|z)`. As they stand (`"gibbs"`) they would be exact with an exact posterior;
the encoder's is an approximation, and was made for whole images. `"metropolis"` accepts or refuses
each code so that the chain is exact in the long run whatever the encoder; `"importance"` weighs the
chains' last codes against each other and resamples them, exact for many chains.

    gibbs        the cheapest, and robust: it only leans on the encoder
    metropolis   the same cost a step, and the right answer if it moves at all
    importance   the right answer if one of the chains found it
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfvae.distributions import plain
from tfvae.distributions.elements import elements
from tfvae.models.examples import as_batch, check_choice

METHODS = ("gibbs", "metropolis", "importance")


def impute(
    model: Any,
    x: Any,
    mask: Any,
    method: str = "gibbs",
    num_draws: int = 16,
    num_steps: int = 50,
    seed: int = 0,
    batch_size: int = 32,
) -> np.ndarray:
    """Draws completions of examples of which a part is missing.

    Args:
        model: a built `tfvae.VAE`.
        x: data `[N, *data_shape]`, or one example; what is missing may be NaN.
        mask: booleans that broadcast to `x`: true where it is known.
        method: `"gibbs"`, `"metropolis"` or `"importance"`; see the module.
        num_draws: number of chains S, a completion each. They start from codes of the prior.
        num_steps: steps of a chain. `"metropolis"` spends the first half finding its place.
        seed: fixes the draws.
        batch_size: how many examples are filled in at a time.

    Returns:
        float32 `[S, N, *data_shape]`, or `[S, *data_shape]` for one example: `x` where it is
        known, the mean of p(x|z) elsewhere, for S draws of z. Their mean is the best single guess,
        their spread says how sure it is.

    Raises:
        TypeError: if the model has no prior, or the mask is not boolean.
        ValueError: if the mask does not fit, something known is not finite, a number is below 1,
            or, for `"importance"`, the likelihood's elements are not independent.

    Example:
        >>> from tfvae.models import VAE
        >>> vae = VAE.for_images((8, 8, 1), latent_dim=2, hidden=(16,))
        >>> x, mask = np.zeros((3, 8, 8, 1), "float32"), np.ones((8, 8, 1), bool)
        >>> mask[:4] = False
        >>> impute(vae, x, mask, num_draws=5, num_steps=2).shape
        (5, 3, 8, 8, 1)

    Reference:
        Rezende, Mohamed and Wierstra (2014), arXiv:1401.4082, appendix F, for `"gibbs"`.
        Mattei and Frellsen (2018), Leveraging the Exact Likelihood of Deep Latent Variable Models,
        arXiv:1802.04826, section 3, for `"metropolis"`.
        Mattei and Frellsen (2019), MIWAE, arXiv:1812.02633, section 3, for the weights of
        `"importance"`; its proposal there is an encoder trained on incomplete data, here it is the
        mixture of the posteriors at the chains' ends.
    """
    check_choice("method", method, METHODS)
    if not hasattr(model, "prior"):
        raise TypeError(
            "Only a model with a prior knows what is likely to be missing: take a `tfvae.VAE`. "
            f"Received: {type(model).__name__}"
        )
    batch, single = as_batch(model, x)
    known = _known(mask, np.shape(x), batch.shape)
    batch = np.where(known, batch, 0).astype(np.float32)
    if not np.isfinite(batch).all():
        raise ValueError(
            "What the mask calls known must be finite. "
            f"Received: {int(np.sum(~np.isfinite(batch)))} known values that are not"
        )
    if min(num_draws, num_steps, batch_size) < 1:
        raise ValueError(
            "Draws, steps and batches must be at least 1. "
            f"Received: num_draws={num_draws}, num_steps={num_steps}, batch_size={batch_size}"
        )
    chains = _Chains(model, num_draws)
    parts = [
        chains.run(
            batch[first : first + batch_size],
            known[first : first + batch_size],
            method,
            num_steps,
            (seed, first),
        )
        for first in range(0, len(batch), batch_size)
    ]
    draws = np.concatenate(parts, axis=1)
    return draws[:, 0] if single else draws


def _known(mask: Any, shape: tuple[int, ...], batch_shape: tuple[int, ...]) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise TypeError(f"`mask` must be boolean, true where x is known. Received: {mask.dtype}")
    try:
        return np.broadcast_to(mask, shape).reshape(batch_shape)
    except ValueError:
        raise ValueError(
            f"`mask` must broadcast to the shape of x, {shape}; a mask of pixels needs a last axis "
            f"for the channels, `mask[..., None]`. Received: shape {mask.shape}"
        ) from None


class _Chains:
    """S chains for each example of a batch, side by side as rows of one batch `[S * B]`."""

    def __init__(self, model: Any, num_draws: int) -> None:
        self.model = model
        self.num_draws = num_draws
        self.step = tf.function(self._step, reduce_retracing=True)
        self.resample = tf.function(self._resample, reduce_retracing=True)

    def run(
        self, x: np.ndarray, known: np.ndarray, method: str, num_steps: int, seed: tuple[int, int]
    ) -> np.ndarray:
        """Completions `[S, B, *data_shape]` of one batch."""
        keys = np.random.SeedSequence([abs(part) for part in seed]).generate_state(
            2 * (num_steps + 2), np.uint32
        )
        keys = tf.constant(keys.view(np.int32).reshape(-1, 2))
        rows = self.num_draws * len(x)
        x, known = (
            tf.constant(np.broadcast_to(a, (self.num_draws, *a.shape)).reshape(rows, *a.shape[1:]))
            for a in (x, known)
        )
        start_seeds = np.stack([np.full(rows, keys[-1, 0]), np.arange(rows, dtype=np.int32)], 1)
        z = self.model.prior.draw(tf.constant(start_seeds, tf.int32))
        filled = tf.where(known, x, self.model.decode(z).mean())
        # Where the prior has no mass encoder and decoder have never met, and a chain can run away:
        # codes less probable than the least probable of the starts are not visited.
        floor = tf.reduce_min(self.model.prior.distribution().log_prob(z))
        for number in range(num_steps):
            exact = method == "metropolis" and number >= num_steps // 2
            z, filled = self.step(filled, x, known, z, keys[number], tf.constant(exact), floor)
        if method == "importance":
            z = self.resample(filled, x, known, keys[-2])
        means = tf.where(known, x, self.model.decode(z).mean())
        return means.numpy().reshape(self.num_draws, -1, *means.shape[1:])

    def _step(
        self,
        filled: tf.Tensor,
        x: tf.Tensor,
        known: tf.Tensor,
        z: tf.Tensor,
        key: tf.Tensor,
        exact: tf.Tensor,
        floor: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """A code given the pixels, then the missing pixels given the code."""
        keys = tf.random.split(key, 3)
        q = plain(self.model.encode(filled))
        proposed = q.sample(seed=keys[0])

        def log_weight(code: tf.Tensor) -> tf.Tensor:
            log_prior = self.model.prior.distribution().log_prob(code)
            return self.model.decode(code).log_prob(filled) + log_prior - q.log_prob(code)

        # min(1, [p(x|z') p(z') q(z|x)] / [p(x|z) p(z) q(z'|x)])
        log_ratio = log_weight(proposed) - log_weight(z)
        log_uniform = tf.math.log(tf.random.stateless_uniform(tf.shape(log_ratio), keys[1]))
        accepted = tf.logical_or(log_uniform < log_ratio, tf.logical_not(exact))
        inside = self.model.prior.distribution().log_prob(proposed) >= floor
        accepted = tf.logical_and(accepted, inside)
        accepted = tf.reshape(accepted, [-1] + [1] * (z.shape.rank - 1))
        z = tf.where(accepted, proposed, z)
        drawn = plain(self.model.decode(z)).sample(seed=keys[2])
        return z, tf.where(known, x, drawn)

    def _resample(
        self, filled: tf.Tensor, x: tf.Tensor, known: tf.Tensor, key: tf.Tensor
    ) -> tf.Tensor:
        """Codes drawn among those of the chains, by their weights.

        w(z) = p(x_known|z) p(z) / (1/S sum_s q(z|x_s)): with the mixture below, no chain's narrow
        posterior can give a weight without bound to a code that another proposes as well.
        """
        draws, keys = self.num_draws, tf.random.split(key, 2)
        q = plain(self.model.encode(filled))
        z = q.sample(seed=keys[0])
        log_known = elements(self.model.decode(z)).log_prob(x) * tf.cast(known, x.dtype)
        log_joint = tf.reduce_sum(log_known, axis=list(range(1, x.shape.rank)))
        log_joint += self.model.prior.distribution().log_prob(z)
        by_draw = tf.reshape(z, [draws, -1, *z.shape[1:]])

        def log_mixture(code: tf.Tensor) -> tf.Tensor:
            """log sum_s q(code|x_s) `[B]` of one code for each example; the rows of q are S * B."""
            tiled = tf.reshape(tf.broadcast_to(code[None], tf.shape(by_draw)), tf.shape(z))
            return tf.reduce_logsumexp(tf.reshape(q.log_prob(tiled), [draws, -1]), axis=0)

        log_weight = tf.reshape(log_joint, [draws, -1]) - tf.map_fn(log_mixture, by_draw)
        chosen = tf.random.stateless_categorical(tf.transpose(log_weight), draws, keys[1])
        swap = [1, 0, *range(2, by_draw.shape.rank)]
        resampled = tf.gather(tf.transpose(by_draw, swap), chosen, batch_dims=1)
        return tf.reshape(tf.transpose(resampled, swap), tf.shape(z))
