"""Three estimators of the output of a linear layer whose kernel is random.

For a kernel W with posterior q(W) the layer outputs one draw of y = x * W for each example x of the
batch. All three have, for one example, the same mean and, where q is a product of normals, the same
variance; they differ in how the examples of a batch depend on each other, and so in the variance of
the gradient that is summed over the batch:

* `reparameterization`: one draw of W for the whole batch. Any posterior. The examples are
  correlated, so a larger batch hardly lowers the variance.
* `local_reparameterization`: the output itself is drawn, from the normal that a normal W makes it.
  The examples are independent, and so are the elements of the output, given x.
* `flipout`: one draw of the perturbation W - E[W] for the batch, with signs of its own for each
  example. The examples are uncorrelated (not independent), for two products instead of one.

Each is a function of the input, the posterior, the operation, `draw`, which turns a distribution
into a tensor, and `next_seed`. It returns the output and a draw of the kernel, at which a
divergence may be estimated. Distributions and draws have the dtype of the posterior, float32 at
least; the operations run in the dtype of the input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from tfvae.layers.linear import LinearOperation

Draw = Callable[[tfd.Distribution], tf.Tensor]
NextSeed = Callable[[], tf.Tensor]
Estimator = Callable[
    [tf.Tensor, tfd.Distribution, LinearOperation, Draw, NextSeed], tuple[tf.Tensor, tf.Tensor]
]


def mean_field_normal(posterior: tfd.Distribution) -> tfd.Normal:
    """Returns the normal of each element of a posterior that is a product of normals.

    Raises:
        TypeError: if it is not a `tfd.Independent` over a `tfd.Normal`.
    """
    each = getattr(posterior, "distribution", None)
    if not (isinstance(posterior, tfd.Independent) and isinstance(each, tfd.Normal)):
        raise TypeError(
            "Flipout and local reparameterization need a posterior of independent normals: let "
            "`kernel_posterior_fn` return a `tfd.Independent(tfd.Normal(...))`, as "
            "`default_mean_field_normal_fn()` does, or use a layer with `Reparameterization` in "
            f"its name. Received: {posterior!r}"
        )
    return each


def reparameterization(
    inputs: tf.Tensor,
    posterior: tfd.Distribution,
    operation: LinearOperation,
    draw: Draw,
    next_seed: NextSeed,
) -> tuple[tf.Tensor, tf.Tensor]:
    """One kernel for the batch: y = x * W, W ~ q.

    Reference:
        Blundell, Cornebise, Kavukcuoglu and Wierstra (2015), Weight Uncertainty in Neural Networks,
        arXiv:1505.05424, section 3.2.
    """
    del next_seed
    kernel = draw(posterior)
    return operation(inputs, kernel), kernel


def local_reparameterization(
    inputs: tf.Tensor,
    posterior: tfd.Distribution,
    operation: LinearOperation,
    draw: Draw,
    next_seed: NextSeed,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The output's own noise: y ~ N(x * loc, x^2 * scale^2).

    Reference:
        Kingma, Salimans and Welling (2015), Variational Dropout and the Local Reparameterization
        Trick, arXiv:1506.02557, equation 6.
    """
    del next_seed
    normal = mean_field_normal(posterior)
    mean = tf.cast(operation(inputs, normal.loc), normal.dtype)
    # In the posterior's precision: the square of an activation above 256 overflows in float16.
    variance = operation(tf.square(tf.cast(inputs, normal.dtype)), tf.square(normal.scale))
    # The gradient of a root is infinite at zero, where an example of nothing but zeros is.
    tiny = np.finfo(normal.dtype.as_numpy_dtype).tiny
    outputs = draw(tfd.Normal(mean, tf.sqrt(tf.maximum(variance, tiny))))
    return tf.cast(outputs, inputs.dtype), draw(posterior)


def flipout(
    inputs: tf.Tensor,
    posterior: tfd.Distribution,
    operation: LinearOperation,
    draw: Draw,
    next_seed: NextSeed,
) -> tuple[tf.Tensor, tf.Tensor]:
    """One perturbation with signs for each example: y = x * loc + ((x o s) * dW) o r.

    dW ~ N(0, scale^2) is drawn once a batch; s and r are signs, drawn for each example and
    channel of the input and of the output. For one example s and r leave the distribution of dW,
    which is symmetric, what it was.

    Reference:
        Wen, Vicol, Ba, Tran and Grosse (2018), Flipout: Efficient Pseudo-Independent Weight
        Perturbations on Mini-Batches, arXiv:1803.04386, section 3.1.
    """
    normal = mean_field_normal(posterior)
    perturbation = draw(tfd.Normal(tf.zeros_like(normal.loc), normal.scale))
    mean = operation(inputs, normal.loc)
    noise = operation(inputs * _signs(operation, inputs, next_seed), perturbation)
    return mean + noise * _signs(operation, mean, next_seed), normal.loc + perturbation


def _signs(operation: LinearOperation, tensor: tf.Tensor, next_seed: NextSeed) -> Any:
    return tfp.random.rademacher(operation.sign_shape(tensor), dtype=tensor.dtype, seed=next_seed())
