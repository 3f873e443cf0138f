"""Warm-up requests, byte for byte as TensorFlow Serving's own protos write them."""

from __future__ import annotations

import tensorflow as tf

from tfvae.export.signatures import Input, Signature
from tfvae.export.warmup import WARMUP_FILE, write_warmup

X, SEED = Input("x", (3, 4, 1), "data"), Input("seed", (2,), "noise", tf.int32)
SIGNATURE = Signature("log_prob", (X, SEED), lambda x, seed: {})

# What tensorflow-serving-api 2.21.0 writes for a `PredictionLog` of the model "faces", this
# signature, and zeros in a batch of 2 (`SerializeToString(deterministic=True)`).
EXPECTED = bytes.fromhex(
    "324f0a4d0a110a0566616365731a086c6f675f70726f62"
    "12170a0473656564120f0803120812020802120208023a0100"
    "121f0a0178121a08011210120208021202080312020804120208012a0400000000"
)


def records(folder):
    return [bytes(record.numpy()) for record in tf.data.TFRecordDataset(str(folder / WARMUP_FILE))]


def test_a_request_is_what_tensorflow_servings_own_protos_write(tmp_path):
    write_warmup(tmp_path, "faces", [SIGNATURE], (2,))
    assert records(tmp_path) == [EXPECTED]


def test_there_is_a_request_for_each_signature_and_batch(tmp_path):
    write_warmup(tmp_path, "faces" * 40, [SIGNATURE, SIGNATURE], (2, 64))
    assert [b"\x12\x02\x08\x40" in record for record in records(tmp_path)] == [False, True] * 2
    # A name that is longer than one byte can say.
    assert all(b"faces" * 40 in record for record in records(tmp_path))


def test_a_record_is_small_whatever_the_batch(tmp_path):
    write_warmup(tmp_path, "faces", [SIGNATURE], (1, 64))
    small, large = records(tmp_path)
    assert len(large) == len(small) < 100
