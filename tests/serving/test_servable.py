"""SavedModels that tfvae did not make: text, fixed shapes, errors, damage."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tfvae.serving.errors import Code, ServingError
from tfvae.serving.servable import Servable


class Module(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="s")])
    def upper(self, s):
        return {"u": tf.strings.upper(s)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="x")])
    def checked(self, x):
        return {"y": tf.debugging.check_numerics(tf.math.log(x), "no logarithm")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path, module = tmp_path_factory.mktemp("text") / "1", Module()
    tf.saved_model.save(module, str(path), {"upper": module.upper, "checked": module.checked})
    return path


def test_text(folder):
    servable = Servable(folder)
    assert servable.signature("upper").batchable
    answer = servable.run("upper", {"s": np.array([b"abc", b"\xff"], object)})
    assert answer["u"].tolist() == [b"ABC", b"\xff"]


def test_numbers_without_dimensions(folder):
    servable = Servable(folder)
    assert not servable.signature("checked").batchable
    answer = servable.run("checked", {"x": np.array(1, np.float32)})
    assert (answer["y"].shape, float(answer["y"])) == ((), 0.0)


def test_tensorflows_errors_keep_their_code(folder):
    with pytest.raises(ServingError, match="no logarithm") as raised:
        Servable(folder).run("checked", {"x": np.array(-1, np.float32)})
    assert raised.value.code == Code.INVALID_ARGUMENT


def test_an_unknown_signature(folder):
    with pytest.raises(
        ServingError, match=r'"serving_default" not found.* checked, upper'
    ) as raised:
        Servable(folder).signature("")
    assert raised.value.code == Code.FAILED_PRECONDITION


def test_a_warmup_request_that_fails_fails_the_version(folder):
    """As in TensorFlow Serving: better than the first client."""
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = "lower"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(log.SerializeToString())
    try:
        with pytest.raises(ServingError, match='"lower" not found'):
            Servable(folder)
    finally:
        path.unlink()


def test_what_is_no_saved_model(tmp_path):
    with pytest.raises(FileNotFoundError):
        Servable(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ValueError, match=r"one graph for serving\. Received: 0"):
        Servable(tmp_path)
