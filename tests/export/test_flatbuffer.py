"""Files read, tidied and written again: the same functions, no byte twice."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfvae.export import flatbuffer, read_card
from tfvae.export.interpreter import runners

WEIGHTS = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """A file of the converter's, with two signatures that use the same weights."""
    module = tf.Module()
    module.weights = tf.Variable(WEIGHTS)

    def product(x):
        return {"y": tf.matmul(x, module.weights)}

    functions = {
        f"rows_{n}": tf.function(product).get_concrete_function(
            tf.TensorSpec([n, 40], tf.float32, name="x")
        )
        for n in (1, 3)
    }
    folder = str(tmp_path_factory.mktemp("saved"))
    tf.saved_model.save(module, folder, signatures=functions)
    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[*functions])
    return converter.convert()


def test_a_tidied_file_computes_the_same(content):
    model = flatbuffer.unpack(content)
    flatbuffer.tidy(model, ["rows_3", "rows_1"])
    packed = flatbuffer.pack(model)
    assert len(packed) < len(content)
    run = runners(packed)
    assert list(run) == ["rows_3", "rows_1"]
    x = np.random.default_rng(1).normal(size=(3, 40)).astype(np.float32)
    np.testing.assert_allclose(run["rows_3"](x=x)["y"], x @ WEIGHTS, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(run["rows_1"](x=x[:1])["y"], x[:1] @ WEIGHTS, rtol=1e-5, atol=1e-5)


def test_equal_constants_are_stored_once(content):
    model = flatbuffer.unpack(content)
    flatbuffer.tidy(model, ["rows_1", "rows_3"])
    # As the quantiser leaves it: a copy for each signature.
    copy = flatbuffer.schema().BufferT()
    (index,) = {
        tensor.buffer
        for tensor in model.subgraphs[0].tensors
        if (data := model.buffers[tensor.buffer].data) is not None and len(data) == WEIGHTS.nbytes
    }
    copy.data = model.buffers[index].data.copy()
    model.buffers.append(copy)
    for tensor in model.subgraphs[1].tensors:
        if tensor.buffer == index:
            tensor.buffer = len(model.buffers) - 1
    flatbuffer.tidy(model, ["rows_1", "rows_3"])
    sizes = [0 if b.data is None else len(b.data) for b in model.buffers]
    assert sizes.count(WEIGHTS.nbytes) == 1
    assert len(flatbuffer.pack(model)) < 2 * WEIGHTS.nbytes


def test_constants_are_aligned(content):
    packed = flatbuffer.pack(flatbuffer.unpack(content))
    assert packed.count(WEIGHTS.T.tobytes()) + packed.count(WEIGHTS.tobytes()) == 1
    place = max(packed.find(WEIGHTS.T.tobytes()), packed.find(WEIGHTS.tobytes()))
    assert place % 16 == 0


def test_metadata_comes_back_and_replaces_what_was_there(content):
    model = flatbuffer.unpack(content)
    assert flatbuffer.read_metadata(content) is None
    flatbuffer.set_metadata(model, '{"name": "φ"}', "first")
    flatbuffer.set_metadata(model, '{"name": "ψ"}', "second")
    packed = flatbuffer.pack(model)
    assert flatbuffer.read_metadata(packed) == '{"name": "ψ"}'
    assert packed.count(flatbuffer.METADATA_NAME) == 1


def test_operators_are_named(content):
    assert flatbuffer.operators(content) == {
        "rows_1": ["FULLY_CONNECTED"],
        "rows_3": ["FULLY_CONNECTED"],
    }


def test_another_file_has_no_card(content, tmp_path):
    for name, data in (("a.tflite", content), ("b.tflite", b"PK\x03\x04 something else")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match="There is no model card"):
            read_card(tmp_path / name)
    with pytest.raises(ValueError, match="There is no model card"):
        read_card(tmp_path)
    with pytest.raises(ValueError, match="There is no model card"):
        read_card(tmp_path / "missing")
