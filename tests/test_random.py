"""Threefry-2x32: known answers, an independent implementation, moments, and equal bits."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfvae import random


def reference_threefry(key, counter):
    """Threefry-2x32 with 20 rounds, written from the paper in Python's own integers."""
    mask = 0xFFFFFFFF
    keys = [key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDA]
    x, y = (counter[0] + keys[0]) & mask, (counter[1] + keys[1]) & mask
    for number in range(20):
        turn = [13, 15, 26, 6, 17, 29, 16, 24][number % 8]
        x = (x + y) & mask
        y = ((y << turn) | (y >> (32 - turn))) & mask
        y ^= x
        if number % 4 == 3:
            injected = number // 4 + 1
            x = (x + keys[injected % 3]) & mask
            y = (y + keys[(injected + 1) % 3] + injected) & mask
    return x, y


KNOWN = {
    "digits of pi": (
        (0x13198A2E, 0x03707344),
        (0x243F6A88, 0x85A308D3),
        (0xC4923A9C, 0x483DF7A0),
    ),
    "zeros": ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
}


def threefry(key, counter):
    as_words = [tuple(tf.constant(w, tf.uint32) for w in pair) for pair in (key, counter)]
    return tuple(word.numpy() for word in random.threefry_2x32(*as_words))


@pytest.mark.parametrize("name", KNOWN)
def test_known_answers(name):
    key, counter, answer = KNOWN[name]
    assert tuple(int(word) for word in threefry(key, counter)) == answer
    assert reference_threefry(key, counter) == answer


def test_random_keys_and_counters_give_the_bits_of_the_independent_implementation():
    words = np.random.default_rng(0).integers(0, 2**32, (4, 1000), dtype=np.uint32)
    words[:, :4] = [[0, 2**32 - 1, 1, 2**31]] * 4
    first, second = threefry((words[0], words[1]), (words[2], words[3]))
    rows = words.T.tolist()
    expected = np.uint32([reference_threefry(row[:2], row[2:]) for row in rows])
    np.testing.assert_array_equal(np.stack([first, second], 1), expected)


@pytest.mark.parametrize("stream", [0, 3])
def test_numbers_are_made_of_the_words_as_documented(stream):
    seeds = np.int32([[5, 0], [-1, 2**31 - 1], [-(2**31), 9]])
    columns = 7
    words = np.zeros((3, 2, 4), np.int64)
    for row, (high, low) in enumerate(seeds.astype(np.int64) & 0xFFFFFFFF):
        for column in range(4):
            words[row, :, column] = reference_threefry((int(high), int(low)), (column, stream))
    unit = ((words >> 9) + 0.5) * 2.0**-23
    expected = unit.reshape(3, 8)[:, :columns].astype(np.float32)
    np.testing.assert_array_equal(random.uniform(seeds, columns, stream), expected)
    radius, angle = np.sqrt(-2 * np.log(unit[:, 0])), 2 * np.pi * unit[:, 1]
    normals = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], 1)[:, :columns]
    np.testing.assert_allclose(random.normal(seeds, columns, stream), normals, atol=2e-6)


COMPILED = {
    "function": lambda fn: tf.function(fn),
    "xla": lambda fn: tf.function(fn, jit_compile=True),
}


@pytest.mark.parametrize("kind", COMPILED)
def test_a_compiled_graph_gives_the_same_bits(kind):
    seeds = tf.constant(random.seeds(11, 100))
    compiled = COMPILED[kind](lambda s: random.uniform(s, 31, 2))
    np.testing.assert_array_equal(compiled(seeds), random.uniform(seeds, 31, 2))
    # Rounding of log, cos and sin may differ, the bits beneath do not.
    compiled = COMPILED[kind](lambda s: random.normal(s, 31, 2))
    np.testing.assert_allclose(compiled(seeds), random.normal(seeds, 31, 2), atol=2e-6)


def test_a_graph_with_an_unknown_number_of_rows_gives_the_same_bits():
    signature = [tf.TensorSpec((None, 2), tf.int32)]
    compiled = tf.function(lambda s: random.uniform(s, 5), input_signature=signature)
    for rows in (1, 3):
        seeds = random.seeds(2, rows)
        np.testing.assert_array_equal(compiled(seeds), random.uniform(seeds, 5))


@pytest.mark.parametrize("draw", [random.uniform, random.normal])
@pytest.mark.parametrize("columns", [1, 9, 50])
def test_a_batch_equals_its_rows_drawn_one_by_one(draw, columns):
    seeds = random.seeds(3, 67)
    alone = np.concatenate([draw(seeds[i : i + 1], columns) for i in range(67)])
    np.testing.assert_array_equal(draw(seeds, columns), alone)
    np.testing.assert_array_equal(draw(seeds[::-1], columns), alone[::-1])


@pytest.mark.parametrize("draw", [random.uniform, random.normal])
def test_rows_seeds_and_streams_are_all_different(draw):
    rows = np.concatenate(
        [draw(random.seeds(s, 10), 8, stream) for s in (0, 1) for stream in (0, 1)]
    )
    assert len(np.unique(rows)) == rows.size


N = 200_000


@pytest.fixture(scope="module")
def uniforms():
    return random.uniform(random.seeds(0, N // 100), 100).numpy().ravel()


@pytest.fixture(scope="module")
def normals():
    return random.normal(random.seeds(0, N // 100), 100).numpy().ravel()


def test_uniform_numbers_lie_strictly_inside_the_unit_interval(uniforms):
    assert 0 < uniforms.min() < 1e-4
    assert 1 - 1e-4 < uniforms.max() < 1


def test_the_extreme_words_give_numbers_inside_the_unit_interval():
    unit = random._unit_interval(tf.constant([0, 2**32 - 1], tf.uint32)).numpy()
    np.testing.assert_array_equal(unit, np.float32([2.0**-24, 1 - 2.0**-24]))


def test_uniform_numbers_are_uniform(uniforms):
    # Seed 0, 200,000 numbers: four standard errors, and Kolmogorov and Smirnov's test at 1 in 1000.
    assert abs(uniforms.mean() - 1 / 2) < 4 * np.sqrt(1 / 12 / N)
    assert abs(uniforms.var() - 1 / 12) < 4 * np.sqrt(1 / 180 / N)
    assert stats.kstest(uniforms, "uniform").pvalue > 1e-3


def test_normal_numbers_are_normal(normals):
    # As above; the variance of z^2, z^3 and z^4 is 2, 15 and 96.
    z = normals.astype(np.float64)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - moment) < 4 * np.sqrt(variance / N)
    assert stats.kstest(z, "norm").pvalue > 1e-3
    assert np.abs(z).max() < np.sqrt(2 * 24 * np.log(2))


def test_neighbours_are_uncorrelated(normals):
    rows = normals.reshape(-1, 100)
    for a, b in (
        (rows[:, :-1], rows[:, 1:]),
        (rows[:-1], rows[1:]),
        # Cosine and sine of one angle.
        (rows[:, :50], rows[:, 50:]),
        (rows[:, :50] ** 2, rows[:, 50:] ** 2),
    ):
        correlation = np.corrcoef(a.ravel(), b.ravel())[0, 1]
        assert abs(correlation) < 4 / np.sqrt(a.size)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_quantile_of_every_number_of_23_bits(jit_compile):
    unit = (np.arange(2**23) + 0.5) * 2.0**-23
    quantile = tf.function(random._quantile, jit_compile=jit_compile)
    made = quantile(tf.constant(unit, tf.float32)).numpy()
    np.testing.assert_allclose(made, stats.norm.ppf(unit), rtol=5e-7, atol=1e-7)
    assert (np.diff(made) >= 0).all()


def test_numbers_of_one_seed_are_quantiles_of_the_words():
    seed = np.int32([-5, 9])
    key = [int(word) & 0xFFFFFFFF for word in seed]
    unit = [((reference_threefry(key, (i, 2**32 - 1))[0] >> 9) + 0.5) * 2.0**-23 for i in range(50)]
    for count in (50, np.int64(7), tf.constant(7)):
        made = random.standard_normal(seed, count)
        np.testing.assert_allclose(made, stats.norm.ppf(unit)[: int(count)], rtol=1e-6)


def test_xla_computes_numbers_once_for_all_that_read_them():
    uses = [tf.square, tf.abs, lambda z: tf.reduce_sum(tf.reshape(z, [10, 100]) ** 3, axis=0)]

    def exclusive_ors(count):
        def used(seed):
            numbers = random.standard_normal(seed, 1000)
            return [use(numbers) for use in uses[:count]]

        compiled = tf.function(used, jit_compile=True)
        hlo = compiled.experimental_get_compiler_ir(tf.constant([3, 7]))(stage="optimized_hlo")
        return hlo.count(" xor(")

    assert exclusive_ors(3) == exclusive_ors(1) > 20


def test_numbers_of_one_seed_are_normal_and_independent_of_their_neighbours_and_other_seeds():
    # Seeds (0, 0) and (0, 1), 200,000 numbers each: as above.
    first, second = (random.standard_normal(np.int32([0, i]), N).numpy() for i in (0, 1))
    z = first.astype(np.float64)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - moment) < 4 * np.sqrt(variance / N)
    assert stats.kstest(z, "norm").pvalue > 1e-3
    for a, b in ((z[:-1], z[1:]), (z[:-2] ** 2, z[2:] ** 2), (z[:-50], z[50:]), (z, second)):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(N)


def test_seeds_are_pairs_of_the_seed_and_the_row():
    made = random.seeds(7, 3)
    assert made.dtype == np.int32
    np.testing.assert_array_equal(made, [[7, 0], [7, 1], [7, 2]])
    assert random.seeds(7, 0).shape == (0, 2)
    np.testing.assert_array_equal(random.seeds(np.int64(7), 3), made)


@pytest.mark.parametrize(
    ("seed", "word"), [(-1, -1), (2**32 - 1, -1), (2**31, -(2**31)), (2**40, 0)]
)
def test_the_lowest_32_bits_of_a_seed_count(seed, word):
    assert random.seeds(seed, 1).tolist() == [[word, 0]]


@pytest.mark.parametrize("wrong", [1.0, "1", None, True, [1]], ids=repr)
def test_seeds_refuses_what_is_not_an_integer(wrong):
    with pytest.raises(TypeError, match=r"`seed` must be an integer. Received"):
        random.seeds(wrong, 3)


def test_seeds_refuses_a_negative_number_of_rows():
    with pytest.raises(ValueError, match=r"must not be negative. Received: -1"):
        random.seeds(0, -1)


WRONG_SEEDS = {
    "int64": np.zeros((3, 2), np.int64),
    "float": np.zeros((3, 2), np.float32),
    "one seed": np.zeros(2, np.int32),
    "three words": np.zeros((3, 3), np.int32),
}


@pytest.mark.parametrize("name", WRONG_SEEDS)
@pytest.mark.parametrize("draw", [random.uniform, random.normal])
def test_draws_refuse_other_seeds(draw, name):
    with pytest.raises(ValueError, match=r"int32 of shape \[N, 2\].*Received: dtype"):
        draw(WRONG_SEEDS[name], 4)
