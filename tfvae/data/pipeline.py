"""From arrays to batches, in an order and with noise that have no state.

Batch number k is a function of (seed, k) and of the arguments, nothing else: a pipeline that
starts at `start_step=k` yields what one that has run since step 0 yields from there on. A training
run that was killed therefore resumes on the very batches it would have seen, and there is no
iterator to save.

The images are captured once, in the dtype they came in. Only indices are shuffled and batched; a
whole batch is then gathered, cast and perturbed at a time.

References:
    Salakhutdinov and Murray (2008), "On the quantitative analysis of deep belief networks" (pixels
    as Bernoulli means). Larochelle and Murray (2011), "The neural autoregressive distribution
    estimator" (one fixed draw). Burda, Grosse and Salakhutdinov (2016), arXiv:1509.00519 (a new
    draw for every epoch). Uria, Murray and Larochelle (2013), arXiv:1306.0186 (dequantisation).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from tfvae.data.array_batches import batches_ahead, without_autotuning
from tfvae.data.checks import check_images, check_integer

if TYPE_CHECKING:
    import tensorflow as tf

# Batches that are put together at once.
_PARALLEL_BATCHES = 2
BINARIZATIONS = ("none", "static", "dynamic")
"""What `pipeline` takes for `binarize`."""


def pipeline(
    images: npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
    *,
    batch_size: int = 128,
    binarize: Literal["none", "static", "dynamic"] = "none",
    dequantize: bool = False,
    shuffle: bool = False,
    seed: int = 0,
    epochs: int | None = 1,
    start_step: int = 0,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Feed images to a model.

    Args:
        images: `[N, H, W, C]`, `[N, H, W]` (a channel axis is added) or vectors `[N, D]`: uint8 in
            0..255 or floats in [0, 1].
        labels: `[N, ...]`, or None.
        batch_size: Examples in a batch.
        binarize: `"none"` keeps the grey levels. `"static"` draws every pixel once from a
            Bernoulli whose mean is the grey level, by a function of (seed, index of the example),
            so the data are the same in every epoch. `"dynamic"` draws anew in every epoch. Numbers
            under one cannot be compared with numbers under another.
        dequantize: Spread each of the 256 levels of uint8 pixels over its own interval,
            `(x + u) / 256` with u uniform in (0, 1), anew in every epoch. For continuous
            likelihoods only, whose densities otherwise grow without bound. The result is never
            exactly 0 or 1.
        shuffle: Whether every epoch has its own random order.
        seed: Seed of order and noise.
        epochs: How many passes the dataset holds, one after another, or None for no end.
        start_step: The batch to start at, counted from 0 over all epochs.
        drop_remainder: Whether to drop the smaller batch at the end of each epoch.

    Returns:
        A dataset with elements `x`, or `(x, y)` if there are labels: `x` is float32 in [0, 1],
        `[B, H, W, C]` or `[B, D]`. Its cardinality is known.

    Raises:
        TypeError: If an argument or the pixels have a wrong type.
        ValueError: If the images are empty, of the wrong rank, not finite or out of range, the
            labels are not as many, or an argument is out of range.

    Example:
        >>> import numpy as np
        >>> images = np.zeros((10, 8, 8, 1), "uint8")
        >>> batches = pipeline(images, batch_size=4, shuffle=True, epochs=2, start_step=1)
        >>> [batch.shape[0] for batch in batches]
        [4, 2, 4, 4, 2]
    """
    import tensorflow as tf

    images = check_images(images)
    labels = _check_labels(labels, len(images))
    if binarize not in BINARIZATIONS:
        raise ValueError(f"`binarize` must be one of {BINARIZATIONS}. Received: {binarize!r}")
    if dequantize and (binarize != "none" or images.dtype != np.uint8):
        raise ValueError(
            "`dequantize` is for uint8 pixels that are not binarized. "
            f"Received: {images.dtype} pixels and binarize={binarize!r}"
        )
    seed = check_integer(seed, "seed", 0, 2**63 - 1)
    steps = steps_per_epoch(len(images), batch_size, drop_remainder)
    if epochs is not None:
        epochs = check_integer(epochs, "epochs", 1)
    start_step = check_integer(start_step, "start_step", 0, epochs and epochs * steps)
    first_epoch, steps_into_epoch = divmod(start_step, steps)

    if binarize == "static":
        images = binarize_images(images, seed)
    with tf.device("CPU:0"):
        pixels = tf.constant(images)
        targets = None if labels is None else tf.constant(labels)

    def rows_of(epoch: tf.Tensor) -> tf.data.Dataset:
        rows = tf.range(len(images), dtype=tf.int64)
        if shuffle:
            rows = tf.random.experimental.stateless_shuffle(rows, [seed, 2 * epoch])
        return tf.data.Dataset.from_tensor_slices(rows).batch(batch_size, drop_remainder)

    def batch_of(step: tf.Tensor, rows: tf.Tensor) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
        x = tf.gather(pixels, rows)
        noise_seed = [seed, 2 * step + 1]  # odd: the even ones order the epochs
        if dequantize:
            x = _dequantize(x, noise_seed)
        else:
            x = tf.cast(x, tf.float32) / 255 if x.dtype == tf.uint8 else tf.cast(x, tf.float32)
        if binarize == "dynamic":
            x = tf.cast(tf.random.stateless_uniform(tf.shape(x), noise_seed) < x, tf.float32)
        return x if targets is None else (x, tf.gather(targets, rows))

    last_epoch = tf.int64.max if epochs is None else epochs
    size = tf.data.INFINITE_CARDINALITY if epochs is None else epochs * steps - start_step
    return without_autotuning(
        tf.data.Dataset.range(first_epoch, last_epoch)
        .flat_map(rows_of)
        .skip(steps_into_epoch)
        .enumerate(start_step)
        .map(batch_of, num_parallel_calls=_PARALLEL_BATCHES)
        .apply(tf.data.experimental.assert_cardinality(size))
        .prefetch(batches_ahead(4 * batch_size * images[0].size))
    )


def steps_per_epoch(num_examples: int, batch_size: int, drop_remainder: bool = False) -> int:
    """How many batches `pipeline` makes of one pass over the data.

    Args:
        num_examples: Number of examples.
        batch_size: Examples in a batch.
        drop_remainder: Whether a smaller last batch is dropped.

    Returns:
        The number of batches, at least 1.

    Raises:
        TypeError: If a number is not an integer.
        ValueError: If a number is below 1, or dropping the remainder would leave no batch.

    Example:
        >>> steps_per_epoch(10, 4), steps_per_epoch(10, 4, drop_remainder=True)
        (3, 2)
    """
    num_examples = check_integer(num_examples, "num_examples", 1)
    batch_size = check_integer(batch_size, "batch_size", 1)
    whole, rest = divmod(num_examples, batch_size)
    if drop_remainder and whole == 0:
        raise ValueError(
            "`drop_remainder` would drop every example: lower `batch_size`. "
            f"Received: {num_examples} examples and batch_size={batch_size}"
        )
    return whole if drop_remainder or not rest else whole + 1


def binarize_images(images: npt.ArrayLike, seed: int = 0) -> np.ndarray:
    """Draw every pixel once from a Bernoulli whose mean is its grey level.

    Example `i` depends on (seed, i) alone, so any number of the first examples agree.

    Args:
        images: As for `pipeline`.
        seed: Seed of the draw.

    Returns:
        uint8 of the values 0 and 255, in the images' shape.

    Raises:
        TypeError: If an argument or the pixels have a wrong type.
        ValueError: If the images are empty, of the wrong rank, not finite or out of range.

    Example:
        >>> import numpy as np
        >>> binarize_images(np.array([[0, 255, 0, 255]], "uint8")).tolist()
        [[0, 255, 0, 255]]
    """
    images = check_images(images)
    stream = np.random.Philox(key=check_integer(seed, "seed", 0, 2**63 - 1))
    drawn = np.empty(images.shape, np.uint8)
    means, bits = images.reshape(-1), drawn.reshape(-1)
    scale = 255 if images.dtype == np.uint8 else 1
    # In pieces, for the numbers drawn are eight times as large as the pixels.
    for start in range(0, means.size, 2**20):
        part = slice(start, start + 2**20)
        uniform = (stream.random_raw(means[part].size) >> np.uint64(11)) * 2.0**-53
        bits[part] = np.where(uniform * scale < means[part], 255, 0)
    return drawn


def _dequantize(x: tf.Tensor, seed: list[tf.Tensor]) -> tf.Tensor:
    import tensorflow as tf

    # 15 bits and a half: with the 8 of the pixel that is all a float32 holds, so nothing is
    # rounded, and no result can reach 0 or 1, where a logit is infinite.
    u = tf.random.stateless_uniform(tf.shape(x), seed, 0, 2**15, tf.int32)
    return (tf.cast(x, tf.float32) + (tf.cast(u, tf.float32) + 0.5) / 2**15) / 256


def _check_labels(labels: npt.ArrayLike | None, num_examples: int) -> np.ndarray | None:
    if labels is None:
        return None
    labels = np.asarray(labels)
    if labels.dtype.kind not in "biuf":
        raise TypeError(f"`labels` must be numbers. Received: dtype {labels.dtype}")
    if labels.shape[:1] != (num_examples,):
        raise ValueError(
            f"There must be as many `labels` as images. "
            f"Received: labels of shape {labels.shape} for {num_examples} images"
        )
    return labels
