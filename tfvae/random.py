"""Random numbers that are the same everywhere: Threefry-2x32 from int32 seeds, one a row.

A seed is a pair of 32-bit integers and stands for one row of the result, whatever the batch that
it is drawn in. The same graph of additions, multiplications, exclusive-ors and right shifts runs in
Python, TensorFlow Serving, TFLite and the browser, and its bits are equal in all of them; normals
differ by the rounding of `log`, `cos` and `sin`, about 1e-6.

The generator turns `key = seed` and `counter = (column, stream)` into two 32-bit words. Rows of
one seed are therefore independent streams, and different `stream`s of one seed are independent
draws: the codes and the pixels of one sample, for example.

TFLite has no left shift, so a rotation is `rotl(x, r) = (x * 2^r) xor (x >> (32 - r))`: the two
operands have no set bit in common.

Reference:
    Salmon, Moraes, Dror and Shaw (2011), Parallel Random Numbers: As Easy as 1, 2, 3, SC'11,
    doi:10.1145/2063384.2063405 (Threefry, 20 rounds, and its known answers).
    Box and Muller (1958), A Note on the Generation of Random Normal Deviates.
    Giles (2012), Approximating the erfinv Function, GPU Computing Gems Jade Edition, chapter 10
    (the variable in which two polynomials are the normal quantile).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.polynomial import Chebyshev, Polynomial

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = 0x1BD11BDA
# Where the quantile's polynomials meet, in -log(1 - x^2), and where they end: beyond the most that
# 23 bits can give, 22 log(2).
_MIDDLE, _TAILS = 5.0, 16.0
_DEGREE = 8
# The stream of `standard_normal`: the last one, which no caller of `uniform` and `normal` takes.
_NUMBERS = 0xFFFFFFFF
# Float32 numbers in the widest vector register, that of AVX-512.
_REGISTER = 16


def _uint32(value: int) -> tf.Tensor:
    return tf.constant(value, tf.uint32)


def _rotate_left(x: tf.Tensor, bits: int) -> tf.Tensor:
    return tf.bitwise.bitwise_xor(
        x * _uint32(2**bits), tf.bitwise.right_shift(x, _uint32(32 - bits))
    )


def threefry_2x32(
    key: tuple[tf.Tensor, tf.Tensor], counter: tuple[tf.Tensor, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Encrypts a counter of two uint32 words under a key of two, in 20 rounds.

    Args:
        key: two uint32 tensors.
        counter: two uint32 tensors that broadcast against the key.

    Returns:
        Two uint32 tensors of the broadcast shape, each uniform over all 32-bit words.

    Example:
        >>> words = threefry_2x32((_uint32(0), _uint32(0)), (_uint32(0), _uint32(0)))
        >>> [hex(int(word)) for word in words]
        ['0x6b200159', '0x99ba4efe']
    """
    xor = tf.bitwise.bitwise_xor
    schedule = (*key, xor(xor(key[0], key[1]), _uint32(_PARITY)))
    x0, x1 = counter[0] + schedule[0], counter[1] + schedule[1]
    for group in range(5):
        for bits in _ROTATIONS[4 * (group % 2) : 4 * (group % 2) + 4]:
            x0 = x0 + x1
            x1 = xor(_rotate_left(x1, bits), x0)
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + schedule[(group + 2) % 3] + _uint32(group + 1)
    return x0, x1


def seeds(seed: int, num_rows: int) -> np.ndarray:
    """Makes one seed a row from one number: row `i` of seed `s` is the pair `(s, i)`.

    Args:
        seed: an integer; its lowest 32 bits count.
        num_rows: the number of rows `N`.

    Returns:
        int32 `[N, 2]`.

    Raises:
        TypeError: if `seed` is not an integer.
        ValueError: if `num_rows` is negative.

    Example:
        >>> seeds(7, 2).tolist()
        [[7, 0], [7, 1]]
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"`seed` must be an integer. Received: {seed!r} ({type(seed).__name__})")
    if num_rows < 0:
        raise ValueError(f"The number of rows must not be negative. Received: {num_rows}")
    word = np.array(int(seed) & 0xFFFFFFFF, np.uint32).astype(np.int32)
    return np.stack([np.full(num_rows, word), np.arange(num_rows, dtype=np.int32)], axis=1)


def _words(row_seeds: Any, num_columns: int, stream: int) -> tuple[tf.Tensor, tf.Tensor]:
    row_seeds = tf.convert_to_tensor(row_seeds)
    if row_seeds.dtype != tf.int32 or row_seeds.shape.rank != 2 or row_seeds.shape[1] != 2:
        raise ValueError(
            "Seeds must be int32 of shape [N, 2], one pair a row: see `tfvae.random.seeds`. "
            f"Received: dtype {row_seeds.dtype.name}, shape {tuple(row_seeds.shape)}"
        )
    # Sliced before the bitcast: TFLite slices int32, not uint32.
    key = tuple(tf.bitcast(row_seeds[:, i : i + 1], tf.uint32) for i in range(2))
    columns = tf.constant(np.arange(num_columns, dtype=np.uint32)[None, :])
    return threefry_2x32(key, (columns, _uint32(stream)))


def _unit_interval(word: tf.Tensor) -> tf.Tensor:
    """Maps a word to the middle of one of 2^23 equal cells of (0, 1): never 0, never 1."""
    top = tf.cast(tf.bitcast(tf.bitwise.right_shift(word, _uint32(9)), tf.int32), tf.float32)
    return (top + 0.5) * np.float32(2.0**-23)


def _box_muller(first: tf.Tensor, second: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Two independent standard normal numbers for each pair of words.

    Args:
        first: random words, uint32 of any shape.
        second: as `first`.

    Returns:
        Two float32 tensors of that shape. The largest magnitude that can occur is 5.77.
    """
    radius = tf.sqrt(-2.0 * tf.math.log(_unit_interval(first)))
    angle = np.float32(2.0 * math.pi) * _unit_interval(second)
    return radius * tf.cos(angle), radius * tf.sin(angle)


def _quantile_polynomial(start: float, end: float, w_of: Callable[[float], float]) -> list[float]:
    """x = 2 u - 1 over the normal quantile, as a polynomial of t from -1 to 1, highest power first.

    Args:
        start: where t is -1, in the variable v.
        end: where t is 1.
        w_of: from v to w = -log(1 - x^2).
    """

    def value(t: float) -> float:
        w = w_of(start + (t + 1.0) / 2.0 * (end - start))
        x = math.sqrt(-math.expm1(-w))
        # The lower tail: doubles are denser near zero than near one.
        below = math.exp(-w) / (2.0 * (1.0 + x))
        return -x / NormalDist().inv_cdf(below)

    fitted = Chebyshev.interpolate(np.vectorize(value), _DEGREE).convert(kind=Polynomial)
    return [float(coefficient) for coefficient in fitted.coef[::-1]]


_IN_THE_MIDDLE = _quantile_polynomial(0.0, _MIDDLE, lambda w: w)
_IN_THE_TAILS = _quantile_polynomial(math.sqrt(_MIDDLE), math.sqrt(_TAILS), lambda root: root**2)


def _quantile(unit: tf.Tensor) -> tf.Tensor:
    """The standard normal number below which a part `unit` of them lies, to 2e-6."""

    def polynomial(coefficients: list[float], v: tf.Tensor, start: float, end: float) -> tf.Tensor:
        return tf.math.polyval(coefficients, (2.0 * v - (start + end)) * (1.0 / (end - start)))

    x = 2.0 * unit - 1.0
    w = -tf.math.log((1.0 - x) * (1.0 + x))
    middle = polynomial(_IN_THE_MIDDLE, w, 0.0, _MIDDLE)
    tails = polynomial(_IN_THE_TAILS, tf.sqrt(w), math.sqrt(_MIDDLE), math.sqrt(_TAILS))
    # A quotient XLA computes once for all that reads it; a product, with the words before it, as
    # often as it is read: by the decoder and two densities in an estimate of the likelihood.
    return x / tf.where(w < _MIDDLE, middle, tails)


@tf.function(
    input_signature=[tf.TensorSpec([2], tf.int32), tf.TensorSpec([], tf.int32)], autograph=False
)
def _standard_normal(seed: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """Two hundred operations that are traced once; every graph that draws then calls them."""
    key = tf.bitcast(seed, tf.uint32)
    counter = tf.bitcast(tf.range(number), tf.uint32)
    # One word of the two, and its quantile: what is joined from two halves, XLA computes slowly.
    word, _ = threefry_2x32((key[0], key[1]), (counter, _uint32(_NUMBERS)))
    return _quantile(_unit_interval(word))


def standard_normal(seed: Any, number: Any) -> tf.Tensor:
    """Draws standard normal numbers from one seed: number `i` is the same however many there are.

    XLA makes one loop of it. Its words are a stream of their own, apart from those of `uniform` and
    `normal` for a row of this seed.

    Args:
        seed: int32 `[2]`.
        number: how many, an integer or a scalar tensor.

    Returns:
        float32 `[number]`, of magnitude 5.3 at most.

    Example:
        >>> seed = tf.constant([3, 4])
        >>> many, few = standard_normal(seed, 5), standard_normal(seed, 2)
        >>> bool(tf.reduce_all(tf.abs(many[:2] - few) < 1e-6))
        True
    """
    return _standard_normal(seed, tf.cast(number, tf.int32))


def uniform(row_seeds: Any, num_columns: int, stream: int = 0) -> tf.Tensor:
    """Draws uniform numbers in the open interval (0, 1).

    Args:
        row_seeds: int32 `[N, 2]`, a seed for each row.
        num_columns: numbers a row.
        stream: which of the independent draws of a seed.

    Returns:
        float32 `[N, num_columns]`.

    Raises:
        ValueError: if the seeds have another shape or dtype.
    """
    half = -(-num_columns // 2)
    first, second = _words(row_seeds, half, stream)
    return _unit_interval(tf.concat([first, second], axis=1)[:, :num_columns])


def normal(row_seeds: Any, num_columns: int, stream: int = 0) -> tf.Tensor:
    """Draws standard normal numbers; by pairs of words.

    Args:
        row_seeds: int32 `[N, 2]`, a seed for each row.
        num_columns: numbers a row.
        stream: which of the independent draws of a seed.

    Returns:
        float32 `[N, num_columns]`.

    Raises:
        ValueError: if the seeds have another shape or dtype.

    Example:
        >>> together, alone = normal(seeds(3, 4), 5), normal(seeds(3, 4)[2:3], 5)
        >>> bool(tf.reduce_all(together[2] == alone[0]))
        True
    """
    half = -(-num_columns // 2)
    # Eigen computes the last few numbers of a tensor, those that fill no vector register, by other
    # formulas: rows of whole registers keep a row's last bit the same in every batch.
    padded = -(-half // _REGISTER) * _REGISTER
    halves = [numbers[:, :half] for numbers in _box_muller(*_words(row_seeds, padded, stream))]
    return tf.concat(halves, axis=1)[:, :num_columns]
