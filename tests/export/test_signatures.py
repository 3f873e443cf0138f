"""What the signatures compute, against NumPy, SciPy and TFP on the same noise."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm
from small_models import LATENT, SHAPE, make_parts, make_vae

from tfvae import Autoencoder, layers, random
from tfvae.export.draws import LIKELIHOOD_STREAM, POSTERIOR_STREAM
from tfvae.export.signatures import SIGNATURE_NAMES, Choices, signatures_of

DRAWS = 7


def call(model, name, choices=None, **inputs):
    found, _ = signatures_of(model, choices or Choices(DRAWS))
    return {key: value.numpy() for key, value in found[name].function(**inputs).items()}


def test_a_vae_has_every_signature_in_order(vae):
    found, left_out = signatures_of(vae, Choices())
    assert tuple(found) == SIGNATURE_NAMES
    assert left_out == {}


def test_inputs_say_what_they_take(vae):
    found, _ = signatures_of(vae, Choices())
    (x, seed) = found["log_prob"].inputs
    assert (x.name, x.shape, x.interval) == ("x", SHAPE, (0.0, 1.0))
    assert (seed.name, seed.shape, seed.dtype.name) == ("seed", (2,), "int32")
    assert x.spec(None).shape.as_list() == [None, *SHAPE]


def test_encode_is_the_posterior(vae, pictures):
    q = vae.encode(pictures)
    found = call(vae, "encode", x=pictures)
    np.testing.assert_array_equal(found["loc"], q.mean())
    np.testing.assert_array_equal(found["scale"], q.stddev())


def test_encode_gives_a_full_covariance_by_its_factor(pictures):
    vae = make_vae(posterior=layers.MultivariateNormalTriL(LATENT))
    found = call(vae, "encode", x=pictures)
    q = vae.encode(pictures)
    product = found["scale_tril"] @ np.swapaxes(found["scale_tril"], 1, 2)
    np.testing.assert_allclose(product, q.covariance(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["scale"], q.stddev(), rtol=1e-5)


def test_decode_gives_the_mean_and_the_likelihoods_parameters(vae):
    z = np.random.default_rng(0).normal(size=(4, LATENT)).astype(np.float32)
    found = call(vae, "decode", z=z)
    assert sorted(found) == ["logits", "mean"]
    np.testing.assert_allclose(found["mean"], 1 / (1 + np.exp(-found["logits"])), rtol=1e-5)
    assert sorted(call(vae, "decode", Choices(likelihood_parameters=False), z=z)) == ["mean"]


def test_a_shared_scale_has_a_row_for_each_code():
    vae = make_vae(likelihood="normal")
    found = call(vae, "decode", z=np.zeros((4, LATENT), np.float32))
    assert sorted(found) == ["mean", "scale"]
    assert found["scale"].shape == (4, 1, 1, 1)
    expected = vae.decode(np.zeros((4, LATENT), np.float32)).stddev()
    np.testing.assert_array_equal(np.broadcast_to(found["scale"], expected.shape), expected)


def test_a_mixtures_parameters_have_the_names_of_its_parts():
    likelihood = layers.MixtureLogistic(2, SHAPE, "mean")
    vae = make_parts(likelihood=likelihood, params=likelihood.params_size(2, SHAPE))
    found = call(vae, "decode", z=np.zeros((4, LATENT), np.float32))
    assert sorted(found) == ["components_loc", "components_scale", "mean", "mixture_logits"]
    assert found["mixture_logits"].shape == (4, 2)
    assert found["components_loc"].shape == (4, 2, *SHAPE)


def test_sample_is_what_the_model_samples(vae):
    found = call(vae, "sample", seed=random.seeds(5, 4))
    np.testing.assert_array_equal(found["z"], random.normal(random.seeds(5, 4), LATENT))
    np.testing.assert_allclose(found["x"], vae.sample(4, seed=5), atol=1e-6)


def test_likelihood_draws_come_from_a_stream_of_their_own(vae):
    seeds = random.seeds(5, 300)
    found = call(vae, "sample", Choices(likelihood_draws=True), seed=seeds)
    noise = random.uniform(seeds, 36, stream=LIKELIHOOD_STREAM).numpy().reshape(-1, *SHAPE)
    np.testing.assert_array_equal(found["draw"], noise < found["x"])
    # Five standard errors of 10,800 pixels.
    assert abs((found["draw"] - found["x"]).mean()) < 5 * 0.5 / np.sqrt(found["x"].size)


def test_interpolate_goes_from_one_code_to_the_other(vae, pictures):
    a, b = pictures[:5], pictures[5:10]
    t = np.linspace(0, 1, 5, dtype=np.float32)
    found = call(vae, "interpolate", a=a, b=b, t=t)["x"]
    start, end = vae.code(a).numpy(), vae.code(b).numpy()
    codes = start + t[:, None] * (end - start)
    np.testing.assert_allclose(found, vae.decode(codes).mean(), atol=1e-5)


@pytest.mark.parametrize("posterior", [None, "full"])
def test_log_prob_is_the_importance_weighted_bound(posterior, pictures):
    vae = make_vae(posterior=layers.MultivariateNormalTriL(LATENT) if posterior else None)
    seeds = random.seeds(9, len(pictures))
    found = call(vae, "log_prob", x=pictures, seed=seeds)["log_prob"]
    q = vae.encode(pictures)
    noise = random.normal(seeds, DRAWS * LATENT, stream=POSTERIOR_STREAM).numpy()
    noise = noise.reshape(len(pictures), DRAWS, LATENT).swapaxes(0, 1)
    factor = np.linalg.cholesky(q.covariance().numpy())
    z = q.mean().numpy() + np.einsum("bij,sbj->sbi", factor, noise)
    log_weights = [
        vae.decode(code).log_prob(pictures) + norm.logpdf(code).sum(axis=1) - q.log_prob(code)
        for code in z.astype(np.float32)
    ]
    expected = logsumexp(log_weights, axis=0) - np.log(DRAWS)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    score = call(vae, "anomaly_score", x=pictures, seed=seeds)["score"]
    np.testing.assert_array_equal(score, -found)


def test_more_draws_tighten_the_bound(vae, pictures):
    seeds = random.seeds(9, len(pictures))
    bounds = [
        call(vae, "log_prob", Choices(k), x=pictures, seed=seeds)["log_prob"].mean()
        for k in (1, 100)
    ]
    assert bounds[0] < bounds[1]


def test_an_autoencoder_has_no_distributions(pictures):
    model = Autoencoder.for_images(SHAPE, LATENT, hidden=(8,))
    found, left_out = signatures_of(model, Choices())
    assert tuple(found) == ("encode", "decode", "reconstruct", "interpolate")
    assert tuple(left_out) == ("sample", "log_prob", "anomaly_score")
    np.testing.assert_array_equal(call(model, "encode", x=pictures)["loc"], model.code(pictures))
    with pytest.raises(ValueError, match=r"neither a prior nor a posterior.*'sample'"):
        signatures_of(model, Choices(), ["sample"])


def test_refuses_what_it_cannot_do(vae):
    with pytest.raises(ValueError, match=r"Signatures are encode, decode.*Received: 'encoder'"):
        signatures_of(vae, Choices(), ["encoder"])
    with pytest.raises(ValueError, match=r"at least 1\. Received: 0"):
        Choices(num_importance_samples=0)
    with pytest.raises(TypeError, match=r"Only a `tfvae\.VAE`.*Received: Sequential"):
        signatures_of(keras.Sequential([keras.Input((2,))]), Choices())
    counts = layers.IndependentPoisson(SHAPE, "mean")
    vae = make_parts(likelihood=counts, params=counts.params_size(SHAPE))
    with pytest.raises(ValueError, match=r"Poisson\. Received: likelihood_draws=True"):
        call(vae, "sample", Choices(likelihood_draws=True), seed=random.seeds(0, 1))
