from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfvae.data import binarize_images, pipeline, steps_per_epoch

NUM, BATCH = 23, 5


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (NUM, 4, 3, 1), dtype=np.uint8)


def batches(*arguments, **options) -> list:
    return list(pipeline(*arguments, batch_size=BATCH, **options).as_numpy_iterator())


MODES = [
    {},
    {"binarize": "static"},
    {"binarize": "dynamic"},
    {"dequantize": True},
]


@pytest.mark.parametrize("drop_remainder", [False, True])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_late_start_yields_what_was_to_come(images, mode, drop_remainder):
    options = {**mode, "shuffle": True, "seed": 4, "epochs": 3, "drop_remainder": drop_remainder}
    labels = np.arange(NUM)
    whole = batches(images, labels, **options)
    steps = steps_per_epoch(NUM, BATCH, drop_remainder)
    assert len(whole) == 3 * steps == (12 if drop_remainder else 15)
    for start in (1, steps - 1, steps, steps + 2, 3 * steps - 1, 3 * steps):
        rest = batches(images, labels, **options, start_step=start)
        assert len(rest) == len(whole) - start
        for (x, y), (x_whole, y_whole) in zip(rest, whole[start:], strict=True):
            np.testing.assert_array_equal(x, x_whole)
            np.testing.assert_array_equal(y, y_whole)


def test_the_number_of_epochs_does_not_change_the_batches(images):
    options = {"shuffle": True, "binarize": "dynamic"}
    endless = pipeline(images, batch_size=BATCH, epochs=None, start_step=3, **options)
    assert endless.cardinality() == tf.data.INFINITE_CARDINALITY
    finite = batches(images, epochs=4, start_step=3, **options)
    for x, y in zip(finite, endless.as_numpy_iterator(), strict=False):
        np.testing.assert_array_equal(x, y)


def test_every_epoch_is_another_permutation(images):
    labels = np.arange(NUM)
    seen = np.concatenate([y for _, y in batches(images, labels, shuffle=True, epochs=3)])
    epochs = seen.reshape(3, NUM)
    for epoch in epochs:
        assert sorted(epoch) == list(range(NUM))
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[1], epochs[2])
    other = np.concatenate([y for _, y in batches(images, labels, shuffle=True, seed=1)])
    assert not np.array_equal(other, epochs[0])


def test_all_places_are_equally_likely():
    # 500 epochs of 6 examples: each of the 36 counts is binomial with mean 500 / 6.
    order = pipeline(np.zeros((6, 1)), np.arange(6), batch_size=6, shuffle=True, epochs=500)
    seen = np.stack([y for _, y in order.as_numpy_iterator()])
    counts = np.stack([(seen == i).sum(axis=0) for i in range(6)])
    assert np.abs(counts - 500 / 6).max() < 4.5 * np.sqrt(500 / 6 * 5 / 6)


def test_without_shuffling_the_order_is_kept(images):
    x = np.concatenate(batches(images))
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, images.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("drop_remainder", [False, True])
def test_element_spec_and_cardinality(images, drop_remainder):
    dataset = pipeline(
        images,
        np.zeros((NUM, 2), "int32"),
        batch_size=BATCH,
        epochs=2,
        start_step=1,
        drop_remainder=drop_remainder,
    )
    x, y = dataset.element_spec
    batch = BATCH if drop_remainder else None
    assert x == tf.TensorSpec((batch, 4, 3, 1), tf.float32)
    assert y == tf.TensorSpec((batch, 2), tf.int32)
    assert int(dataset.cardinality()) == (7 if drop_remainder else 9)


def test_ranks(images):
    assert batches(images[..., 0])[0].shape == (BATCH, 4, 3, 1)
    assert batches(images.reshape(NUM, -1))[0].shape == (BATCH, 12)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_pass_through(dtype):
    levels = (np.arange(10) / 16).astype(dtype)[:, None]
    x = np.concatenate(batches(levels))
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, levels.astype(np.float32))


@pytest.mark.parametrize("kind", ["uint8", "float32"])
@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_binarized_pixels_have_the_grey_level_as_their_mean(kind, mode):
    levels = np.linspace(0, 1, 52)
    images = np.tile(levels, (4000, 1))
    images = np.rint(255 * images).astype(kind) if kind == "uint8" else images.astype(kind)
    drawn = pipeline(images, batch_size=1000, binarize=mode, seed=7).as_numpy_iterator()
    drawn = np.concatenate(list(drawn))
    assert set(np.unique(drawn)) == {0, 1}
    error = np.sqrt(levels * (1 - levels) / 4000)
    assert np.all(np.abs(drawn.mean(axis=0) - levels) <= 4 * error)
    # Pixels are independent: a correlation over 4000 examples has a standard error of 1/sqrt(4000).
    together = np.corrcoef(drawn[:, 1:-1].T)
    np.fill_diagonal(together, 0)
    assert np.abs(together).max() < 5 / np.sqrt(4000)


def test_dynamic_noise_is_new_for_every_batch_and_epoch_and_static_is_not():
    images = np.full((BATCH * 2, 100), 128, np.uint8)
    dynamic = np.stack(batches(images, binarize="dynamic", epochs=2))
    for one, other in ((0, 1), (0, 2), (1, 3)):
        # Two independent fair draws agree in half of the 500 pixels, give or take 11.
        assert abs((dynamic[one] == dynamic[other]).mean() - 0.5) < 5 * 0.5 / np.sqrt(500)
    static = np.stack(batches(images, binarize="static", epochs=2))
    np.testing.assert_array_equal(static[:2], static[2:])
    assert abs((static[0] == static[1]).mean() - 0.5) < 5 * 0.5 / np.sqrt(500)


def test_the_static_draw_belongs_to_the_example(images):
    labels = np.arange(NUM)
    drawn = binarize_images(images, seed=4)
    for x, y in batches(images, labels, binarize="static", shuffle=True, seed=4, epochs=2):
        np.testing.assert_array_equal(x, drawn[y] / np.float32(255))
    np.testing.assert_array_equal(binarize_images(images[:9], seed=4), drawn[:9])
    assert not np.array_equal(binarize_images(images, seed=5), drawn)


def test_a_long_draw_does_not_depend_on_its_pieces():
    images = np.full((3, 1_000_000), 100, np.uint8)
    whole = binarize_images(images)
    np.testing.assert_array_equal(binarize_images(images[:2]), whole[:2])
    assert abs(whole.mean() / 255 - 100 / 255) < 4 * np.sqrt(0.39 * 0.61 / 3e6)


def test_black_and_white_survive_binarization():
    images = np.tile(np.array([0, 255], np.uint8), (1000, 50))
    for mode in ("static", "dynamic"):
        x = next(pipeline(images, batch_size=1000, binarize=mode).as_numpy_iterator())
        np.testing.assert_array_equal(x, images / np.float32(255))


def test_dequantized_pixels_fill_their_intervals():
    images = np.tile(np.array([0, 7, 255], np.uint8), (20_000, 1))
    x = next(pipeline(images, batch_size=20_000, dequantize=True).as_numpy_iterator())
    np.testing.assert_array_equal(np.floor(x * 256), images)
    assert x.min() > 0
    assert x.max() < 1
    u = x * 256.0 - images
    # A uniform has mean 1/2, variance 1/12 and standard deviation of the square 1/sqrt(180).
    assert np.abs(u.mean(axis=0) - 1 / 2).max() < 4 * np.sqrt(1 / 12 / 20_000)
    assert np.abs(((u - 0.5) ** 2).mean(axis=0) - 1 / 12).max() < 4 * np.sqrt(1 / 180 / 20_000)
    first, second = batches(np.zeros((BATCH, 100), np.uint8), dequantize=True, epochs=2)
    assert (first != second).mean() > 0.99


@pytest.mark.parametrize("dtype", ["int64", "float32", "bool"])
def test_labels_keep_their_dtype(images, dtype):
    _, y = batches(images, np.zeros(NUM, dtype))[0]
    assert y.dtype == dtype


def test_the_arrays_are_captured_not_baked_in():
    # A constant inside the graph would be copied with it, and could not pass 2 GiB.
    def functions(dataset):
        found = [f.function.function_def.ByteSize() for f in dataset._functions()]
        return found + [size for inner in dataset._inputs() for size in functions(inner)]

    images = np.ones((1000, 50), np.uint8)
    baked = tf.data.Dataset.range(9).map(lambda row: tf.gather(images, row))
    assert max(functions(baked)) > images.nbytes
    sizes = functions(pipeline(images))
    assert len(sizes) >= 2
    assert max(sizes) < images.nbytes / 4


def test_steps_per_epoch():
    assert steps_per_epoch(10, 5) == steps_per_epoch(10, 5, drop_remainder=True) == 2
    assert steps_per_epoch(11, 5) == 3
    assert steps_per_epoch(11, 5, drop_remainder=True) == 2
    assert steps_per_epoch(3, 5) == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"images": np.zeros((5, 4)) + 255.0}, ValueError, r"divide pixels of 0..255 by 255"),
        ({"images": np.full((5, 4), np.nan)}, ValueError, r"must be finite"),
        ({"images": np.zeros(5)}, ValueError, r"must have shape .*Received: shape \(5,\)"),
        ({"images": np.zeros((0, 4))}, ValueError, r"is empty"),
        ({"labels": np.zeros(4)}, ValueError, r"as many `labels` .*shape \(4,\) for 5 images"),
        ({"labels": ["a"] * 5}, TypeError, r"`labels` must be numbers. Received: dtype <U1"),
        ({"batch_size": 0}, ValueError, r"`batch_size` must be at least 1. Received: 0"),
        ({"batch_size": 2.0}, TypeError, r"`batch_size` must be an integer. Received: 2.0"),
        ({"binarize": True}, ValueError, r"must be one of \('none', .*Received: True"),
        ({"dequantize": True}, ValueError, r"for uint8 .*float64 pixels and binarize='none'"),
        (
            {"images": np.zeros((5, 4), "uint8"), "dequantize": True, "binarize": "static"},
            ValueError,
            r"not binarized. Received: uint8 pixels and binarize='static'",
        ),
        ({"seed": -1}, ValueError, r"`seed` must be in .*Received: -1"),
        ({"epochs": 0}, ValueError, r"`epochs` must be at least 1. Received: 0"),
        ({"start_step": -1}, ValueError, r"`start_step` must be in \[0, 2\]. Received: -1"),
        ({"start_step": 3}, ValueError, r"`start_step` must be in \[0, 2\]. Received: 3"),
        (
            {"batch_size": 6, "drop_remainder": True},
            ValueError,
            r"would drop every example.*Received: 5 examples and batch_size=6",
        ),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        pipeline(**{"images": np.zeros((5, 4)), "batch_size": 3, **options})
