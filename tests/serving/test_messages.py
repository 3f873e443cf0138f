"""Our messages travel as the original ones do."""

from __future__ import annotations

import pytest
from tensorflow.core.protobuf import error_codes_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)

from tfvae.serving.errors import Code
from tfvae.serving.messages import _MESSAGES, DataType, State, message

ORIGINALS = {
    "PredictRequest": predict_pb2.PredictRequest,
    "PredictResponse": predict_pb2.PredictResponse,
    "GetModelMetadataRequest": get_model_metadata_pb2.GetModelMetadataRequest,
    "GetModelMetadataResponse": get_model_metadata_pb2.GetModelMetadataResponse,
    "SignatureDefMap": get_model_metadata_pb2.SignatureDefMap,
    "GetModelStatusRequest": get_model_status_pb2.GetModelStatusRequest,
    "GetModelStatusResponse": get_model_status_pb2.GetModelStatusResponse,
}


def assert_same(ours, original, seen):
    """Every field of ours is one of the original's: name, number, type, and those of its type."""
    if ours.full_name in seen:
        return
    seen.add(ours.full_name)
    for field in ours.fields:
        twin = original.fields_by_name[field.name]
        assert (field.number, field.type, field.is_repeated) == (
            twin.number,
            twin.type,
            twin.is_repeated,
        ), field.full_name
        if field.message_type is not None:
            assert_same(field.message_type, twin.message_type, seen)


@pytest.mark.parametrize("name", ORIGINALS)
def test_fields(name):
    seen = set()
    assert_same(message(name).DESCRIPTOR, ORIGINALS[name].DESCRIPTOR, seen)
    assert f"tfvae.serving.{name}" in seen


def test_every_message_but_those_of_files_is_compared():
    seen = set()
    for name, original in ORIGINALS.items():
        assert_same(message(name).DESCRIPTOR, original.DESCRIPTOR, seen)
    compared = {name.removeprefix("tfvae.serving.") for name in seen}
    assert set(_MESSAGES) - compared == {"BatchingParameters"}


def test_numbers():
    assert {c.name: c.value for c in Code} == {
        name: number for name, number in error_codes_pb2.Code.items() if not name.startswith("DO_")
    }
    states = get_model_status_pb2.ModelVersionStatus.State
    assert {s.name: s.value for s in State} == dict(states.items())
    assert DataType.DT_UINT64 == 23


def test_maps_and_nested_messages_survive():
    ours = message("PredictRequest", model_spec={"name": "m", "signature_name": "s"})
    ours.model_spec.version.value = 3
    ours.inputs["x"].dtype = 1
    theirs = predict_pb2.PredictRequest.FromString(ours.SerializeToString())
    assert (theirs.model_spec.version.value, list(theirs.inputs)) == (3, ["x"])
    assert message("PredictRequest").FromString(theirs.SerializeToString()) == ours
