"""How steep a decoder is, as a number to be kept small: what replaces the noise of a VAE's code.

The size of its weights, or that of its Jacobian. A Jacobian has a row for every pixel: it is not
computed, but measured without bias along a random direction for each example, at the price of one
backward pass.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from tfvae.distributions import float_dtype

PENALTIES = ("l2", "gradient")


def squared_kernels(decoder: keras.layers.Layer) -> tf.Tensor:
    """The sum of squares of a decoder's kernels, the trained weights of two axes or more.

    Biases and scales have no part in how steep the decoder is, and a bias may hold the mean image.
    """
    kernels = [weight for weight in decoder.trainable_weights if len(weight.shape) > 1]
    squares = [tf.reduce_sum(tf.square(tf.cast(kernel, float_dtype()))) for kernel in kernels]
    return tf.add_n(squares) if squares else tf.zeros([], float_dtype())


def decode_with_gradient(
    decode: Callable[[tf.Tensor], tfd.Distribution], z: tf.Tensor, seed: tf.Tensor
) -> tuple[tfd.Distribution, tf.Tensor]:
    """Decodes, and estimates how much the mean D(z) of p(x|z) changes with z.

    For an example it is the squared Frobenius norm of the Jacobian J = dD(z)/dz,

        |J|^2 = sum_ij (dD_i/dz_j)^2 = E |J'v|^2,   v_i = +1 or -1 with equal chances,

    estimated without bias from one v. J'v is the gradient of v'D(z), one backward pass whatever the
    number of pixels. The examples of a batch must not depend on each other: a decoder with batch
    normalisation is penalised as if they did not.

    Args:
        decode: from codes to p(x|z).
        z: codes `[B, *latent_shape]`.
        seed: int32 `[2]`, fixes the directions v.

    Returns:
        p(x|z), and the estimate `[B]`.

    Reference:
        Hutchinson (1990), A Stochastic Estimator of the Trace of the Influence Matrix for Laplacian
        Smoothing Splines, doi:10.1080/03610919008812866.
    """
    with tf.GradientTape() as tape:
        tape.watch(z)
        p = decode(z)
        mean = p.mean()
        directions = tfp.random.rademacher(tf.shape(mean), dtype=mean.dtype, seed=seed)
        along = tf.reduce_sum(directions * mean)
    gradient = tf.cast(tape.gradient(along, z), mean.dtype)
    return p, tf.reduce_sum(tf.square(gradient), axis=list(range(1, z.shape.rank)))


def refuse_second_penalty(decoder: keras.layers.Layer) -> None:
    """Raises if a kernel has a regulariser of Keras', which would charge it twice.

    Raises:
        ValueError: if it does.
    """
    for weight in decoder.trainable_weights:
        if len(weight.shape) > 1 and getattr(weight, "regularizer", None) is not None:
            raise ValueError(
                "`decoder_penalty='l2'` charges the decoder's kernels, and one has a regulariser "
                "of its own: it would be charged twice. Take one of them out. "
                f"Received: {weight.path!r} with {weight.regularizer!r}"
            )
