"""The callback that watches the latent: what it writes, when it warns, and what it leaves alone."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfvae import VAE, Autoencoder, layers, metrics, priors, regularizers
from tfvae.callbacks import HistoryCSV, LatentDiagnostics, read_history

NAMES = {"rate", "distortion", "active_units", "mutual_information", "marginal_kl"}
X = np.random.default_rng(0).normal(size=(96, 3)).astype("f")
EXAMPLES = 50


def make(learning_rate=0.01, **options):
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(4),
            layers.MultivariateNormalDiag(2),
        ]
    )
    decoder = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(3), layers.IndependentNormal(3, "mean", scale=0.5)]
    )
    vae = VAE(encoder, decoder, **options)
    vae.compile(keras.optimizers.SGD(learning_rate))
    return vae


def fit(vae, callbacks, epochs=3):
    fitted = vae.fit(
        X, validation_data=X[:20], batch_size=8, epochs=epochs, callbacks=callbacks, verbose=0
    )
    return fitted.history


def state(vae):
    return [v.numpy() for v in (*vae.variables, *vae.optimizer.variables)]


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A training that everything watches."""
    folder, vae, traces, again = tmp_path_factory.mktemp("watched"), make(), [], []

    def remember(epoch, logs):
        functions = vae._compiled_functions.values()
        traces.append([fn.experimental_get_tracing_count() for fn in functions])
        if epoch == 1:
            again.append(({name: logs[name] for name in NAMES}, state(vae)))
            again.append((metrics.diagnose(vae, X[:EXAMPLES], 2).scalars(), state(vae)))

    watch = LatentDiagnostics(X, num_samples=2, max_examples=EXAMPLES, log_dir=folder / "latent")
    history = fit(
        vae,
        [
            watch,
            HistoryCSV(folder / "history.csv"),
            keras.callbacks.TensorBoard(folder / "keras", write_graph=False),
            keras.callbacks.LambdaCallback(on_epoch_end=remember),
        ],
    )
    return SimpleNamespace(
        vae=vae, watch=watch, folder=folder, history=history, traces=traces, again=again
    )


def by_hand(vae, watch, states, first=0):
    """Ends epochs of which each has collapsed or not; returns their logs and the warnings.

    With a kernel of zeros the posterior is the same for every x.
    """
    kernel, found = vae.encoder.layers[2].kernel, []
    watch.set_model(vae)
    watch.on_train_begin()
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("always", category=UserWarning)
        for epoch, collapsed in enumerate(states, first):
            kernel.assign(np.zeros(kernel.shape) if collapsed else np.ones(kernel.shape))
            logs = {"loss": 1.0}
            watch.on_epoch_end(epoch, logs)
            found.append(logs)
        before_the_end = len(caught)
        watch.on_train_end()
    return found, [str(warning.message) for warning in caught], before_the_end


@pytest.fixture(scope="module")
def idle():
    return make()


def test_a_training_that_is_watched_is_the_same_training(watched):
    assert watched.vae.steps_per_execution > 1
    vae = make()
    history = fit(vae, [])
    for ours, theirs in zip(state(watched.vae), state(vae), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for name, values in history.items():
        assert watched.history[name] == values


def test_what_is_logged_is_what_is_measured_again(watched):
    (logged, before), (measured, after) = watched.again
    assert logged == measured
    for ours, theirs in zip(before, after, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    x = X[:EXAMPLES]
    assert watched.history["rate"][-1] == metrics.rate(watched.vae, x, 2)
    assert watched.history["active_units"][-1] == metrics.active_units(watched.vae, x)
    assert len(set(watched.history["rate"])) == 3


def test_nothing_is_traced_twice(watched):
    assert len(watched.traces[0]) >= 3
    assert watched.traces[0] == watched.traces[2]


def test_histories_hold_it(watched):
    rows = read_history(watched.folder / "history.csv")
    assert set(watched.history) - NAMES == {
        f"{part}{name}" for part in ("", "val_") for name in ("loss", "nll", "kl")
    }
    for name in NAMES:
        assert [row[name] for row in rows] == watched.history[name]


def tensors(folder):
    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        name: [(event.step, tf.make_ndarray(event.tensor_proto)) for event in events.Tensors(name)]
        for name in events.Tags()["tensors"]
    }


def test_tensorboard_shows_it(watched):
    own, keras_own = (
        tensors(watched.folder / "latent"),
        tensors(watched.folder / "keras" / "train"),
    )
    for name in NAMES:
        for written in (own[f"latent/{name}"], keras_own[f"epoch_{name}"]):
            assert [step for step, _ in written] == [0, 1, 2]
            values = [float(value) for _, value in written]
            np.testing.assert_allclose(values, watched.history[name], rtol=1e-6)
    # Buckets [left, right, count] of a histogram: of two dimensions.
    _, buckets = own["latent/kl_per_dimension"][-1]
    kl = watched.watch.latest.kl_per_dimension
    assert buckets[:, 2].sum() == 2
    assert (buckets[0, 0], buckets[-1, 1]) == pytest.approx((kl.min(), kl.max()), rel=1e-5)


def test_a_training_in_two_parts_goes_on_in_one_folder(idle, tmp_path):
    watch = LatentDiagnostics(X, log_dir=tmp_path)
    by_hand(idle, watch, [False, False])
    by_hand(idle, watch, [False], first=2)
    folder = tensors(tmp_path)
    assert [step for step, _ in folder["latent/rate"]] == [0, 1, 2]


def test_every_second_epoch(idle):
    logs, _, _ = by_hand(idle, LatentDiagnostics(X, every=2), [False] * 5)
    assert [set(found) == {"loss"} | NAMES for found in logs] == [False, True, False, True, False]
    assert [set(found) == {"loss"} for found in logs] == [True, False, True, False, True]


def test_a_collapsed_posterior_is_warned_of_once(idle):
    watch = LatentDiagnostics(X)
    _, found, before_the_end = by_hand(idle, watch, [True] * 5)
    assert (len(found), before_the_end) == (1, 1)
    assert found[0].startswith("The posterior has collapsed: 0 of 2 latent dimensions vary by more")
    assert by_hand(idle, watch, [True] * 5)[1] == []


def test_the_warning_comes_out_of_fit():
    vae = make(learning_rate=0.0)
    kernel = vae.encoder.layers[2].kernel
    kernel.assign(np.zeros(kernel.shape))
    with pytest.warns(UserWarning, match="The posterior has collapsed") as found:
        fit(vae, [LatentDiagnostics(X)], epochs=1)
    assert sum("collapsed" in str(warning.message) for warning in found) == 1


def test_shorter_than_the_patience_it_is_warned_of_at_the_end(idle):
    _, found, before_the_end = by_hand(idle, LatentDiagnostics(X), [False, True])
    assert (len(found), before_the_end) == (1, 0)


@pytest.mark.parametrize("states", [[False] * 4, [True, True, False, True, True, False]])
def test_a_posterior_that_lives_or_comes_to_life_is_not(idle, states):
    watch = LatentDiagnostics(X)
    assert by_hand(idle, watch, states)[1] == []
    assert watch.latest.active_units == 2


def test_a_name_that_is_taken_needs_a_prefix():
    prior = priors.StandardNormal(2)
    vae = make(regularizer=regularizers.TotalCorrelation(prior, dataset_size=len(X)))
    with pytest.raises(ValueError, match=r"mutual_information of its own.*prefix=''"):
        vae.fit(X, callbacks=[LatentDiagnostics(X)], verbose=0)
    logs, _, _ = by_hand(vae, LatentDiagnostics(X, prefix="latent_"), [False])
    assert set(logs[0]) == {"loss"} | {f"latent_{name}" for name in NAMES}


def test_codes_that_are_small_by_design_have_a_smaller_threshold(idle):
    watch = LatentDiagnostics(X, threshold=1e9)
    _, found, _ = by_hand(idle, watch, [False] * 3)
    assert found[0].startswith("Few dimensions are active: 0 of 2")
    assert by_hand(idle, LatentDiagnostics(X, threshold=1e-9), [False] * 3)[1] == []


def test_what_has_no_posterior_is_refused_before_the_training():
    ae = Autoencoder.for_images((3,), latent_dim=2, hidden=(4,), likelihood="normal")
    ae.compile()
    with pytest.raises(TypeError, match="posterior"):
        ae.fit(X, callbacks=[LatentDiagnostics(X)], verbose=0)


def test_arguments_out_of_range_are_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"two examples or more.*Received: <_Tensor"):
        LatentDiagnostics(tf.data.Dataset.from_tensor_slices(X))
    with pytest.raises(ValueError, match=r"two examples or more.*Received: shape \(1, 3\)"):
        LatentDiagnostics(X[:1])
    with pytest.raises(ValueError, match="`every` must be at least 1"):
        LatentDiagnostics(X, every=0)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="`tensorboard`: install it"):
        LatentDiagnostics(X, log_dir="anywhere")
