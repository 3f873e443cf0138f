"""The total correlation as a discriminator sees it: FactorVAE.

Two groups of weights train at once: those of the VAE at its cost, with the discriminator held
fixed, and those of the discriminator at its cross-entropy, with the codes held fixed. Both are here
gradients of one number. The total correlation is that of a discriminator whose weights are stopped;
the cross-entropy is that of codes that are stopped; and the cross-entropy enters the cost as
`c - stop_gradient(c)`, which is zero and has the gradient of `c`. So the cost that is minimised and
logged is the VAE's, in nats, and one backward pass gives each group its own gradient and no other.

A second optimizer would do the same with more: a training step that knows of this regulariser, an
optimizer that Keras' model file has no place for, and a regulariser that works in a `tfvae.VAE`
alone. With one, the discriminator's moments are saved with all others, a training resumes to the
bit, and the layer serves as `activity_regularizer` in any Keras model. What is given up is a
learning rate of its own. Adam and its like divide a gradient by its own size, weight by weight, so
the scale of one group does not matter to the other; the paper too trains both groups by Adam at
1e-4, with other moments (0.5, 0.9) for the discriminator. A norm that is clipped over all weights
(`global_clipnorm`) does couple them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.layers.parameters import positive_integer
from tfvae.layers.scheduled_weight import as_scheduled_weight, scheduled_weight_config
from tfvae.layers.seeded import SeededLayer
from tfvae.regularizers.measures import draws, flatten
from tfvae.regularizers.prior_regularizer import PriorRegularizer

_LEAK = 0.2


@keras.saving.register_keras_serializable(package="tfvae")
class AdversarialTotalCorrelation(PriorRegularizer):
    """The divergence, and the weighted total correlation of the aggregate posterior q(z):

        KL(q(z|x) || p(z)) + weight * TC,   TC = KL(q(z) || prod_j q(z_j)) ~ E log D(z) / (1 - D(z))

    where D(z), a network, is the probability that z is a code, z ~ q(z), and not one whose elements
    are of different codes, y ~ prod_j q(z_j). It trains beside the VAE, in the same step and by the
    same optimizer, at its cross-entropy

        1/2 E[-log D(z)] + 1/2 E[-log(1 - D(y))],

    which is logged as `discriminator` and is not a part of the cost. At log 2 = 0.69 it tells
    nothing apart: the codes' elements are independent, or it lags behind. The measured total
    correlation is as good as the discriminator, and may be negative.

    The codes y are those of the batch with each dimension in a random order of its own. The paper
    permutes a second batch, for which the encoder would have to run again. Under a distribution
    strategy a replica's batch counts.

    Args:
        prior: p(z), a layer of `tfvae.priors`, or what else `KLDivergenceRegularizer` takes.
        weight: gamma, in addition to what the divergence holds of the total correlation: a number,
            a schedule of `tfvae.schedules` (logged as `gamma`), or a `keras.Variable`. The paper
            trains dSprites at 35.
        hidden_units: units of the discriminator's hidden layers, which are leaky ReLUs of slope
            0.2. The default is the paper's and has five million weights.
        seed: fixes the permutations; taken from Python's generator if `None`.
        **kwargs: `name`, `dtype`.

    Raises:
        TypeError: if `prior` is not a prior.
        ValueError: if `weight` is negative or a size is not a positive integer.

    Example:
        >>> from tfvae.priors import StandardNormal
        >>> cost = AdversarialTotalCorrelation(StandardNormal(2), hidden_units=(8,), seed=1)
        >>> q = tfd.MultivariateNormalDiag(tf.ones([3, 2]), tf.ones([3, 2]))
        >>> list(cost.terms(q)), cost(q).shape.as_list()
        (['kl', 'total_correlation', 'discriminator'], [3])

    Reference:
        Kim and Mnih (2018), Disentangling by Factorising, arXiv:1802.05983, equations 2 and 3,
        algorithms 1 and 2.
    """

    term_names = ("kl", "total_correlation", "discriminator")

    def __init__(
        self,
        prior: Any,
        weight: Any = 10.0,
        hidden_units: Sequence[int] = (1000,) * 6,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(prior, **kwargs)
        self.weight = as_scheduled_weight(weight, "weight", "gamma")
        self.hidden_units = [positive_integer(units, "hidden_units") for units in hidden_units]
        self.noise = SeededLayer(seed, name="noise")
        shape = getattr(self.prior, "event_shape", None) or self.prior_distribution().event_shape
        # Its output is the logarithm of a ratio of densities, and has a density's precision.
        self.discriminator = keras.Sequential(
            [
                keras.Input((math.prod(shape),), dtype=self.dtype),
                *(self._hidden(units) for units in self.hidden_units),
                keras.layers.Dense(1, dtype=self.dtype),
            ],
            name="discriminator",
        )
        # Keras would round the codes where its policy is of a lower precision.
        self.discriminator._convert_input_args = False

    def _hidden(self, units: int) -> keras.layers.Layer:
        leaky = keras.layers.LeakyReLU(_LEAK, dtype=self.dtype)
        return keras.layers.Dense(units, activation=leaky, dtype=self.dtype)

    def terms(self, q: tfd.Distribution) -> dict[str, tf.Tensor]:
        z = flatten(draws(q), leading=2)
        fixed = tf.stop_gradient(z)
        permuted = permute_dimensions(fixed, self.noise.next_seed())
        # log D(z)/(1 - D(z)) is the discriminator's logit
        total_correlation = self._logits(z, trained=False)
        own, others = tf.split(self._logits(tf.concat([fixed, permuted], 0), trained=True), 2)
        # -log D(z) = softplus(-logit), -log(1 - D(y)) = softplus(logit)
        cross_entropy = 0.5 * (tf.nn.softplus(-own) + tf.nn.softplus(others))
        return {
            "kl": self.divergence.terms(q)["kl"],
            "total_correlation": tf.reduce_mean(total_correlation, axis=0),
            "discriminator": tf.reduce_mean(cross_entropy, axis=0),
        }

    def _logits(self, z: tf.Tensor, trained: bool) -> tf.Tensor:
        """The logits of codes `[S, B, E]`, `[S, B]`; gradients reach the weights if `trained`."""
        codes = tf.reshape(tf.cast(z, self.dtype), [-1, z.shape[-1]])
        network = self.discriminator
        if trained:
            logits = network(codes)
        else:
            fixed = [tf.stop_gradient(tf.convert_to_tensor(w)) for w in network.trainable_variables]
            others = [tf.convert_to_tensor(w) for w in network.non_trainable_variables]
            logits, _ = network.stateless_call(fixed, others, codes)
        return tf.reshape(tf.cast(logits, z.dtype), tf.shape(z)[:2])

    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        total_correlation, cross_entropy = terms["total_correlation"], terms["discriminator"]
        weight = tf.cast(self.weight, total_correlation.dtype)
        # Nothing but the gradient of the discriminator's loss: see the module.
        gradient_alone = cross_entropy - tf.stop_gradient(cross_entropy)
        return terms["kl"] + weight * total_correlation + gradient_alone

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "weight": scheduled_weight_config(self.weight),
            "hidden_units": self.hidden_units,
            "seed": self.noise.seed,
        }


def permute_dimensions(z: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Codes whose elements are those of different examples: draws of prod_j q(z_j), roughly.

    Each dimension of each draw gets a random order of its own over the batch, so that an element
    keeps its marginal distribution and loses its company.

    Args:
        z: codes `[S, B, E]`.
        seed: int32 `[2]`.

    Returns:
        `[S, B, E]`.

    Example:
        >>> z = tf.reshape(tf.range(8.0), [1, 4, 2])
        >>> permuted = permute_dimensions(z, tf.constant([1, 2]))
        >>> sorted(permuted[0, :, 1].numpy().tolist())
        [1.0, 3.0, 5.0, 7.0]

    Reference:
        Kim and Mnih (2018), arXiv:1802.05983, algorithm 1.
    """
    columns = tf.transpose(z, [0, 2, 1])
    order = tf.argsort(tf.random.stateless_uniform(tf.shape(columns), seed), axis=-1)
    return tf.transpose(tf.gather(columns, order, batch_dims=2), [0, 2, 1])
