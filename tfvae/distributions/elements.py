"""A distribution of independent elements as its elements: what is measured for each dimension."""

from __future__ import annotations

from tensorflow_probability import distributions as tfd

from tfvae.distributions.bridge import plain


def elements(distribution: tfd.Distribution) -> tfd.Distribution:
    """Returns the distribution of each element: the event's shape becomes part of the batch's.

    Args:
        distribution: a distribution whose elements are independent: `MultivariateNormalDiag` or
            `Independent`.

    Returns:
        A distribution of scalars with batch shape `[*batch_shape, *event_shape]`.

    Raises:
        ValueError: for a distribution whose elements may depend on each other.

    Example:
        >>> q = tfd.MultivariateNormalDiag(tf.zeros([3, 2]), tf.ones([3, 2]))
        >>> elements(q).batch_shape.as_list(), elements(q).event_shape.as_list()
        ([3, 2], [])
    """
    made = plain(distribution)
    if isinstance(made, tfd.MultivariateNormalDiag):
        return tfd.Normal(made.mean(), made.stddev())
    if isinstance(made, tfd.Independent) and made.distribution.event_shape.rank == 0:
        return made.distribution
    raise ValueError(
        "What is measured for each dimension needs a distribution of independent dimensions, such "
        "as `tfvae.layers.MultivariateNormalDiag` or `tfvae.priors.StandardNormal` make. "
        f"Received: {distribution!r}"
    )


def elements_or_none(distribution: tfd.Distribution) -> tfd.Distribution | None:
    """As `elements`; `None` where elements may depend on each other."""
    try:
        return elements(distribution)
    except ValueError:
        return None
