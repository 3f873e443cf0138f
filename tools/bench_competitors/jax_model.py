"""JAX, jitted by hand: an epoch is one `scan` over its steps, or each step is one call.

State is donated, the images stay on the device, and a batch is gathered there.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bench_competitors.cases import (
    LEARNING_RATE,
    SCALE_FLOOR,
    Case,
    Inputs,
    Layer,
    decoder_layers,
    encoder_layers,
)
from bench_competitors.contract import EVALUATION_DRAWS, EVALUATION_IMAGES, Check, Competitor

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh}


def apply(plan: list[Layer], activation: str, weights: list[Any], x: Any) -> Any:
    """The layers of a plan, one after the other."""
    for index, layer in enumerate(plan):
        kernel, bias = weights[2 * index : 2 * index + 2]
        if layer.kind == "dense":
            x = x.reshape(len(x), -1) @ kernel
        else:
            x = x.reshape(len(x), *layer.inputs)
            strides = (layer.stride, layer.stride)
            if layer.kind == "conv":
                x = lax.conv_general_dilated(x, kernel, strides, "SAME", dimension_numbers=_LAYOUT)
            else:
                x = lax.conv_transpose(
                    x, kernel, strides, "SAME", dimension_numbers=_LAYOUT, transpose_kernel=True
                )
        x = x + bias
        if layer.active:
            x = _ACTIVATIONS[activation](x)
    return x


def cross_entropy(x: Any, logits: Any) -> Any:
    """Minus log p(x|z) of each value."""
    return jnp.maximum(logits, 0) - logits * x + jnp.log1p(jnp.exp(-jnp.abs(logits)))


class Functions:
    """The pure functions of a case."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.encoder = encoder_layers(case)
        self.decoder = decoder_layers(case)

    def encode(self, weights: list[Any], x: Any) -> tuple[Any, Any]:
        count = 2 * len(self.encoder)
        params = apply(self.encoder, self.case.activation, weights[:count], x)
        mean, raw = jnp.split(params, 2, axis=-1)
        return mean, jax.nn.softplus(raw) + SCALE_FLOOR

    def decode(self, weights: list[Any], z: Any) -> Any:
        count = 2 * len(self.encoder)
        logits = apply(self.decoder, self.case.activation, weights[count:], z)
        return logits.reshape(len(z), -1)

    def loss(self, weights: list[Any], x: Any, noise: Any) -> Any:
        mean, scale = self.encode(weights, x)
        logits = self.decode(weights, mean + scale * noise)
        nll = cross_entropy(x.reshape(logits.shape), logits).sum(-1)
        kl = (0.5 * (mean**2 + scale**2 - 1) - jnp.log(scale)).sum(-1)
        return (nll + kl).mean()

    def step(self, state: Any, x: Any, noise: Any) -> tuple[Any, Any]:
        """A step of Adam; the state is weights, both moments and the number of steps."""
        weights, first, second, count = state
        loss, gradients = jax.value_and_grad(self.loss)(weights, x, noise)
        count = count + 1
        rate = LEARNING_RATE * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        first = [0.9 * m + 0.1 * g for m, g in zip(first, gradients, strict=True)]
        second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradients, strict=True)]
        weights = [
            w - rate * m / (jnp.sqrt(v) + 1e-7)
            for w, m, v in zip(weights, first, second, strict=True)
        ]
        return (weights, first, second, count), loss


class JaxModel(Competitor):
    """The whole epoch in one call (`scan`), or a call for each step (`step`)."""

    def __init__(self, inputs: Inputs, batch: int, variant: str) -> None:
        super().__init__(inputs, batch, variant)
        self.functions = Functions(inputs.case)
        self.images = jnp.asarray(inputs.images)
        self.key = jax.random.key(0)
        weights = [jnp.array(weight) for weight in inputs.weights]
        zeros = [jnp.zeros_like(weight) for weight in weights]
        self.state: Any = (weights, zeros, [jnp.copy(zero) for zero in zeros], jnp.float32(0))
        self._epoch = jax.jit(self._run_epoch, donate_argnums=0)
        self._batch_step = jax.jit(self._run_step, donate_argnums=0)
        self._encode = jax.jit(lambda weights, x: self.functions.encode(weights, x)[0])
        self._sample = jax.jit(self._decode_draws, static_argnums=2)
        self._evaluate = jax.jit(self._log_mean_weights, static_argnums=3)

    def check(self) -> Check:
        step = jax.jit(self.functions.step)
        losses = []
        for x, noise in self.inputs.check_batches():
            self.state, loss = step(self.state, x, noise)
            losses.append(float(loss))
        x, noise = next(self.inputs.check_batches())
        after = float(self.functions.loss(self.state[0], x, noise))
        return Check(losses[0], float(np.mean(losses)), after)

    def _run_step(self, state: Any, images: Any, rows: Any, key: Any) -> tuple[Any, Any]:
        noise = jax.random.normal(key, (len(rows), self.inputs.case.latent))
        return self.functions.step(state, images[rows], noise)

    def _run_epoch(self, state: Any, images: Any, key: Any) -> tuple[Any, Any]:
        order_key, noise_key = jax.random.split(key)
        steps = len(images) // self.batch
        rows = jax.random.permutation(order_key, len(images)).reshape(steps, self.batch)

        def body(state: Any, at: Any) -> tuple[Any, Any]:
            return self._run_step(state, images, *at)

        state, losses = lax.scan(body, state, (rows, jax.random.split(noise_key, steps)))
        return state, losses.mean()

    def train(self, epochs: int) -> None:
        steps = len(self.images) // self.batch
        for _ in range(epochs):
            self.key, key = jax.random.split(self.key)
            if self.variant == "scan":
                self.state, loss = self._epoch(self.state, self.images, key)
                continue
            order = np.random.default_rng(0).permutation(len(self.images))
            rows = order.astype(np.int32).reshape(steps, self.batch)
            for row, step_key in zip(rows, jax.random.split(key, steps), strict=True):
                self.state, loss = self._batch_step(self.state, self.images, row, step_key)
        loss.block_until_ready()

    def encode(self) -> np.ndarray:
        images = self.inputs.images
        parts = [
            self._encode(self.state[0], images[start : start + self.batch])
            for start in range(0, len(images), self.batch)
        ]
        return np.concatenate([np.asarray(part) for part in parts])

    def _decode_draws(self, weights: list[Any], key: Any, number: int) -> Any:
        z = jax.random.normal(key, (number, self.inputs.case.latent))
        return jax.nn.sigmoid(self.functions.decode(weights, z))

    def sample(self, number: int) -> np.ndarray:
        keys = jax.random.split(jax.random.key(1), -(-number // self.batch))
        parts = [self._sample(self.state[0], key, self.batch) for key in keys]
        return np.concatenate([np.asarray(part) for part in parts])[:number]

    def _log_mean_weights(self, weights: list[Any], x: Any, key: Any, draws: int) -> Any:
        mean, scale = self.functions.encode(weights, x)
        flat = x.reshape(len(x), -1)

        def body(total: Any, key: Any) -> tuple[Any, None]:
            noise = jax.random.normal(key, (EVALUATION_DRAWS, *mean.shape))
            z = mean + scale * noise
            logits = self.functions.decode(weights, z.reshape(-1, z.shape[-1]))
            logits = logits.reshape(EVALUATION_DRAWS, *flat.shape)
            log_ratio = 0.5 * (noise**2 - z**2) + jnp.log(scale)
            log_weights = log_ratio.sum(-1) - cross_entropy(flat, logits).sum(-1)
            return jnp.logaddexp(total, jax.nn.logsumexp(log_weights, axis=0)), None

        keys = jax.random.split(key, draws // EVALUATION_DRAWS)
        total, _ = lax.scan(body, jnp.full(len(x), -jnp.inf), keys)
        return total - math.log(draws)

    def log_likelihood(self, number: int, draws: int) -> np.ndarray:
        starts = range(0, number, EVALUATION_IMAGES)
        keys = jax.random.split(jax.random.key(2), len(starts))
        evaluate = partial(self._evaluate, self.state[0])
        parts = [
            evaluate(self.images[start : start + EVALUATION_IMAGES], key, draws)
            for start, key in zip(starts, keys, strict=True)
        ]
        return np.concatenate([np.asarray(part) for part in parts])[:number]


COMPETITOR = JaxModel
