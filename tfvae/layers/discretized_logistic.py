"""Images of 256 grey levels, as probabilities of the levels.

**Units of the data.** Pixels are levels divided by 255, `0, 1/255, ..., 1`; `validate_args` refuses
others. Dequantised or resized images have none: round them, or use a density such as
`IndependentContinuousBernoulli`.

**Units of the parameters.** Locations and scales are those of the papers, where data spans
[-1, 1]: parameters of zero mean a grey of 1/2 and a scale of half the range, and the logarithm of
the scale is smoothly bounded to [-7, 7]. At the lower bound a level can hold 97% of the
probability: lower still, and a few pixels that are always the same would take all of the training.

**Arithmetic.** See `tfvae.distributions.DiscretizedLogistic`, which is exact in every level.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfvae.distributions import DiscretizedLogistic as DiscretizedLogisticDistribution
from tfvae.distributions import smooth_clip
from tfvae.layers.distribution_layer import DistributionLayer
from tfvae.layers.independent import IndependentLayer
from tfvae.layers.parameters import (
    event_shape_tuple,
    event_size,
    positive_integer,
    split_parameters,
)

LOG_SCALE_BOUND = 7.0


def _levels(
    loc: tf.Tensor, log_scale: tf.Tensor, validate_args: bool
) -> DiscretizedLogisticDistribution:
    """The distribution of levels in [0, 1] from parameters in units where they span [-1, 1]."""
    scale = tf.exp(smooth_clip(log_scale, -LOG_SCALE_BOUND, LOG_SCALE_BOUND))
    return DiscretizedLogisticDistribution(
        0.5 * (loc + 1.0), 0.5 * scale, validate_args=validate_args
    )


@keras.saving.register_keras_serializable(package="tfvae")
class DiscretizedLogistic(IndependentLayer):
    """Independent pixels of 256 grey levels, each a logistic variable that is rounded.

    The parameters `[..., 2 * event_size]` are locations and logarithms of scales. `log_prob` is the
    logarithm of a probability: in nats, so that `-log_prob / (event_size * log(2))` is the number
    of bits a pixel. Units and support: see the module.

    Args:
        event_shape: shape of an event, such as `(32, 32, 3)`.
        convert_to_tensor_fn: how the distribution becomes a tensor; a draw has no gradient.
        validate_args: whether data is checked at every call to be levels.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.

    Example:
        >>> p = DiscretizedLogistic(1)(tf.zeros([1, 2]))
        >>> levels = np.arange(256, dtype="float32")[:, None, None] / 255
        >>> round(float(tf.reduce_sum(p.prob(levels))), 5), round(float(p.mean()[0, 0]), 5)
        (1.0, 0.5)

    Reference:
        Kingma et al. (2016), Improving Variational Inference with Inverse Autoregressive Flow,
        arXiv:1606.04934, appendix C; Salimans et al. (2017), PixelCNN++, arXiv:1701.05517,
        section 2.1; Vahdat and Kautz (2020), NVAE, arXiv:2007.03898.
    """

    support = (0.0, 1.0)
    params_per_element = 2

    @staticmethod
    def elements(
        loc: tf.Tensor, log_scale: tf.Tensor, *, validate_args: bool
    ) -> DiscretizedLogisticDistribution:
        return _levels(loc, log_scale, validate_args)


@keras.saving.register_keras_serializable(package="tfvae")
class MixtureDiscretizedLogistic(DistributionLayer):
    """Independent pixels of 256 grey levels, each a mixture of rounded logistic variables.

    Every element has a mixture of its own (`MixtureLogistic` has one for the whole event). The
    parameters `[..., 3 * num_components * event_size]` are, for each component in turn, the logits
    of all elements, then likewise the locations, then the logarithms of the scales. Units and
    support: see the module. PixelCNN++ and NVAE also let the channels of a pixel depend on one
    another; here they are independent, given the code.

    Args:
        num_components: the number of components; the papers use 10.
        event_shape: shape of an event, such as `(32, 32, 3)`.
        convert_to_tensor_fn: how the distribution becomes a tensor; a draw has no gradient.
        validate_args: whether data is checked at every call to be levels.
        **kwargs: `activity_regularizer`, `seed`, `name`, `dtype`, `trainable`.

    Raises:
        ValueError: if `num_components` is not a positive integer.

    Example:
        >>> size = MixtureDiscretizedLogistic.params_size(5, (2, 2))
        >>> p = MixtureDiscretizedLogistic(5, (2, 2))(tf.zeros([3, size]))
        >>> size, tuple(p.log_prob(tf.zeros([3, 2, 2])).shape)
        (60, (3,))

    Reference:
        Salimans, Karpathy, Chen and Kingma (2017), PixelCNN++, arXiv:1701.05517, section 2.1.
    """

    support = (0.0, 1.0)

    def __init__(
        self,
        num_components: int,
        event_shape: Any = (),
        convert_to_tensor_fn: Any = tfd.Distribution.sample,
        validate_args: bool = False,
        **kwargs: Any,
    ) -> None:
        arguments = {
            "num_components": positive_integer(num_components, "num_components"),
            "event_shape": event_shape_tuple(event_shape),
            "validate_args": validate_args,
        }
        super().__init__(arguments, convert_to_tensor_fn, **kwargs)

    @staticmethod
    def new(
        params: Any,
        num_components: int,
        event_shape: Any = (),
        validate_args: bool = False,
        name: str | None = None,
    ) -> tfd.Independent:
        """Makes the distribution from `[..., 3 * num_components * event_size]`."""
        parts = split_parameters(params, event_shape, 3 * num_components)
        logits, loc, log_scale = (
            tf.stack(parts[start : start + num_components], axis=-1)
            for start in range(0, 3 * num_components, num_components)
        )
        elements = tfd.MixtureSameFamily(
            tfd.Categorical(logits=logits, validate_args=validate_args),
            _levels(loc, log_scale, validate_args),
            validate_args=validate_args,
        )
        return tfd.Independent(
            elements,
            reinterpreted_batch_ndims=len(event_shape_tuple(event_shape)),
            validate_args=validate_args,
            name=name or "MixtureDiscretizedLogistic",
        )

    @staticmethod
    def params_size(num_components: int, event_shape: Any = (), name: str | None = None) -> int:
        """Number of parameters: three for each component of each element."""
        return 3 * positive_integer(num_components, "num_components") * event_size(event_shape)
