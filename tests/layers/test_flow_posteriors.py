"""Flow posteriors: their parameters, their densities, and their place in a VAE."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import tfvae
from tfvae import VAE, layers, objectives, priors, random
from tfvae.distributions import plain
from tfvae.divergences import kl_divergence
from tfvae.export.signatures import Choices, signatures_of

D, L, N = 5, 2, 8
X = np.random.default_rng(0).uniform(size=(N, D)).astype("f")


def autoregressive(size=L, conversion="sample"):
    return layers.InverseAutoregressiveFlow(
        size, 2, 3, (8,), "tanh", convert_to_tensor_fn=conversion, seed=1
    )


# A layer, and the number of its parameters.
FLOWS = {
    "planar": (
        lambda size=L, conversion="sample": layers.PlanarFlow(size, 2, conversion, seed=1),
        lambda size=L: layers.PlanarFlow.params_size(size, 2),
    ),
    "radial": (
        lambda size=L, conversion="sample": layers.RadialFlow(size, 2, conversion, seed=1),
        lambda size=L: layers.RadialFlow.params_size(size, 2),
    ),
    "sylvester": (
        lambda size=L, conversion="sample": layers.SylvesterFlow(size, 2, 2, conversion, seed=1),
        lambda size=L: layers.SylvesterFlow.params_size(size, 2, 2),
    ),
    "autoregressive": (
        autoregressive,
        lambda size=L: layers.InverseAutoregressiveFlow.params_size(size, context_size=3),
    ),
}
for_every_flow = pytest.mark.parametrize("name", FLOWS)


def flow_of(name, rows=3, scale=1.0, size=L):
    """A distribution of parameters, and weights, of no particular size."""
    make, params_size = FLOWS[name]
    keras.utils.set_random_seed(2)
    rng = np.random.default_rng(3)
    layer = make(size)
    params = (scale * rng.normal(size=(rows, params_size(size)))).astype("f")
    layer.build(params.shape)
    for weight in layer.trainable_weights:
        weight.assign_add(0.5 * scale * rng.normal(size=weight.shape))
    return layer(params), params


def softplus(raw):
    return np.logaddexp(0, np.float64(raw)) + 1e-5


@for_every_flow
def test_parameters_of_zero_leave_the_normal_as_it_is(name):
    make, params_size = FLOWS[name]
    layer = make()
    params = np.zeros((3, params_size()), "f")
    params[:, : 2 * L] = np.random.default_rng(0).normal(size=(3, 2 * L))
    layer.build(params.shape)
    for weight in layer.trainable_weights:
        weight.assign(tf.zeros_like(weight))
    z = np.random.default_rng(1).normal(size=(4, 3, L)).astype("f")
    loc, scale = params[:, :L], softplus(params[:, L : 2 * L])
    expected = stats.norm.logpdf(z, loc, scale).sum(-1)
    np.testing.assert_allclose(layer(params).log_prob(z), expected, rtol=1e-4, atol=1e-4)


@for_every_flow
def test_density_is_the_change_of_variables_of_the_draws(name):
    q, params = flow_of(name, size=3)
    noise = np.random.default_rng(4).normal(size=(3, 3)).astype("f")
    u = tf.constant(params[:, :3] + softplus(params[:, 3:6]) * noise, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(u)
        z = q.bijector.forward(u)
    determinants = np.linalg.slogdet(np.float64(tape.batch_jacobian(z, u)))[1]
    assert np.abs(determinants).max() > 0.1
    expected = stats.norm.logpdf(u, params[:, :3], softplus(params[:, 3:6])).sum(-1) - determinants
    # Of the remembered tensor, and of another one of the same values.
    np.testing.assert_allclose(q.log_prob(z), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(q.log_prob(tf.constant(z.numpy())), expected, rtol=1e-3, atol=1e-3)


@for_every_flow
def test_density_integrates_to_one(name):
    q, _ = flow_of(name, rows=1, scale=0.7)
    axis = np.linspace(-16, 16, 501, dtype="f")
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)[:, :, None]
    density = np.float64(q.prob(grid))[..., 0]
    assert np.trapezoid(np.trapezoid(density, axis), axis) == pytest.approx(1.0, abs=2e-3)


@for_every_flow
def test_no_parameters_are_too_large(name):
    make, params_size = FLOWS[name]
    layer, rng = make(), np.random.default_rng(6)
    scales = rng.choice([-1e4, -30.0, 0.0, 30.0, 1e4], size=(64, params_size()))
    # The normal itself may be anywhere: here it is at a usual place.
    scales[:, : 2 * L] = rng.normal(size=(64, 2 * L))
    params = tf.constant(scales, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(params)
        q = layer(params)
        at_draw = q.log_prob(tf.convert_to_tensor(q))
        elsewhere = q.log_prob(tf.identity(tf.convert_to_tensor(q)))
        total = tf.reduce_sum(at_draw + elsewhere)
    assert np.all(np.isfinite(at_draw))
    assert np.all(np.isfinite(elsewhere))
    assert np.all(np.isfinite(tape.gradient(total, params)))


def test_the_frame_of_a_sylvester_flow_is_orthonormal_and_its_product_triangular():
    size, units = 5, 3
    params = np.random.default_rng(7).normal(size=(4, layers.SylvesterFlow.params_size(5, 1, 3)))
    q = layers.SylvesterFlow.new(params.astype("f"), size, 1, units)
    (flow,) = q.bijector.bijectors
    outward, inward = (np.float64(flow.parameters[name]) for name in ("outward", "inward"))
    product = inward @ outward
    np.testing.assert_allclose(np.tril(product, -1), 0.0, atol=1e-5)
    assert np.all(np.abs(np.diagonal(product, axis1=1, axis2=2)) < 1)
    # R has full rank, so A = Q R and B = R~ Q' have the span of Q, and A R^-1 is orthonormal.
    upper = np.triu(np.tanh(params[:, 10:].reshape(4, -1)[:, :15].reshape(4, 5, 3)[:, :3] / 10))
    upper = 10 * np.triu(upper, 1) + np.sqrt(0.99) * np.eye(3) * np.tanh(
        params[:, 10:25].reshape(4, 5, 3)[:, :3]
    )
    frame = outward @ np.linalg.inv(upper)
    identity = np.broadcast_to(np.eye(3), (4, 3, 3))
    np.testing.assert_allclose(np.swapaxes(frame, 1, 2) @ frame, identity, atol=1e-4)


# ---- in a VAE ---------------------------------------------------------------------------------


def vae_with(name, draws=1, **options):
    make, params_size = FLOWS[name]
    keras.utils.set_random_seed(0)
    head = make(conversion=layers.Samples(draws) if draws > 1 else "sample")
    encoder = [keras.Input((D,)), keras.layers.Dense(params_size()), head]
    likelihood = layers.IndependentNormal(D, "mean", scale=0.5)
    decoder = [keras.Input((L,)), keras.layers.Dense(D), likelihood]
    return VAE(keras.Sequential(encoder), keras.Sequential(decoder), **options)


@pytest.mark.parametrize(("name", "draws"), [("planar", 3), ("autoregressive", 1)])
def test_the_cost_is_the_log_ratio_of_the_decoders_own_draw(name, draws):
    vae = vae_with(name, draws)
    state = vae.encoder.layers[-1].seed_state.numpy()
    q = vae.encode(X)
    # New tensors: through the inverse.
    z = tf.constant(np.reshape(q, (draws, N, L)))
    kl = np.mean(np.float64(q.log_prob(z)) - stats.norm.logpdf(z).sum(-1), axis=0)
    nll = -np.mean([vae.decode(draw).log_prob(X) for draw in z], axis=0)
    vae.encoder.layers[-1].seed_state.assign(state)
    found = vae.example_terms(tf.constant(X), training=False)
    np.testing.assert_allclose(found.terms["kl"], kl, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.cost, kl + nll, rtol=1e-4)


@for_every_flow
def test_the_density_of_the_own_draw_takes_no_inverse(name, monkeypatch):
    q = vae_with(name).encode(X)

    def forbidden(self, y):
        raise AssertionError("the inverse was computed")

    for flow in q.bijector.bijectors:
        monkeypatch.setattr(type(flow), "_inverse", forbidden)
    assert kl_divergence(q, priors.StandardNormal(L)()).shape == (N,)
    with pytest.raises(AssertionError, match="the inverse was computed"):
        q.log_prob(tf.identity(tf.convert_to_tensor(q)))


def test_trains_by_an_objective_and_is_saved(tmp_path):
    vae = vae_with("sylvester", draws=3, objective=objectives.DReG())
    vae.compile(keras.optimizers.Adam(0.02), jit_compile=True)
    losses = vae.fit(X, batch_size=4, epochs=15, verbose=0).history["loss"]
    assert losses[-1] < losses[0] - 0.5
    # p(x) of a linear decoder, in closed form; seed 0, 2,000 draws.
    kernel, bias = (np.float64(weight) for weight in vae.decoder.layers[0].get_weights())
    expected = stats.multivariate_normal(bias, kernel.T @ kernel + 0.25 * np.eye(D)).logpdf(X)
    found = vae.log_likelihood(X, 2000)
    np.testing.assert_allclose(found, expected, atol=0.1)
    vae.save(tmp_path / "model.keras")
    loaded = tfvae.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.code(X), vae.code(X))


@pytest.mark.parametrize("name", ["planar", "autoregressive"])
def test_the_code_is_where_the_flow_takes_the_mean_of_the_normal(name):
    vae = vae_with(name)
    q = plain(vae.encode(X))
    params = vae.encoder.layers[0](X)
    expected = q.bijector.forward(params[:, :L])
    np.testing.assert_allclose(vae.code(X), expected, rtol=1e-5, atol=1e-6)
    picture = vae.decode(expected).mean()
    np.testing.assert_allclose(vae.reconstruct(X), picture, rtol=1e-5, atol=1e-5)
    found, _ = signatures_of(vae, Choices(3))
    outputs = found["encode"].function(x=tf.constant(X))
    assert list(outputs) == ["loc"]
    np.testing.assert_allclose(outputs["loc"], expected, rtol=1e-5, atol=1e-6)
    scores = found["log_prob"].function(x=tf.constant(X), seed=random.seeds(0, N))["log_prob"]
    assert np.all(np.isfinite(scores))


WRONG = {
    "no maps": (lambda: layers.PlanarFlow(2, 0), "`num_flows` must be an integer"),
    "no dimensions": (lambda: layers.RadialFlow(0), "`event_size` must be an integer"),
    "more units than dimensions": (
        lambda: layers.SylvesterFlow(2, num_units=3),
        "at most as many units as dimensions",
    ),
    "no context": (
        lambda: layers.InverseAutoregressiveFlow(2, context_size=0),
        "`context_size` must be an integer",
    ),
    "parameters of another size": (
        lambda: layers.PlanarFlow(2, 1)(tf.zeros([3, 8])),
        "last axis of size 9",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_refuses(name):
    make, message = WRONG[name]
    with pytest.raises(ValueError, match=rf"{message}.*Received"):
        make()
