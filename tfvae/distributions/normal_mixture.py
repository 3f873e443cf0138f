"""Mixtures of normals of independent elements, whose density is one matrix product."""

from __future__ import annotations

import math

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions.elements import elements


class NormalMixture(tfd.MixtureSameFamily):
    """`tfd.MixtureSameFamily` of K normals of D independent elements, quick at many points.

    With w = 1 / s^2, the distance of a point from a component is a product of two vectors,

        sum_d ((z_d - m_d) / s_d)^2 = [z^2, z] . [w, -2 m w] + sum_d m_d^2 w_d,

    and that of N points from all components is a matrix product, where TFP has N K D differences.
    The squares cancel, which leaves an error of 1e-16 (z / s)^2 of the product in float64: below
    what float32 resolves, unless s is below 1e-5 of z. TFLite has no such product.

    Args:
        mixture_distribution: `tfd.Categorical` of K, of batch shape `[]`.
        components_distribution: `tfd.MultivariateNormalDiag`, or `tfd.Independent` of
            `tfd.Normal`; of batch shape `[K]` and a known event shape, D elements in all.

    All other arguments are those of `tfd.MixtureSameFamily`. `log_prob` takes points of
    `[..., *event_shape]`, finite ones, and returns nats, `[...]`.

    Raises:
        ValueError: by `log_prob`, for other components.
        tf.errors.InvalidArgumentError: by `log_prob`, for points of another event shape.

    Example:
        >>> shares = tfd.Categorical(logits=[0.0, 0.0])
        >>> normals = tfd.MultivariateNormalDiag([[0.0, 0.0], [3.0, 3.0]], [[1.0, 1.0], [1.0, 2.0]])
        >>> ours, theirs = NormalMixture(shares, normals), tfd.MixtureSameFamily(shares, normals)
        >>> bool(abs(ours.log_prob([1.0, 2.0]) - theirs.log_prob([1.0, 2.0])) < 1e-5)
        True
    """

    def _per_mixture_component_log_prob(self, x: tf.Tensor) -> tf.Tensor:
        """Log joint densities of points `[..., *event_shape]` and components, `[..., K]`."""
        event, components = self.event_shape.as_list(), self.components_distribution
        if not _are_normals(components):
            raise ValueError(
                "The components must be normals of independent elements; `mixture_of` takes "
                f"others too. Received: {components!r}"
            )
        x = tf.convert_to_tensor(x, self.dtype)
        # What is no point is refused: the rows below would be cut elsewhere.
        x = tf.broadcast_to(
            x, tf.broadcast_dynamic_shape(tf.shape(x), tf.constant(event, tf.int32))
        )
        normals = elements(components)
        points, loc, scale = (
            tf.reshape(tf.cast(t, tf.float64), [-1, math.prod(event)])
            for t in (x, normals.mean(), normals.stddev())
        )
        precision = 1.0 / tf.square(scale)
        distance = tf.reduce_sum(tf.square(loc) * precision, axis=1) + tf.matmul(
            tf.concat([tf.square(points), points], axis=1),
            tf.concat([precision, -2.0 * loc * precision], axis=1),
            transpose_b=True,
        )
        log_volume = tf.reduce_sum(tf.math.log(scale) + 0.5 * math.log(2.0 * math.pi), axis=1)
        log_density = tf.cast(-0.5 * distance - log_volume, self.dtype)
        log_shares = tf.nn.log_softmax(self.mixture_distribution.logits_parameter())
        number = components.batch_shape[0] or tf.shape(loc)[0]
        shape = tf.concat([tf.shape(x)[: tf.rank(x) - len(event)], [number]], axis=0)
        return tf.reshape(log_density + log_shares, shape)


def mixture_of(shares: tfd.Categorical, components: tfd.Distribution) -> tfd.MixtureSameFamily:
    """Returns the mixture of components, as a `NormalMixture` where that is quicker and as exact.

    That is: for K normals of independent elements and of a known event shape in float32 or less,
    and one distribution over them. Otherwise it is a `tfd.MixtureSameFamily`.

    Args:
        shares: of K components, batch shape `[...]`.
        components: of batch shape `[..., K]`.

    Example:
        >>> shares, loc = tfd.Categorical(logits=[0.0, 0.0]), [[0.0], [3.0]]
        >>> type(mixture_of(shares, tfd.MultivariateNormalDiag(loc, [1.0]))).__name__
        'NormalMixture'
        >>> type(mixture_of(shares, tfd.Independent(tfd.Laplace(loc, 1.0), 1))).__name__
        'MixtureSameFamily'
    """
    is_quick = (
        _are_normals(components)
        and components.batch_shape.rank == 1
        and components.event_shape.is_fully_defined()
        and components.dtype.size < tf.float64.size
        and shares.batch_shape.rank == 0
    )
    return (NormalMixture if is_quick else tfd.MixtureSameFamily)(shares, components)


def by_differences(distribution: tfd.Distribution) -> tfd.Distribution:
    """Returns a `NormalMixture` as TFP has it, whose density TFLite can compute.

    Args:
        distribution: of any kind; what is no `NormalMixture` comes back as it is.

    Example:
        >>> normals = tfd.MultivariateNormalDiag([[0.0], [3.0]], [1.0])
        >>> p = mixture_of(tfd.Categorical(logits=[0.0, 0.0]), normals)
        >>> type(by_differences(p)).__name__, by_differences(normals) is normals
        ('MixtureSameFamily', True)
    """
    if not isinstance(distribution, NormalMixture):
        return distribution
    return tfd.MixtureSameFamily(
        distribution.mixture_distribution, distribution.components_distribution
    )


def _are_normals(components: tfd.Distribution) -> bool:
    if isinstance(components, tfd.Independent):
        return isinstance(components.distribution, tfd.Normal)
    return isinstance(components, tfd.MultivariateNormalDiag)
