"""The one code that stands for a distribution over codes."""

from __future__ import annotations

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions.bridge import plain

# TFP makes an instance of the base class where a bijector cannot cross the border of a function.
TRANSFORMED = tfd.TransformedDistribution.__mro__[1]


def central_value(distribution: tfd.Distribution) -> tf.Tensor:
    """The mean; of a flow, which has none in closed form, where it takes its base's mean.

    That is the image of the most probable noise. It is no average: that of draws is
    `distribution.sample(S)`'s mean.

    Args:
        distribution: any distribution, with or without a value.

    Returns:
        `[B, *event]`.

    Raises:
        NotImplementedError: if neither it nor what it is a flow of has a mean in closed form.

    Example:
        >>> from tensorflow_probability import bijectors as tfb
        >>> central_value(tfd.TransformedDistribution(tfd.Normal([2.0], 1.0), tfb.Square())).numpy()
        array([4.], dtype=float32)
    """
    distribution = plain(distribution)
    try:
        return distribution.mean()
    except NotImplementedError:
        if not isinstance(distribution, TRANSFORMED):
            raise
    return distribution.bijector.forward(central_value(distribution.distribution))
