"""Layers that draw random numbers: the state of the draws is a weight."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfvae.layers.seeded import SeededLayer


@keras.saving.register_keras_serializable(package="tests_seeded")
class Noise(SeededLayer):
    """The smallest layer with noise."""

    def call(self, inputs):
        noise = tf.random.stateless_normal(tf.shape(inputs), self.next_seed())
        return inputs + noise


def test_the_state_is_a_key_and_a_count():
    layer = Noise(seed=7)
    seeds = [layer.next_seed().numpy().tolist() for _ in range(3)]
    assert seeds == [[7, 0], [7, 1], [7, 2]]
    assert layer.seed_state.numpy().tolist() == [7, 3]
    assert layer.trainable_weights == []
    assert layer.get_config()["seed"] == 7


@pytest.mark.parametrize("jit_compile", [False, True])
def test_it_counts_inside_a_graph(jit_compile):
    layer = Noise(seed=7)
    seed = tf.function(layer.next_seed, jit_compile=jit_compile)
    assert [seed().numpy().tolist() for _ in range(3)] == [[7, 0], [7, 1], [7, 2]]


def test_keras_random_seed_fixes_it():
    keras.utils.set_random_seed(1)
    first, second = Noise().seed, Noise().seed
    keras.utils.set_random_seed(1)
    assert Noise().seed == first != second


def test_a_saved_model_goes_on_with_its_noise(tmp_path):
    x = np.zeros((2, 3), "float32")
    model = keras.Sequential([keras.Input((3,)), Noise()])
    first = model(x)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    second = model(x)
    assert np.all(first != second)
    np.testing.assert_array_equal(again(x), second)
