"""Several steps in one execution are the same training, and callbacks are told the truth of it."""

from __future__ import annotations

import gc
import io
import weakref
from contextlib import redirect_stdout

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfvae import VAE, layers
from tfvae.models import array_rows, blocks, execution, feeding

X = np.random.default_rng(0).random((70, 4), np.float32).round()


def model(**options):
    keras.utils.set_random_seed(0)
    vae = VAE.for_images((4,), latent_dim=2, hidden=(4,))
    vae.compile(keras.optimizers.Adam(0.05), **options)
    return vae


class Told(keras.callbacks.Callback):
    """Notes what it is told; of this module, so a model that may choose calls it at every step."""

    def __init__(self):
        super().__init__()
        self.train, self.test, self.epochs = [], [], []

    def on_train_batch_end(self, batch, logs=None):
        self.train.append(batch)

    def on_test_batch_end(self, batch, logs=None):
        self.test.append(batch)

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(logs)


def batches(count=7, known=True):
    dataset = tf.data.Dataset.from_tensor_slices(X).batch(10).take(count)
    return dataset if known else dataset.filter(lambda x: True)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "xla"])
def single_steps(request):
    """A model trained in single steps, its history, and whether XLA compiled it."""
    single = model(steps_per_execution=1, jit_compile=request.param)
    return single, single.fit(batches(), epochs=3, verbose=0).history, request.param


@pytest.mark.parametrize("steps", [3, 7, 64])
def test_blocks_are_the_same_training(steps, single_steps):
    single, history, jit_compile = single_steps
    several = model(steps_per_execution=steps, jit_compile=jit_compile)
    assert several.fit(batches(), epochs=3, verbose=0).history == history
    for a, b in zip(single.get_weights(), several.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(several.optimizer.iterations) == 21


def test_one_program_serves_short_blocks_and_a_smaller_last_batch():
    """Blocks of 4 and 2 steps of ten, and one of a batch of three."""
    data = tf.data.Dataset.from_tensor_slices(X[:63]).batch(10)
    single, several = (model(steps_per_execution=n, jit_compile=True) for n in (1, 4))
    for m in (single, several):
        m.fit(data, epochs=2, verbose=0)
    for a, b in zip(single.get_weights(), several.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(several.optimizer.iterations) == 14


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_step_is_traced_once(jit_compile, monkeypatch):
    traced = []
    step = VAE.train_step
    monkeypatch.setattr(VAE, "train_step", lambda *data: traced.append(1) or step(*data))
    model(steps_per_execution=3, jit_compile=jit_compile).fit(batches(), epochs=2, verbose=0)
    assert len(traced) == 1


def test_what_is_not_there_stays_away():
    """A block of batches without targets, as Keras hands them over."""
    vae, plain = (model(steps_per_execution=3, jit_compile=True) for _ in range(2))
    for m, rows in (
        (vae, [(X[first : first + 10], None) for first in (0, 10, 20)]),
        (plain, [(X[first : first + 10],) for first in (0, 10, 20)]),
    ):
        m.fit((row for row in rows), steps_per_epoch=3, shuffle=False, verbose=0)
    assert int(vae.optimizer.iterations) == 3
    for a, b in zip(vae.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_all_gradients_before_any():
    sparse = tf.IndexedSlices(tf.ones([1, 2]), tf.constant([0]), tf.constant([3, 2]))
    dense = [tf.constant([[1.0, np.inf]]), tf.constant(2.0)]
    kept = blocks.all_before_any([dense[0], None, sparse, dense[1]])
    assert kept[1] is None
    assert kept[2] is sparse
    np.testing.assert_array_equal(kept[0], dense[0])
    assert float(kept[3]) == 2.0
    # Each waits for all: one that is not a number is seen in every other.
    tied = blocks.all_before_any([tf.constant([np.nan]), tf.constant(2.0)])
    assert np.isnan(float(tied[1]))


def test_xla_copies_no_weight():
    """In the program of a block every weight is updated where it lies."""
    vae = VAE.for_images((4,), latent_dim=2, hidden=(6, 5))
    vae.compile(jit_compile=True)
    vae.optimizer.build(vae.trainable_variables)

    @tf.function(jit_compile=True, autograph=False)
    def block(batches):
        def step(number):
            vae.train_step((batches[number],))
            return (number + 1,)

        return tf.while_loop(lambda number: number < 7, step, (0,))

    data = tf.constant(X[:70].reshape(7, 10, 4))
    program = block.experimental_get_compiler_ir(data)(stage="optimized_hlo")
    body = max(program.split("\n\n"), key=lambda part: part.count("dot("))
    copied = {
        line.split("=")[1].split()[0].split("{")[0]
        for line in body.splitlines()
        if " copy(" in line
    }
    kernels = {f"f32[{w.shape[0]},{w.shape[1]}]" for w in vae.trainable_variables if w.ndim == 2}
    assert body.count("dot(") >= 10
    assert not copied & kernels


@pytest.mark.parametrize("known", [True, False])
def test_callbacks_are_told_the_steps_that_were_run(known):
    vae, told = model(steps_per_execution=3), Told()
    vae.fit(
        batches(7, known), epochs=2, validation_data=batches(4, known), callbacks=[told], verbose=0
    )
    # Nobody knows beforehand that the data will end; the second epoch does.
    assert told.train[:3] == [2, 5, 6]
    assert told.train[-3:] == [2, 5, 6]
    assert told.test[-2:] == [2, 3]
    assert int(vae.optimizer.iterations) == 14
    assert int(vae.encoder.layers[-1].seed_state.numpy()[1]) == 14 + 2 * 4


def test_an_epoch_of_endless_data_ends_where_it_should():
    vae, told = model(steps_per_execution=4), Told()
    data = batches().repeat()
    vae.fit(
        data,
        epochs=2,
        steps_per_epoch=6,
        validation_data=data,
        validation_steps=5,
        validation_freq=2,
        callbacks=[told],
        verbose=0,
    )
    assert told.train == [3, 5, 3, 5]
    assert told.test == [3, 4]
    assert int(vae.optimizer.iterations) == 12
    assert ["val_loss" in logs for logs in told.epochs] == [False, True]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_all_epochs_of_a_dataset_that_holds_them_are_whole(jit_compile):
    """Blocks of 4 and 3 steps, which are not 8 of the 35 that there are."""
    vae = model(steps_per_execution=4, jit_compile=jit_compile)
    vae.fit(batches().repeat(5), steps_per_epoch=7, epochs=5, verbose=0)
    assert int(vae.optimizer.iterations) == 35


def test_the_evaluation_of_a_part_is_of_that_part():
    several, single = model(steps_per_execution=4), model(steps_per_execution=1)
    scores = [
        m.evaluate(batches().repeat(), steps=5, verbose=0, return_dict=True)
        for m in (several, single)
    ]
    assert scores[0] == scores[1]


def test_the_progress_bar_counts_to_the_end():
    with redirect_stdout(io.StringIO()) as printed:
        model(steps_per_execution=4).fit(batches().repeat(), steps_per_epoch=6, verbose=1)
    assert "6/6" in printed.getvalue()
    assert "8/6" not in printed.getvalue()


def test_early_stopping_stops():
    vae = model(steps_per_execution=4)
    stop = keras.callbacks.EarlyStopping("loss", patience=0, min_delta=1e9)
    assert len(vae.fit(batches(), epochs=5, callbacks=[stop], verbose=0).epoch) == 2


def test_a_callback_of_the_users_is_called_at_every_step():
    """Unless the number was asked for."""
    vae, told = model(), Told()
    vae.fit(batches(), callbacks=[told], verbose=0)
    assert told.train == list(range(7))


def test_arrays_batches_and_generators_agree():
    scores = [
        model().evaluate(data, verbose=0, return_dict=True)["loss"]
        for data in (X, tf.constant(X), tf.data.Dataset.from_tensor_slices(X).batch(32))
    ]
    generator = ((X[first : first + 32],) for first in range(0, 70, 32))
    scores.append(model(jit_compile=False).evaluate(generator, verbose=0, return_dict=True)["loss"])
    np.testing.assert_allclose(scores, scores[0], rtol=1e-5)


def test_a_split_and_weights_of_arrays():
    vae = model()
    history = vae.fit(
        X.astype("float64"), validation_split=0.2, sample_weight=np.zeros(70), epochs=2, verbose=0
    ).history
    assert history["loss"] == history["val_loss"] == [0.0, 0.0]
    with pytest.raises(ValueError, match=r"both sides. Received: validation_split=0.999 of 70"):
        vae.fit(X, validation_split=0.999, verbose=0)


def test_eager_steps():
    vae, told = model(run_eagerly=True, steps_per_execution=3), Told()
    vae.fit(batches(), callbacks=[told], verbose=0)
    assert told.train == [2, 5, 6]


def test_single_batches():
    vae = model()
    loss = vae.train_on_batch(X[:10])
    assert np.isfinite(loss).all()
    assert int(vae.optimizer.iterations) == 1
    assert np.isfinite(vae.test_on_batch(X[:10])).all()


@keras.saving.register_keras_serializable(package="tests")
class NotForXla(keras.layers.Layer):
    """Adds nothing, by an operation that XLA does not have; not to batches of `spared` examples."""

    def __init__(self, spared=None, **kwargs):
        super().__init__(**kwargs)
        self.spared = spared

    def call(self, x):
        if x.shape[0] == self.spared:
            return x
        return x + 0 * tf.strings.to_number(tf.strings.as_string(tf.reduce_sum(x)))


def wide():
    """Enough multiplications for XLA."""
    return [keras.layers.Dense(400) for _ in range(2)]


def unfit(spared=None, **options):
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input((4,)),
            NotForXla(spared),
            *wide(),
            keras.layers.Dense(4),
            layers.MultivariateNormalDiag(2),
        ]
    )
    decoder = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(4), layers.IndependentBernoulli((4,))]
    )
    vae = VAE(encoder, decoder)
    vae.compile(**options)
    return vae


def test_a_step_that_xla_cannot_compile_runs_without():
    vae, asked = unfit(), unfit(jit_compile=False)
    with pytest.warns(UserWarning, match="XLA cannot compile this model's training step"):
        vae.fit(batches(), verbose=0)
    asked.fit(batches(), verbose=0)
    assert int(vae.optimizer.iterations) == 7
    for a, b in zip(vae.get_weights(), asked.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    vae.fit(batches(), verbose=0)  # and does not try again
    assert not vae.jit_compile


@pytest.mark.filterwarnings("error:XLA cannot compile")
@pytest.mark.parametrize("in_batches", [False, True], ids=["arrays", "batches"])
def test_a_smaller_last_batch_is_not_worth_a_program(in_batches):
    """XLA could not compile it: it is the one batch of less than 32 examples."""
    data = tf.data.Dataset.from_tensor_slices(X).batch(32) if in_batches else X
    some, none = unfit(spared=32), unfit(spared=32, jit_compile=False)
    for vae in (some, none):
        vae.fit(data, batch_size=None if in_batches else 32, epochs=2, shuffle=False, verbose=0)
        assert int(vae.optimizer.iterations) == 6
    assert some.jit_compile
    for a, b in zip(some.get_weights(), none.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    scores = [vae.evaluate(data, verbose=0, return_dict=True)["loss"] for vae in (some, none)]
    np.testing.assert_allclose(*scores, rtol=1e-4)


def test_what_ran_before_xla_gave_up_does_not_run_again():
    """Three batches that it can compile, and two of another size that it cannot, in one block."""
    sizes = tf.data.Dataset.from_generator(
        lambda: (X[:size] for size in (10, 10, 10, 7, 7)),
        output_signature=tf.TensorSpec([None, 4], tf.float32),
    )
    vae = unfit(spared=10, steps_per_execution=5)
    with pytest.warns(UserWarning, match="XLA cannot compile this model's training step"):
        vae.fit(sizes, verbose=0)
    assert int(vae.optimizer.iterations) == 5


@pytest.mark.filterwarnings("error:XLA cannot compile")
def test_an_error_of_a_smaller_last_batch_is_none_of_xlas():
    """It comes after two steps, which do not run again."""
    vae = unfit(spared=32)
    vae.encoder.layers[0].call = whole_batches_alone
    with pytest.raises(tf.errors.InvalidArgumentError, match="a rest"):
        vae.fit(X, batch_size=32, verbose=0)
    assert int(vae.optimizer.iterations) in (2, 3)  # the failed step may have counted itself
    assert vae.jit_compile


def whole_batches_alone(x):
    return x if x.shape[0] == 32 else tf.debugging.check_numerics(x / 0, "a rest")


@pytest.mark.parametrize("steps", [1, 4])
def test_smaller_batches_of_another_training_are_compiled(steps):
    """Two sizes, each of which begins a pass: XLA cannot compile the second."""
    vae = unfit(spared=32, steps_per_execution=steps)
    vae.fit(X[:64], batch_size=32, verbose=0)
    with pytest.raises(blocks.NOT_COMPILED):
        vae.fit(X[:64], batch_size=16, verbose=0)


def test_who_asks_for_xla_gets_its_error():
    for spared in (None, 32):
        with pytest.raises(blocks.NOT_COMPILED):
            unfit(spared, jit_compile=True).fit(X, batch_size=32, verbose=0)


@pytest.mark.parametrize("steps", [5, 64])
def test_arrays_come_in_blocks_and_change_nothing(steps, monkeypatch):
    """Epochs of 23 batches of three and one of one example, in an order of their own."""
    taken = []
    take = blocks._Batches.stacks
    monkeypatch.setattr(
        blocks._Batches,
        "stacks",
        lambda self: taken.append((self.stacked, self.arrays is not None)) or take(self),
    )
    ways = [(True, True), (True, False), (False, False)]
    monkeypatch.setattr(array_rows, "_WORTH_SHARING", 128)
    models = [model(jit_compile=True, steps_per_execution=steps) for _ in ways]
    for vae, way in zip(models, ways, strict=True):
        keras.utils.set_random_seed(1)
        data = X.copy()
        data.flags.writeable = way[1]  # NumPy shares no memory that is read-only
        monkeypatch.setattr(feeding, "fit_in_block", lambda *arguments, way=way: way[0])
        vae.fit(data, batch_size=3, epochs=2, verbose=0)
        assert int(vae.optimizer.iterations) == 48
    number = 2 * -(-24 // steps)
    assert taken == [way for way in ways for _ in range(number)]
    for vae in models[1:]:
        for a, b in zip(models[0].get_weights(), vae.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_blocks_that_read_an_array_are_longer_than_those_that_are_held(monkeypatch):
    """Of four batches at most, by this limit; a validation holds its batches."""
    monkeypatch.setattr(execution, "_BYTES_ON_CPU", 4 * 10 * X[0].nbytes)
    lengths = []
    take = blocks._Batches.stacks
    monkeypatch.setattr(
        blocks._Batches, "stacks", lambda self: lengths.append(self.length) or take(self)
    )
    vae = model(jit_compile=True)
    for data, validation in ((X, None), (batches(), None), (X, (X,))):
        vae.fit(data, validation_data=validation, batch_size=10, verbose=0)
    assert lengths == [7, *[4, 3] * 3]
    assert int(vae.optimizer.iterations) == 3 * 7


def test_a_training_lets_go_of_its_array(monkeypatch):
    monkeypatch.setattr(array_rows, "_WORTH_SHARING", 128)
    data = X.copy()
    kept = weakref.ref(data)
    vae = model(jit_compile=True, steps_per_execution=5)
    vae.fit(data, batch_size=10, verbose=0)
    del data
    gc.collect()
    assert kept() is None
    assert vae.train_function is not None


def test_blocks_that_xla_cannot_compile_are_taken_apart():
    vae, asked = unfit(), unfit(jit_compile=False)
    with pytest.warns(UserWarning, match="XLA cannot compile this model's training step"):
        vae.fit(X, batch_size=20, epochs=2, shuffle=False, verbose=0)
    asked.fit(X, batch_size=20, epochs=2, shuffle=False, verbose=0)
    assert int(vae.optimizer.iterations) == 8
    for a, b in zip(vae.get_weights(), asked.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float64", "int64"])
def test_weighted_arrays_in_blocks(dtype, monkeypatch):
    arrays = []
    init = blocks._Batches.__init__
    monkeypatch.setattr(
        blocks._Batches,
        "__init__",
        lambda self, *args: arrays.append(args[-1]) or init(self, *args),
    )
    weight = (np.arange(70) % 3).astype(dtype)
    losses = [
        model(jit_compile=jit, steps_per_execution=4)
        .fit(X, sample_weight=weight, batch_size=16, shuffle=False, verbose=0)
        .history["loss"]
        for jit in (False, True)
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert [given is not None for given in arrays] == [False] * 2 + [True] * 2
    assert len(arrays[-1]) == 3


@pytest.mark.parametrize("shape", [(69,), (71, 1), ()])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_weights_that_are_not_one_for_each_example(jit_compile, shape):
    with pytest.raises(ValueError, match=r"a value for each example.*Received: shape .* for 70"):
        model(jit_compile=jit_compile).fit(X, sample_weight=np.ones(shape), verbose=0)


def test_a_program_of_rows_is_not_compiled_for_every_number_of_them(monkeypatch):
    """The second number and all after it have blocks, whose program serves them all."""
    taken = []
    take = blocks._Batches.stacks
    monkeypatch.setattr(
        blocks._Batches, "stacks", lambda self: taken.append(self.arrays is not None) or take(self)
    )
    vae = model(jit_compile=True)
    for rows in (40, 30, 40, 50):
        vae.fit(X[:rows], batch_size=10, verbose=0)
    assert taken == [True, False, True, False]
    vae.compile(jit_compile=True)
    vae.fit(X[:30], batch_size=10, verbose=0)
    assert taken[-1]


def test_a_later_training_may_have_longer_blocks():
    vae = model(jit_compile=True)
    for rows, steps in ((X[:30], 3), (X, 10), (X[:10], 11)):
        vae.fit(rows, batch_size=10, verbose=0)
        assert int(vae.optimizer.iterations) == steps


@pytest.mark.parametrize("ask", ["evaluate", "predict", "train_on_batch"])
def test_a_callback_may_ask_in_between(ask):
    """However many steps the model would take for the answer."""
    vae = model(jit_compile=True)
    data = X[:16] if ask == "train_on_batch" else X
    extra = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: getattr(vae, ask)(data))
    vae.fit(X, batch_size=2, epochs=2, callbacks=[extra], verbose=0)
    assert int(vae.optimizer.iterations) == 2 * (35 + (ask == "train_on_batch"))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_training_within_a_training(jit_compile):
    """Of two steps, after each epoch of seven, whose order and length it leaves alone."""
    inner, outer = X[:20], model(jit_compile=jit_compile)
    extra = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: outer.fit(inner, batch_size=10, verbose=0)
    )
    outer.fit(X, batch_size=10, epochs=3, callbacks=[extra], verbose=0)
    assert int(outer.optimizer.iterations) == 3 * (7 + 2)


def test_a_validation_does_not_change_the_order_of_the_training(monkeypatch):
    orders = []
    take = array_rows.ArrayRows.take
    monkeypatch.setattr(
        array_rows.ArrayRows, "take", lambda self, rows: orders[-1].append(rows) or take(self, rows)
    )
    monkeypatch.setattr(blocks, "_in_one_program", lambda step, rest: blocks._one_by_one(step))
    for validation in (None, (X,)):
        orders.append([])
        model(jit_compile=True).fit(X, batch_size=10, validation_data=validation, verbose=0)
    assert len(orders[0]) == 7
    np.testing.assert_array_equal(*orders)


def test_an_error_of_the_data_is_none_of_xlas():
    def broken(x):
        return tf.debugging.check_numerics(x / 0, "a bad picture")

    vae = unfit()
    with pytest.raises(tf.errors.InvalidArgumentError, match="a bad picture"):
        vae.fit(batches().take(0).concatenate(batches().map(broken)), verbose=0)


def test_single_batches_after_an_interrupted_block():
    def stop(epoch, logs):
        raise KeyboardInterrupt

    vae = model(jit_compile=True, steps_per_execution=4)
    with pytest.raises(KeyboardInterrupt):
        vae.fit(X, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=stop)], verbose=0)
    assert np.isfinite(vae.train_on_batch(X[:10])).all()
