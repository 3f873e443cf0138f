"""The requests that TensorFlow Serving sends itself before it lets a new version answer.

The first request for a graph waits for its optimisation; a version that has been warmed up answers
its first client as quickly as its thousandth. The file is a TFRecord of `PredictionLog` messages.

Those messages come with `tensorflow-serving-api`. Three nested messages of four fields do not
justify that dependency: an export would need gRPC. They are put together here from protobuf's own
wire format, in which a field of bytes, text or a message is its number, its length and its content.

Reference:
    tensorflow/serving, `apis/prediction_log.proto`, `apis/predict.proto`, `apis/model.proto`, and
    `g3doc/saved_model_warmup.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import tensorflow as tf

from tfvae.export.signatures import Signature

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
"""Where TensorFlow Serving looks for the requests, below a version folder."""


def write_warmup(
    folder: Path, model_name: str, signatures: Iterable[Signature], batch_sizes: Sequence[int]
) -> None:
    """Writes a request for each signature and batch size.

    Args:
        folder: the version folder.
        model_name: name that the model is served under.
        signatures: the signatures of the version.
        batch_sizes: rows of the requests.
    """
    path = folder / WARMUP_FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature in signatures:
            for batch in batch_sizes:
                writer.write(_prediction_log(model_name, signature, batch))


def _prediction_log(model_name: str, signature: Signature, batch: int) -> bytes:
    model_spec = _field(1, model_name.encode()) + _field(3, signature.name.encode())
    request = _field(1, model_spec)
    for given in sorted(signature.inputs, key=lambda given: given.name):
        tensor = _constant(given.spec(batch)).SerializeToString(deterministic=True)
        request += _field(2, _field(1, given.name.encode()) + _field(2, tensor))
    return _field(6, _field(1, request))


def _constant(spec: tf.TensorSpec) -> tf.compat.v1.TensorProto:
    """A tensor of zeros in a few bytes: a message with one value repeats it over the shape."""
    message = tf.make_tensor_proto(0, dtype=spec.dtype)
    message.tensor_shape.CopyFrom(spec.shape.as_proto())
    return message


def _field(number: int, content: bytes) -> bytes:
    """A protobuf field that has a length (wire type 2)."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """A whole number, seven bits a byte, the lowest first, all bytes but the last marked."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])
