"""Draws of the diagonal normal: what a seed means, and that they are normal."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats
from tensorflow_probability import distributions as tfd

from tfvae.distributions import MultivariateNormalDiag, as_tensor_like

LOC, SCALE = tf.constant([[1.0, -2.0, 0.5]]), tf.constant([[0.5, 1.0, 3.0]])


def test_a_seed_is_one_draw_compiled_or_not():
    q = MultivariateNormalDiag(LOC, SCALE)
    # The seed is an argument: a draw from a constant one is made before anything is compiled.
    seed = tf.constant([3, 7])
    draws = [
        tf.function(lambda seed: q.sample(4, seed=seed), jit_compile=jit)(seed)
        for jit in (False, True)
    ]
    assert draws[0].shape == (4, 1, 3)
    np.testing.assert_allclose(draws[0], draws[1], atol=1e-5)


@pytest.mark.parametrize("shape", [(), 3, (2, 3)])
def test_shapes_and_seeds_as_in_tfp(shape):
    ours, theirs = MultivariateNormalDiag(LOC, SCALE), tfd.MultivariateNormalDiag(LOC, SCALE)
    assert ours.sample(shape).shape == theirs.sample(shape, seed=1).shape
    np.testing.assert_array_equal(ours.sample(shape, seed=[1, 2]), ours.sample(shape, seed=[1, 2]))
    without_loc = MultivariateNormalDiag(scale_diag=SCALE)
    np.testing.assert_allclose(
        ours.sample(shape, seed=[1, 2]) - LOC, without_loc.sample(shape, seed=[1, 2]), atol=1e-6
    )


def test_a_draws_static_shape_has_all_that_is_known():
    signature = [tf.TensorSpec([None, 1, 2])]
    drawn = tf.function(
        lambda loc: MultivariateNormalDiag(loc, tf.ones([2])).sample(3, seed=[1, 2]),
        input_signature=signature,
    ).get_concrete_function()
    assert drawn.structured_outputs.shape.as_list() == [3, None, 1, 2]


def test_the_draws_are_its_own():
    """Kolmogorov and Smirnov, 20,000 draws a dimension, at seed (0, 5)."""
    draws = MultivariateNormalDiag(LOC, SCALE).sample(20_000, seed=[0, 5]).numpy()[:, 0]
    noise = (draws - LOC.numpy()) / SCALE.numpy()
    assert min(stats.kstest(column, "norm").pvalue for column in noise.T) > 0.01
    np.testing.assert_allclose(np.corrcoef(noise.T), np.eye(3), atol=4 / np.sqrt(20_000))


def test_gradients_are_reparameterised():
    loc, scale = tf.Variable(LOC), tf.Variable(SCALE)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(MultivariateNormalDiag(loc, scale).sample(5, seed=[1, 1]))
    by_loc, by_scale = tape.gradient(total, [loc, scale])
    noise = (MultivariateNormalDiag(LOC, SCALE).sample(5, seed=[1, 1]) - LOC) / SCALE
    np.testing.assert_allclose(by_loc, np.full((1, 3), 5.0))
    np.testing.assert_allclose(by_scale, tf.reduce_sum(noise, 0), rtol=1e-4, atol=1e-5)


def test_it_is_tfps_own_for_everything_else():
    q = MultivariateNormalDiag(LOC, SCALE)
    p = tfd.MultivariateNormalDiag(tf.zeros([3]), tf.ones([3]))
    theirs = tfd.MultivariateNormalDiag(LOC, SCALE)
    np.testing.assert_allclose(q.log_prob(LOC), theirs.log_prob(LOC))
    np.testing.assert_allclose(tfd.kl_divergence(q, p), tfd.kl_divergence(theirs, p))
    carried = as_tensor_like(q, q.sample(seed=[1, 2]), is_draw=True)
    assert isinstance(carried, tfd.MultivariateNormalDiag)


LOCS = tf.constant([[1.0, -2.0], [0.5, 3.0], [0.0, 0.1]])
KINDS = {
    "both": {"loc": LOCS, "scale_diag": tf.abs(LOCS) + 0.1},
    "a negative scale": {"loc": LOCS, "scale_diag": tf.constant([0.5, -2.0])},
    "one loc": {"loc": LOCS[0], "scale_diag": tf.abs(LOCS) + 0.1},
    "a loc of one coordinate": {"loc": LOCS[:, :1], "scale_diag": tf.constant([0.5, 2.0])},
    "no loc": {"scale_diag": tf.abs(LOCS) + 0.1},
    "no scale": {"loc": LOCS},
    "double": {"loc": tf.cast(LOCS, "double"), "scale_diag": tf.constant([0.5, 2.0], "double")},
}


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_tfps(kind, static):
    """With all shapes known, and with parameters of which only the rank is."""
    given = KINDS[kind]

    def values(cls, given):
        q = cls(**given)
        p = tfd.MultivariateNormalDiag(tf.cast([[0.3, 0.2]], q.dtype), tf.cast([2.0, 0.5], q.dtype))
        x = tf.random.stateless_normal([4, 3, 2], [1, 2], dtype=q.dtype)
        return {
            "log_prob": q.log_prob(x),
            "prob": q.prob(x),
            "mean": q.mean(),
            "stddev": q.stddev(),
            "entropy": q.entropy(),
            "batch_shape": q.batch_shape_tensor(),
            "kl": tfd.kl_divergence(q, p),
            "kl from it": tfd.kl_divergence(p, q),
            "kl to itself": tfd.kl_divergence(q, q),
            "cross_entropy": q.cross_entropy(p),
        }

    def made(cls):
        if static:
            return values(cls, given)
        ranks = {name: tf.TensorSpec([None] * t.shape.rank, t.dtype) for name, t in given.items()}
        return tf.function(lambda given: values(cls, given), input_signature=[ranks])(given)

    found, expected = made(MultivariateNormalDiag), made(tfd.MultivariateNormalDiag)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_sums_by_kahan_where_asked():
    """1e8 and 20,000 ones, of which a plain sum of float32 loses those in the large one's lane."""
    loc = np.sqrt(np.array([1e8] + 20_000 * [1.0]))
    exact = stats.norm.logpdf(loc).sum()
    off = [
        MultivariateNormalDiag(
            loc.astype("f"), tf.ones(loc.shape), experimental_use_kahan_sum=kahan
        ).log_prob(tf.zeros(loc.shape))
        - exact
        for kahan in (False, True)
    ]
    assert abs(off[1]) <= 4 < abs(off[0])  # its neighbours lie 4 apart


def test_a_draw_comes_with_the_density_of_its_noise():
    """At a mean of 1,000 a draw itself is rounded to a sixteenth of the scale."""
    q = MultivariateNormalDiag(LOC + 1000.0, 1e-3 * SCALE)
    draw, density = q.experimental_sample_and_log_prob([2, 2], seed=[3, 7])
    np.testing.assert_array_equal(draw, q.sample([2, 2], seed=[3, 7]))
    assert draw.shape == (2, 2, 1, 3)
    noise = MultivariateNormalDiag(0.0 * LOC, tf.ones_like(SCALE)).sample([2, 2], seed=[3, 7])
    expected = (stats.norm.logpdf(noise) - np.log(1e-3 * SCALE.numpy())).sum(-1)
    np.testing.assert_allclose(density, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        ({"loc": LOCS[:, :1], "scale_diag": [2.0]}, (3, 5)),
        ({"loc": LOCS[:, :1]}, (3, 5)),
        ({"scale_diag": [2.0]}, (3, 5)),
        ({"scale_diag": [2.0, 1.0]}, (3, 1)),
    ],
    ids=str,
)
def test_points_of_another_size_are_refused(given, shape):
    with pytest.raises(ValueError, match=r"Points have the event shape .* Received"):
        MultivariateNormalDiag(**given).log_prob(tf.zeros(shape))


def test_a_divergence_between_two_sizes_is_refused():
    four, one = (MultivariateNormalDiag(tf.zeros([5, d]), tf.ones([d])) for d in (4, 1))
    for q, p in ((four, one), (one, four)):
        with pytest.raises(ValueError, match=r"same event shape. Received"):
            tfd.kl_divergence(q, p)


def test_a_divergence_between_far_scales_is_finite():
    scale = tf.constant([1e-30])
    with tf.GradientTape() as tape:
        tape.watch(scale)
        q = MultivariateNormalDiag(tf.zeros([1]), scale)
        divergence = tfd.kl_divergence(q, tfd.MultivariateNormalDiag(tf.zeros([1]), [1e10]))
    # log(t / s) - 1/2 and -1 / s
    np.testing.assert_allclose(divergence, 40 * np.log(10.0) - 0.5, rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(divergence, scale), [-1e30], rtol=1e-6)


def test_validated_it_looks_at_a_variable_again():
    scale = tf.Variable([1.0, 1.0])
    q = MultivariateNormalDiag([0.0, 0.0], scale, validate_args=True)
    q.log_prob([0.0, 0.0])
    scale.assign([1.0, 0.0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="Singular"):
        q.log_prob([0.0, 0.0])


def test_the_base_of_a_flow_has_its_density():
    flow = tfp.bijectors.Scale([2.0, 0.5, -1.0])
    found, expected = (
        tfd.TransformedDistribution(cls(LOC, SCALE), flow).log_prob([[0.3, 2.0, 1.0]])
        for cls in (MultivariateNormalDiag, tfd.MultivariateNormalDiag)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)
