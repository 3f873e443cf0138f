"""What `compile` decides when it is left to decide."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfvae
from tfvae import VAE
from tfvae.models.execution import MAX_STEPS, choose_execution, multiplications


def vae(network="dense", hidden=(512,), size=16, **options):
    model = VAE.for_images((size, size, 1), latent_dim=2, network=network, hidden=hidden)
    model.compile(**options)
    return model


def test_xla_where_it_pays():
    dense, conv = (vae(network).execution(batch_size=32) for network in ("dense", "conv"))
    assert (dense.jit_compile, conv.jit_compile) == (True, False)
    assert "dense network on a CPU" in str(dense)
    assert "convolutions on a CPU" in str(conv)
    assert "a small network" in str(vae(hidden=(4,)).execution(32))


@pytest.mark.parametrize("network", ["dense", "conv"])
def test_what_a_prior_learns_is_no_convolution(network):
    for prior in (
        tfvae.priors.VampPrior(2, pseudo_inputs=5),
        tfvae.priors.GaussianMixture(2, 3, covariance="full"),
    ):
        model = VAE.for_images((16, 16, 1), 2, network=network, hidden=(512,), prior=prior)
        model.compile()
        assert any(len(weight.shape) > 2 for weight in prior.weights)
        assert model.execution(32).jit_compile == (network == "dense")


def test_what_is_said_explicitly_wins():
    plan = vae(jit_compile=False, steps_per_execution=5).execution(32)
    assert plan == (False, 5, "as asked for")
    assert vae("conv", jit_compile=True).execution(32).jit_compile


def test_eager_and_replicated_models_do_without():
    plan = vae(run_eagerly=True).execution(32)
    assert (plan.jit_compile, plan.steps_per_execution) == (False, 1)
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        assert vae().execution(32).jit_compile  # one replica, nothing to exchange


def test_steps_fit_into_a_moment():
    small, large = vae(hidden=(4,)), vae(hidden=(1024, 1024), size=28)
    assert small.execution(32).steps_per_execution == MAX_STEPS
    assert small.execution(32, steps=7).steps_per_execution == 7
    counts = [large.execution(size).steps_per_execution for size in (32, 128, 1024)]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < counts[0] <= MAX_STEPS


def test_blocks_fit_into_memory_and_are_of_one_length():
    small = vae(hidden=(4,), size=64)  # 16 kB an example
    assert small.execution(128).steps_per_execution == MAX_STEPS
    compiled = vae(hidden=(4,), size=64, jit_compile=True)
    assert compiled.execution(128).steps_per_execution == 2**24 // (128 * 64 * 64 * 4) == 8
    assert compiled.execution(10_000).steps_per_execution == 1
    # A program that takes its batches out of an array holds none.
    assert compiled.execution(128, held=False).steps_per_execution == MAX_STEPS
    # 17 steps are three blocks of six, not two of eight and one of one; and 64 of 70 are 35.
    assert compiled.execution(128, steps=17).steps_per_execution == 6
    assert vae(hidden=(4,)).execution(32, steps=70).steps_per_execution == 35


def test_examples_of_unknown_length():
    encoder = keras.Sequential(
        [
            keras.Input((None, 3)),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(4),
            tfvae.layers.MultivariateNormalDiag(2),
        ]
    )
    decoder = keras.Sequential([keras.layers.Dense(3), tfvae.layers.IndependentBernoulli((3,))])
    model = VAE(encoder, decoder)
    model.compile(jit_compile=True)
    assert model.execution(32).steps_per_execution == MAX_STEPS


def test_a_callback_for_every_step():
    class Mine(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            pass

    class Theirs(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            pass

    model = vae()
    plan = model.execution(32, callbacks=[Mine()])
    assert (plan.jit_compile, plan.steps_per_execution) == (True, 1)
    assert "Mine is called after every step" in plan.reason
    for harmless in (
        Theirs(),
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.LambdaCallback(on_epoch_end=print),
        tfvae.callbacks.HistoryCSV("unused.csv"),
    ):
        assert model.execution(32, callbacks=[harmless]).steps_per_execution > 1
    on_batch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    assert model.execution(32, callbacks=on_batch).steps_per_execution == 1


def test_multiplications_of_a_convolution():
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(5, 3, strides=2, padding="same")]
    )
    assert multiplications(model) == 3 * 3 * 3 * 5 * 4 * 4


def test_the_choice_stays_a_choice_when_saved(tmp_path):
    model = vae(steps_per_execution=3)
    model.fit(np.zeros((8, 16, 16, 1), "f"), verbose=0)
    model.save(tmp_path / "vae.keras")
    again = tfvae.load(tmp_path / "vae.keras")
    config = again.get_compile_config()
    assert (config["jit_compile"], config["steps_per_execution"]) == ("auto", 3)
    assert again.execution(32).jit_compile


def unbuilt():
    encoder = keras.Sequential([keras.layers.Dense(4), tfvae.layers.MultivariateNormalDiag(2)])
    decoder = keras.Sequential([keras.layers.Dense(4), tfvae.layers.IndependentBernoulli((4,))])
    return VAE(encoder, decoder)


def test_it_is_decided_for_a_model_that_is_built():
    with pytest.raises(ValueError, match="build it first"):
        unbuilt().execution()
    assert VAE.for_images((4,), latent_dim=2, hidden=(4,)).execution().steps_per_execution > 1


def test_unbuilt_models_are_built_to_decide():
    model = unbuilt()
    model.compile()
    model.fit(np.zeros((40, 4), "f"), verbose=0)
    assert not model.jit_compile
    assert model.steps_per_execution == 2
    assert "a small network" in choose_execution(model, 32).reason


def test_the_decoder_counts_for_every_draw():
    one, five = (VAE.for_images((8,), 2, hidden=(4,), num_samples=k) for k in (1, 5))
    encoder, decoder = 8 * 4 + 4 * 4, 2 * 4 + 4 * 8
    assert multiplications(one) == encoder + decoder
    assert multiplications(five) == encoder + 5 * decoder


def test_networks_of_another_precision():
    keras.utils.set_random_seed(0)
    usual = keras.config.dtype_policy()
    model = VAE.for_images((8,), 2, hidden=(4,), dtype_policy="mixed_bfloat16")
    assert keras.config.dtype_policy() == usual
    hidden, posterior = model.encoder.layers[0], model.encoder.layers[-1]
    assert (hidden.compute_dtype, hidden.variable_dtype) == ("bfloat16", "float32")
    assert posterior.compute_dtype == "float32"
    model.compile(keras.optimizers.Adam(0.02))
    x = np.random.default_rng(0).random((64, 8), np.float32).round()
    losses = model.fit(x, epochs=10, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert model.encode(x).mean().dtype == tf.float32
