"""A training step under XLA for batches of any size: what TFP's own classes fail at.

The last batch of an epoch is often smaller, so a step is traced for batches of a size that is not
known. Then draws of TFP's gamma, beta, Student's t and von Mises-Fisher, of a flow in a loop, and
the gradients of its low-rank density and of `tf.linalg.set_diag` do not compile. One model takes a
draw of each kind of layer that therefore has code of its own.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfvae import layers, priors
from tfvae.flows import AutoregressiveNetwork
from tfvae.losses import NegativeLogLikelihood


def test_a_step_with_a_batch_of_unknown_size():
    rng = np.random.default_rng(0)
    regularizer = layers.KLDivergenceRegularizer(priors.TrainableNormal(2), exact=True)
    stochastic = [
        (4, layers.IndependentBeta(2)),
        (3, layers.VonMisesFisher(2)),
        (6, layers.MultivariateNormalLowRank(2, 1, activity_regularizer=regularizer)),
        (5, layers.MultivariateNormalTriL(2)),
        (None, layers.AutoregressiveTransform(AutoregressiveNetwork(2))),
        (4, layers.DiscretizedLogistic(2)),
    ]
    parts = [keras.Input((5,))]
    for size, layer in stochastic:
        parts += [layer] if size is None else [keras.layers.Dense(size), layer]
    model = keras.Sequential(parts)
    model.compile("adam", NegativeLogLikelihood(), jit_compile=True)
    before = [weight.numpy() for weight in model.trainable_weights]
    x = rng.normal(size=(5, 5)).astype("f")
    y = rng.integers(0, 256, (5, 2)).astype("f") / 255
    # Not `drop_remainder`: the step is traced for a batch of any size, and compiled for one.
    history = model.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(5), verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    for old, new in zip(before, model.trainable_weights, strict=True):
        assert not np.array_equal(old, new)
        assert np.isfinite(new).all()
