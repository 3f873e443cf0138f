"""The VAE: what it minimises and reports, what it takes, what it gives, what it refuses."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import tfvae
from tfvae import VAE, layers, priors, random
from tfvae.regularizers import KLDivergenceRegularizer, LatentRegularizer

N, D, L, SCALE = 10, 6, 2, 0.5
RNG = np.random.default_rng(0)
X = RNG.uniform(size=(N, D)).astype("f")
Y = np.arange(N)


def encoder(conversion="mean", **kwargs):
    posterior = layers.MultivariateNormalDiag(L, conversion, seed=1, **kwargs)
    return keras.Sequential([keras.Input((D,)), keras.layers.Dense(2 * L), posterior])


def decoder():
    likelihood = layers.IndependentNormal(D, "mean", scale=SCALE)
    return keras.Sequential([keras.Input((L,)), keras.layers.Dense(D), likelihood])


def make(conversion="mean", learning_rate=0.05, compile_options=None, **kwargs):
    keras.utils.set_random_seed(0)
    vae = VAE(encoder(conversion), decoder(), **kwargs)
    options = {"optimizer": keras.optimizers.SGD(learning_rate), **(compile_options or {})}
    vae.compile(**options)
    return vae


def posterior(vae, x):
    """Mean and scale of q(z|x), in NumPy and float64."""
    params = np.float64(x) @ np.float64(vae.encoder.layers[0].kernel)
    params = params + np.float64(vae.encoder.layers[0].bias)
    return params[:, :L], np.logaddexp(0, params[:, L:]) + 1e-5


def negative_log_likelihood(vae, x, z):
    dense = vae.decoder.layers[0]
    mean = z @ np.float64(dense.kernel) + np.float64(dense.bias)
    constant = np.log(SCALE) + 0.5 * np.log(2 * np.pi)
    return (0.5 * ((x - mean) / SCALE) ** 2 + constant).sum(-1)


def costs(vae, x):
    """What an example costs with z at the posterior's mean: nll and KL, in NumPy and float64."""
    loc, scale = posterior(vae, x)
    kl = 0.5 * (scale**2 + loc**2 - 1 - 2 * np.log(scale)).sum(1)
    return {"nll": negative_log_likelihood(vae, x, loc), "kl": kl}


def weights_of(vae):
    return [weight.numpy() for weight in vae.trainable_weights]


def assert_same_weights(a, b, **tolerance):
    for found, expected in zip(weights_of(a), weights_of(b), strict=True):
        if tolerance:
            np.testing.assert_allclose(found, expected, **tolerance)
        else:
            np.testing.assert_array_equal(found, expected)


# ---- what is reported -------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [1.0, 0.0, 3.5])
def test_loss_is_nll_plus_beta_times_kl_averaged_by_example(beta):
    vae = make(beta=beta)
    expected = costs(vae, X)
    # The last of three batches has two examples, which count as two.
    found = vae.evaluate(X, batch_size=4, verbose=0, return_dict=True)
    assert set(found) == {"loss", "nll", "kl"}
    assert found["nll"] == pytest.approx(expected["nll"].mean(), rel=1e-5)
    assert found["kl"] == pytest.approx(expected["kl"].mean(), rel=1e-5)
    total = (expected["nll"] + beta * expected["kl"]).mean()
    assert found["loss"] == pytest.approx(total, rel=1e-5)


def test_history_has_the_validation_twins():
    vae = make(learning_rate=0.0)
    history = vae.fit(X, batch_size=3, validation_split=0.3, epochs=2, verbose=0).history
    expected = costs(vae, X)
    expected["loss"] = expected["nll"] + expected["kl"]
    assert set(history) == {*expected, *(f"val_{name}" for name in expected)}
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], [values[:7].mean()] * 2, rtol=1e-5)
        np.testing.assert_allclose(history[f"val_{name}"], [values[7:].mean()] * 2, rtol=1e-5)


def test_penalties_of_the_networks_are_added_to_the_loss_alone():
    dense = keras.layers.Dense(2 * L, kernel_regularizer=keras.regularizers.L2(0.1))
    head = layers.MultivariateNormalDiag(L, "mean", seed=1)
    vae = compiled(encoder=keras.Sequential([keras.Input((D,)), dense, head]))
    found = vae.evaluate(X, batch_size=4, verbose=0, return_dict=True)
    penalty = 0.1 * np.square(dense.kernel.numpy()).sum()
    assert found["loss"] == pytest.approx(found["nll"] + found["kl"] + penalty, rel=1e-5)


def test_metrics_see_the_data_and_the_likelihood():
    def error(x, p):
        assert isinstance(p, tfd.Distribution)
        return tf.reduce_mean(tf.square(x - p.mean()), axis=-1)

    vae = make(compile_options={"metrics": [error]})
    found = vae.evaluate(X, batch_size=4, verbose=0, return_dict=True)
    expected = np.square(X - vae.reconstruct(X)).mean()
    assert found["error"] == pytest.approx(expected, rel=1e-5)


def test_a_variable_as_beta_takes_effect_when_it_changes():
    beta = keras.Variable(1.0, trainable=False)
    vae = make(beta=beta)
    for value in (1.0, 0.25):
        beta.assign(value)
        found = vae.evaluate(X, verbose=0, return_dict=True)
        assert found["loss"] == pytest.approx(found["nll"] + value * found["kl"], rel=1e-6)


def test_several_draws_are_averaged_in_the_likelihood_and_leave_the_divergence():
    draws = 5
    vae = make(layers.Samples(draws))
    state = vae.encoder.layers[-1].seed_state
    z = np.float64(tf.convert_to_tensor(vae.encode(X)))
    assert z.shape == (draws, N, L)
    state.assign([1, 0])
    cost, terms, p = vae.example_terms(tf.constant(X), training=True)
    nll = np.mean([negative_log_likelihood(vae, X, one) for one in z], axis=0)
    kl = costs(vae, X)["kl"]
    np.testing.assert_allclose(terms["nll"], nll, rtol=1e-5)
    np.testing.assert_allclose(terms["kl"], kl, rtol=1e-5)
    np.testing.assert_allclose(cost, nll + kl, rtol=1e-5)
    assert isinstance(p, tfd.Independent)


def test_a_trained_prior_is_part_of_the_model():
    prior = priors.TrainableNormal(L)
    prior.loc.assign([1.0, -2.0])
    vae = make(prior=prior)
    loc, scale = posterior(vae, X)
    ratio, moved = scale / prior().stddev().numpy(), (loc - [1.0, -2.0]) / prior().stddev().numpy()
    expected = 0.5 * (ratio**2 + moved**2 - 1 - 2 * np.log(ratio)).sum(1)
    found = vae.evaluate(X, verbose=0, return_dict=True)
    assert found["kl"] == pytest.approx(expected.mean(), rel=1e-5)
    vae.fit(X, epochs=1, verbose=0)
    assert np.all(prior.loc.numpy() != [1.0, -2.0])


@keras.saving.register_keras_serializable(package="test_vae")
class MeanSquare(LatentRegularizer):
    """A regulariser without a prior and with a name of its own."""

    term_names = ("square",)

    def terms(self, q):
        return {"square": tf.reduce_sum(q.mean() ** 2, axis=-1)}

    def combine(self, terms):
        return 0.5 * terms["square"]


def test_another_regulariser_takes_the_place_of_the_divergence():
    vae = make(regularizer=MeanSquare())
    loc, _ = posterior(vae, X)
    found = vae.evaluate(X, verbose=0, return_dict=True)
    assert set(found) == {"loss", "nll", "square"}
    assert found["square"] == pytest.approx((loc**2).sum(1).mean(), rel=1e-5)
    assert found["loss"] == pytest.approx(found["nll"] + 0.5 * found["square"], rel=1e-5)


def test_codes_may_have_any_rank():
    body = [keras.layers.Dense(12), layers.IndependentNormal((2, 3), "mean", seed=1)]
    q = keras.Sequential([keras.Input((D,)), *body])
    head = [keras.layers.Flatten(), keras.layers.Dense(D)]
    p = keras.Sequential(
        [keras.Input((2, 3)), *head, layers.IndependentNormal(D, "mean", scale=SCALE)]
    )
    vae = VAE(q, p)
    vae.compile()
    scale = vae.encode(X).stddev().numpy()
    kl = 0.5 * (scale**2 + vae.code(X).numpy() ** 2 - 1 - 2 * np.log(scale)).sum((1, 2))
    found = vae.evaluate(X, verbose=0, return_dict=True)
    assert found["kl"] == pytest.approx(kl.mean(), rel=1e-5)
    assert vae.sample(3, seed=0).shape == vae.interpolate(X[0], X[1], 3).shape == (3, D)
    assert vae.log_likelihood(X, 7).shape == (N,)


# ---- what it is trained on --------------------------------------------------------------------


def batches(*tensors):
    return tf.data.Dataset.from_tensor_slices(tensors if len(tensors) > 1 else tensors[0]).batch(4)


ONES = np.ones(N, "f")
FORMS = {
    "x": lambda: {"x": X, "batch_size": 4},
    "x in float64": lambda: {"x": X.astype(np.float64), "batch_size": 4},
    "x and y": lambda: {"x": X, "y": Y, "batch_size": 4},
    "x, y and weights": lambda: {"x": X, "y": Y, "sample_weight": ONES, "batch_size": 4},
    "x and weights": lambda: {"x": X, "sample_weight": ONES, "batch_size": 4},
    "dataset of x": lambda: {"x": batches(X)},
    "dataset of (x, y)": lambda: {"x": batches(X, Y)},
    "dataset of (x, y, weights)": lambda: {"x": batches(X, Y, ONES)},
}


@pytest.fixture(scope="module")
def trained_on_x():
    vae = make()
    return vae, vae.fit(X, batch_size=4, shuffle=False, epochs=2, verbose=0).history


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_data_trains_the_same_model(form, trained_on_x):
    vae = make()
    history = vae.fit(**FORMS[form](), shuffle=False, epochs=2, verbose=0).history
    for name, values in trained_on_x[1].items():
        np.testing.assert_allclose(history[name], values, rtol=1e-6)
    assert_same_weights(vae, trained_on_x[0], rtol=1e-6)


VALIDATION = {
    "(x,)": lambda: (X,),
    "(x, y)": lambda: (X, Y),
    "(x, y, weights)": lambda: (X, Y, ONES),
    "array": lambda: X,
    "dataset": lambda: batches(X, Y),
}


@pytest.mark.parametrize("form", VALIDATION)
def test_every_form_of_validation_data(form):
    vae = make(learning_rate=0.0)
    history = vae.fit(X, validation_data=VALIDATION[form](), verbose=0).history
    for name in ("loss", "nll", "kl"):
        np.testing.assert_allclose(history[f"val_{name}"], history[name], rtol=1e-5)


def weighted_gradient_step(vae, x, weight, learning_rate=0.05):
    """The weights after one step of gradient descent on mean(weight * cost)."""
    variables = vae.trainable_weights
    with tf.GradientTape() as tape:
        cost, _, _ = vae.example_terms(tf.constant(x), training=True)
        loss = tf.reduce_mean(weight * cost)
    return [
        (variable - learning_rate * gradient).numpy()
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True)
    ]


@pytest.mark.parametrize("shape", [(N,), (N, 1)], ids=str)
def test_a_weight_scales_the_whole_cost_of_its_example(shape):
    weight = np.linspace(0, 2, N, dtype=np.float32)
    vae = make(beta=2.0)
    expected = costs(vae, X)
    stepped = weighted_gradient_step(make(beta=2.0), X, weight)
    history = vae.fit(X, sample_weight=weight.reshape(shape), batch_size=N, verbose=0).history
    for name in ("nll", "kl"):
        np.testing.assert_allclose(history[name], [(weight * expected[name]).mean()], rtol=1e-5)
    cost = expected["nll"] + 2.0 * expected["kl"]
    np.testing.assert_allclose(history["loss"], [(weight * cost).mean()], rtol=1e-5)
    for found, wanted in zip(weights_of(vae), stepped, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_an_example_of_weight_zero_has_no_influence():
    weight = np.float32([1] * 5 + [0] * 5)
    other = np.where(weight[:, None] > 0, X, 100 * X)
    first, second = make(), make()
    for vae, x in ((first, X), (second, other)):
        vae.fit(x, sample_weight=weight, batch_size=N, shuffle=False, epochs=3, verbose=0)
    assert_same_weights(first, second, rtol=1e-6)
    found = first.evaluate(X, sample_weight=weight, batch_size=4, verbose=0, return_dict=True)
    again = first.evaluate(other, sample_weight=weight, batch_size=4, verbose=0, return_dict=True)
    assert found == again


def test_several_steps_at_a_time_with_a_short_last_block_change_nothing():
    # Five batches, the last one short, in blocks of two.
    results = []
    for steps in (1, 2):
        vae = make("sample", compile_options={"steps_per_execution": steps, "jit_compile": False})
        data = tf.data.Dataset.from_tensor_slices(X).batch(4).repeat(2).take(5)
        history = vae.fit(data, epochs=2, validation_data=(X,), verbose=0).history
        results.append((vae, history, vae.predict(X, batch_size=3, verbose=0)))
    (one, history, predicted), (several, blocks, predicted_in_blocks) = results
    assert_same_weights(several, one)
    assert blocks == history
    np.testing.assert_array_equal(predicted_in_blocks, predicted)


def test_training_repeats_with_its_seed_and_goes_on_after_a_save(tmp_path):
    def train(vae, epochs):
        return vae.fit(X, batch_size=4, shuffle=False, epochs=epochs, verbose=0).history["loss"]

    adam = {"optimizer": "adam"}
    whole, again, parts = (
        make("sample", compile_options=adam, prior=priors.TrainableNormal(L)) for _ in range(3)
    )
    losses = train(whole, 4)
    assert train(again, 4) == losses
    assert_same_weights(again, whole)
    first = train(parts, 2)
    parts.save(tmp_path / "model.keras")
    resumed = tfvae.load(tmp_path / "model.keras")
    assert first + train(resumed, 2) == losses
    assert_same_weights(resumed, whole)


def test_an_encoder_without_a_known_shape_is_built_by_the_data():
    keras.utils.set_random_seed(0)
    unbuilt = keras.Sequential(
        [keras.layers.Dense(2 * L), layers.MultivariateNormalDiag(L, "mean", seed=1)]
    )
    vae = VAE(unbuilt, decoder())
    vae.compile(keras.optimizers.SGD(0.05))
    history = vae.fit(X, epochs=2, verbose=0).history
    assert history["loss"][1] < history["loss"][0]
    assert vae.sample(2, seed=0).shape == (2, D)


# ---- what it gives ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vae():
    return make("sample")


def test_encode_and_decode_give_the_distributions_of_the_paper(vae):
    q, p = vae.encode(X), vae.decode(np.ones((3, L), "f"))
    loc, scale = posterior(vae, X)
    assert isinstance(q, tfd.MultivariateNormalDiag)
    np.testing.assert_allclose(q.mean(), loc, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(q.stddev(), scale, rtol=1e-5)
    assert (tuple(p.batch_shape), tuple(p.event_shape)) == ((3,), (D,))
    assert isinstance(vae(X), tfd.Independent)


def test_reconstruct_goes_through_the_mean(vae):
    expected = vae.decode(vae.encode(X).mean()).mean()
    np.testing.assert_allclose(vae.reconstruct(X), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(vae.reconstruct(X), vae.reconstruct(X))
    np.testing.assert_allclose(vae.reconstruct(X, batch_size=3), expected, rtol=1e-5, atol=1e-6)


def test_predict_gives_the_mean_of_the_likelihood_of_a_draw(vae):
    state = vae.encoder.layers[-1].seed_state
    state.assign([1, 0])
    predicted = vae.predict(X, verbose=0)
    state.assign([1, 0])
    np.testing.assert_allclose(predicted, vae(X).mean(), rtol=1e-5, atol=1e-6)


def test_samples_are_decoded_draws_of_the_prior(vae):
    codes = random.normal(random.seeds(7, 5), L)
    expected = vae.decode(codes).mean()
    np.testing.assert_allclose(vae.sample(5, seed=7), expected, rtol=1e-5, atol=1e-6)
    moved = make(prior=priors.TrainableNormal(L))
    moved.prior.loc.assign([3.0, 4.0])
    expected = moved.decode(codes + np.float32([3.0, 4.0])).mean()
    np.testing.assert_allclose(moved.sample(5, seed=7), expected, rtol=1e-4, atol=1e-4)


def test_a_seed_means_its_samples_whatever_their_number_and_batch(vae):
    many = vae.sample(20, seed=7)
    assert many.shape == (20, D)
    # One rounding of float32: a matrix product adds in another order for another batch.
    for found in (vae.sample(3, seed=7), vae.sample(20, seed=7, batch_size=6)[:3]):
        np.testing.assert_allclose(found, many[:3], rtol=1e-5, atol=1e-6)
    assert np.all(vae.sample(20, seed=8) != many)
    assert len(np.unique(many.round(6))) == many.size


def test_samples_without_a_seed_follow_the_global_seed(vae):
    def pair():
        keras.utils.set_random_seed(3)
        return [vae.sample(2), vae.sample(2)]

    (first, second), again = pair(), pair()
    assert np.all(first != second)
    np.testing.assert_array_equal([first, second], again)


def test_interpolation_ends_in_the_reconstructions_and_is_straight(vae):
    path = vae.interpolate(X[0], X[1], steps=5)
    assert path.shape == (5, D)
    np.testing.assert_allclose(path[[0, -1]], vae.reconstruct(X[:2]), rtol=1e-5, atol=1e-6)
    middle = vae.decode(vae.code(X[:2]).numpy().mean(0, keepdims=True)).mean()
    np.testing.assert_allclose(path[2:3], middle, rtol=1e-5, atol=1e-6)
    pairs = vae.interpolate(X[:3], X[3:6], steps=4)
    assert pairs.shape == (3, 4, D)
    for i in range(3):
        one = vae.interpolate(X[i], X[3 + i], steps=4)
        np.testing.assert_allclose(pairs[i], one, rtol=1e-5, atol=1e-6)


# ---- images -----------------------------------------------------------------------------------

IMAGES = {
    "dense grey": ((5, 7, 1), "dense", "bernoulli", "shared"),
    "dense vector": ((9,), "dense", "normal", 0.1),
    "conv odd colour": ((7, 9, 3), "conv", "bernoulli", "shared"),
    "conv learned scale": ((5, 6, 2), "conv", "normal", None),
}


@pytest.mark.parametrize("name", IMAGES)
def test_networks_for_images_train_save_and_generate(name, tmp_path):
    shape, network, likelihood, scale = IMAGES[name]
    keras.utils.set_random_seed(0)
    x = RNG.uniform(size=(6, *shape)).astype("f")
    vae = VAE.for_images(
        shape, 3, network, (4, 5), likelihood=likelihood, scale=scale, activation="tanh"
    )
    vae.compile(keras.optimizers.Adam(0.01))
    losses = vae.fit(x, epochs=25, verbose=0).history["loss"]
    assert np.mean(losses[-5:]) < losses[0]
    assert vae.reconstruct(x).shape == x.shape
    samples = vae.sample(2, seed=0)
    assert samples.shape == (2, *shape)
    vae.save(tmp_path / "model.keras")
    loaded = tfvae.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.sample(2, seed=0), samples)
    np.testing.assert_array_equal(loaded(x).numpy(), vae(x).numpy())


@pytest.mark.parametrize("network", ["dense", "conv"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "normal"])
def test_an_untrained_model_starts_at_the_mean_image(network, likelihood):
    shape = (4, 4, 2)
    mean = RNG.uniform(0.2, 0.8, size=shape)
    vae = VAE.for_images(shape, 2, network, (3,), likelihood=likelihood, mean=mean)
    start = vae.decode(np.zeros((1, 2), "f")).mean()[0]
    # A convolution has a bias for each channel, a dense layer one for each pixel.
    expected = mean if network == "dense" else np.broadcast_to(mean.mean((0, 1)), shape)
    np.testing.assert_allclose(start, expected, rtol=1e-5)
    with pytest.raises(
        ValueError, match=r"`mean` must be the mean image.*Received: shape \(4, 4\)"
    ):
        VAE.for_images(shape, 2, network, (3,), mean=mean[..., 0])


# ---- what is saved ----------------------------------------------------------------------------


def test_a_regulariser_and_a_prior_of_the_users_are_saved(tmp_path):
    prior = priors.TrainableNormal(L)
    prior.loc.assign([3.0, 4.0])
    vae = make(prior=prior, regularizer=MeanSquare())
    vae.save(tmp_path / "model.keras")
    loaded = tfvae.load(tmp_path / "model.keras")
    assert isinstance(loaded.regularizer, MeanSquare)
    np.testing.assert_array_equal(loaded.prior.loc, [3.0, 4.0])
    np.testing.assert_array_equal(loaded.sample(4, seed=1), vae.sample(4, seed=1))


def test_the_prior_of_a_regulariser_is_the_models_own_before_and_after(tmp_path):
    prior = priors.TrainableNormal(L)
    prior.loc.assign([3.0, 4.0])
    vae = make(regularizer=KLDivergenceRegularizer(prior, weight=0.5))
    assert vae.prior is prior
    vae.save(tmp_path / "model.keras")
    loaded = tfvae.load(tmp_path / "model.keras")
    assert loaded.prior is loaded.regularizer.prior
    np.testing.assert_array_equal(loaded.prior.loc, [3.0, 4.0])
    assert loaded.regularizer.weight == 0.5


def test_a_variable_as_beta_is_saved_and_still_takes_effect(tmp_path):
    vae = make(beta=keras.Variable(0.25, trainable=False))
    vae.beta.assign(0.75)
    vae.save(tmp_path / "model.keras")
    loaded = tfvae.load(tmp_path / "model.keras")
    assert float(loaded.beta) == 0.75
    loaded.beta.assign(0.5)
    found = loaded.evaluate(X, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(found["nll"] + 0.5 * found["kl"], rel=1e-6)


def test_saving_refuses_a_lambda(tmp_path):
    head = layers.DistributionLambda(lambda t: tfd.Independent(tfd.Normal(t, 1.0), 1), "mean")
    p = keras.Sequential([keras.Input((L,)), keras.layers.Dense(D), head])
    with pytest.raises(ValueError, match=r"`make_distribution_fn` cannot be saved.*Received"):
        VAE(encoder(), p).save(tmp_path / "model.keras")


# ---- what is refused --------------------------------------------------------------------------


def bernoulli_vae():
    vae = VAE.for_images((D,), L, hidden=(3,))
    vae.compile()
    return vae


def compiled(**kwargs):
    vae = VAE(**{"encoder": encoder(), "decoder": decoder(), **kwargs})
    vae.compile()
    return vae


def plain_network(inputs, outputs):
    return keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(outputs)])


def with_kl_layer():
    return keras.Sequential([encoder(), layers.KLDivergenceAddLoss(priors.StandardNormal(L))])


KL = {"activity_regularizer": KLDivergenceRegularizer(priors.StandardNormal(L))}
BYTES = (255 * X).astype(np.uint8)
NAN = np.where(np.arange(D) == 3, np.nan, X)
REFUSED = {
    "a loss": (
        lambda: VAE(encoder(), decoder()).compile(loss="mse"),
        ValueError,
        r"brings its own loss.*Received: loss='mse'",
    ),
    "an encoder that is a function": (
        lambda: compiled(encoder=lambda x: x),
        TypeError,
        r"`encoder` must be a Keras model or layer. Received: <function",
    ),
    "a decoder that is a function": (
        lambda: compiled(decoder=lambda z: z),
        TypeError,
        r"`decoder` must be a Keras model or layer. Received: <function",
    ),
    "an encoder without a distribution": (
        lambda: compiled(encoder=plain_network(D, L)).fit(X, verbose=0),
        TypeError,
        r"encoder of a VAE must output a distribution: .*MultivariateNormalDiag.*Received",
    ),
    "a decoder without a distribution": (
        lambda: compiled(decoder=plain_network(L, D)).fit(X, verbose=0),
        TypeError,
        r"decoder must output a distribution: .*IndependentBernoulli.*Received",
    ),
    "a layer that adds the divergence too": (
        lambda: compiled(encoder=encoder(**KL)),
        ValueError,
        r"charged twice.*give it to the VAE as `regularizer`. Received: <KLDivergenceRegularizer",
    ),
    "a layer for the divergence": (
        lambda: compiled(encoder=with_kl_layer()),
        ValueError,
        r"charged twice.*give it to the VAE as `regularizer`. Received: <KLDivergenceRegularizer",
    ),
    "a prior that is a distribution": (
        lambda: compiled(prior=tfd.Normal(0.0, 1.0)),
        TypeError,
        r"`prior` must be a layer of `tfvae.priors` or None. Received: <tfp",
    ),
    "a prior of another shape": (
        lambda: compiled(prior=priors.StandardNormal(L + 1)),
        ValueError,
        r"shape of the encoder's codes, \(2,\). Received: a prior of shape \(3,\)",
    ),
    "a regulariser that is a function": (
        lambda: compiled(regularizer=lambda q: q.mean()),
        TypeError,
        r"`regularizer` must be a layer of `tfvae.regularizers` or None. Received: <function",
    ),
    "beta beside a regulariser": (
        lambda: compiled(regularizer=MeanSquare(), beta=2.0),
        ValueError,
        r"`beta` weighs the default regulariser.*Received: beta=2.0",
    ),
    "a prior beside a regulariser's own": (
        lambda: compiled(prior=priors.StandardNormal(L), regularizer=KL["activity_regularizer"]),
        ValueError,
        r"has a prior of its own.*Received: prior=",
    ),
    "a negative beta": (
        lambda: compiled(beta=-1.0),
        ValueError,
        r"`beta` must be a finite number.*Received: -1.0",
    ),
    "bytes": (
        lambda: bernoulli_vae().fit(BYTES, verbose=0),
        ValueError,
        r"Data must be floating point.*Received: dtype uint8",
    ),
    "pixels up to 255": (
        lambda: bernoulli_vae().fit(255 * X, verbose=0),
        ValueError,
        r"outside \[0, 1\]: divide pixels.*Received: values from",
    ),
    "a dataset of pixels up to 255": (
        lambda: bernoulli_vae().fit(batches(255 * X, Y), verbose=0),
        ValueError,
        r"outside \[0, 1\]: divide pixels.*Received: values from",
    ),
    "validation pixels up to 255": (
        lambda: bernoulli_vae().fit(X, validation_data=(255 * X,), verbose=0),
        ValueError,
        r"outside \[0, 1\]: divide pixels.*Received: values from",
    ),
    "pixels up to 255 to evaluate": (
        lambda: bernoulli_vae().evaluate(255 * X, verbose=0),
        ValueError,
        r"outside \[0, 1\]: divide pixels.*Received: values from",
    ),
    "pixels up to 255 in a bound": (
        lambda: bernoulli_vae().log_likelihood(255 * X, 3),
        ValueError,
        r"outside \[0, 1\]: divide pixels.*Received: values from",
    ),
    "data that is NaN": (
        lambda: make().fit(NAN, verbose=0),
        ValueError,
        r"must be finite: .*Received: nan at index \(0, 3\)",
    ),
    "an empty dataset": (
        lambda: make().fit(batches(X).take(0), verbose=0),
        ValueError,
        r"has no batches. Received: an empty tf.data.Dataset",
    ),
    "an empty array": (
        lambda: make().fit(X[:0], verbose=0),
        ValueError,
        r"is empty. Received: shape \(0, 6\)",
    ),
    "nothing to reconstruct": (
        lambda: make().reconstruct(X[:0]),
        ValueError,
        r"no examples. Received: shape \(0, 6\)",
    ),
    "no samples": (lambda: make().sample(0), ValueError, r"`n` must be .*Received: 0"),
    "half a sample": (lambda: make().sample(1.5), ValueError, r"`n` must be .*Received: 1.5"),
    "a seed that is no integer": (
        lambda: make().sample(2, seed="7"),
        TypeError,
        r"`seed` must be an integer. Received: '7'",
    ),
    "no draws": (
        lambda: make().elbo(X, 0),
        ValueError,
        r"`num_samples` must be an integer of at least 1. Received: 0",
    ),
    "half a draw": (
        lambda: make().log_likelihood(X, 2.5),
        ValueError,
        r"`num_samples` must be an integer of at least 1. Received: 2.5",
    ),
    "one step": (
        lambda: make().interpolate(X[0], X[1], 1),
        ValueError,
        r"at least 2 steps. Received: .*steps=1",
    ),
    "ends of two shapes": (
        lambda: make().interpolate(X[0], X[:2], 3),
        ValueError,
        r"arrays of one shape.*Received: shapes \(6,\) and \(2, 6\)",
    ),
    "another likelihood": (
        lambda: VAE.for_images((8, 8, 1), likelihood="poisson"),
        ValueError,
        r"`likelihood` must be one of .*Received: 'poisson'",
    ),
    "another network": (
        lambda: VAE.for_images((8, 8, 1), network="transformer"),
        ValueError,
        r"`network` must be one of .*Received: 'transformer'",
    ),
    "a vector for convolutions": (
        lambda: VAE.for_images((64,), network="conv"),
        ValueError,
        r"network='dense' for vectors. Received: \(64,\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name):
    act, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        act()
