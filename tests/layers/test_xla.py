"""A training step under XLA, with a last batch that is smaller: what TFP's own classes fail at.

Draws and densities of TFP's Beta, Student's t, von Mises-Fisher, diagonal plus low rank, and of
`tf.linalg.set_diag`, do not compile when the batch has no size that is known beforehand. One model
takes a draw of each of the layers that therefore have code of their own, and of a flow.
"""

from __future__ import annotations

import keras
import numpy as np

from tfvae import layers, priors
from tfvae.flows import AutoregressiveNetwork
from tfvae.losses import NegativeLogLikelihood


def test_a_step_with_a_smaller_last_batch():
    rng = np.random.default_rng(0)
    regularizer = layers.KLDivergenceRegularizer(priors.TrainableNormal(3), exact=True)
    stochastic = [
        (9, layers.IndependentStudentT(3)),
        (6, layers.IndependentBeta(3)),
        (6, layers.IndependentGamma(3)),
        (5, layers.VonMisesFisher(4)),
        (12, layers.MultivariateNormalLowRank(3, 2, activity_regularizer=regularizer)),
        (9, layers.MultivariateNormalTriL(3)),
        (None, layers.AutoregressiveTransform(AutoregressiveNetwork(2))),
        (6, layers.DiscretizedLogistic(3)),
    ]
    parts = [keras.Input((5,))]
    for size, layer in stochastic:
        parts += [layer] if size is None else [keras.layers.Dense(size), layer]
    model = keras.Sequential(parts)
    model.compile("adam", NegativeLogLikelihood(), jit_compile=True)
    before = [weight.numpy() for weight in model.trainable_weights]
    x = rng.normal(size=(8, 5)).astype("f")
    y = rng.integers(0, 256, (8, 3)).astype("f") / 255
    history = model.fit(x, y, batch_size=5, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    for old, new in zip(before, model.trainable_weights, strict=True):
        assert not np.array_equal(old, new)
        assert np.isfinite(new).all()
