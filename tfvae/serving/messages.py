"""The messages that TensorFlow Serving speaks, without TensorFlow.

`tensorflow-serving-api` has them too, and the embedded server uses those; but they import the whole
of TensorFlow, seconds and hundreds of megabytes that a client has no other use for. What travels is
field numbers and wire types, so a description of the fields that matter here is a full
substitute. It lives in a descriptor pool of its own and never meets the original in one process.
Fields that are not described are skipped, as protobuf does with fields of a later version.

Reference:
    tensorflow/serving, `apis/{model,predict,get_model_metadata,get_model_status}.proto` and
    `servables/tensorflow/session_bundle_config.proto`; tensorflow, `core/framework/tensor.proto`
    and `core/protobuf/meta_graph.proto`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tfvae.serving.errors import Code


class DataType(IntEnum):
    """TensorFlow's numbers for the types of tensors."""

    DT_INVALID = 0
    DT_FLOAT = 1
    DT_DOUBLE = 2
    DT_INT32 = 3
    DT_UINT8 = 4
    DT_INT16 = 5
    DT_INT8 = 6
    DT_STRING = 7
    DT_INT64 = 9
    DT_BOOL = 10
    DT_UINT32 = 22
    DT_UINT64 = 23


class State(IntEnum):
    """What a version is doing."""

    UNKNOWN = 0
    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


_ENUMS: dict[str, type[IntEnum]] = {"DataType": DataType, "State": State, "Code": Code}

# For each field its number, `repeated` or `map` (from names), and its type.
_MESSAGES = {
    "Dim": {"size": "1 int64"},
    "TensorShapeProto": {"dim": "2 repeated Dim", "unknown_rank": "3 bool"},
    "TensorProto": {
        "dtype": "1 DataType",
        "tensor_shape": "2 TensorShapeProto",
        "tensor_content": "4 bytes",
        "float_val": "5 repeated float",
        "double_val": "6 repeated double",
        "int_val": "7 repeated int32",
        "string_val": "8 repeated bytes",
        "int64_val": "10 repeated int64",
        "bool_val": "11 repeated bool",
        "uint32_val": "16 repeated uint32",
        "uint64_val": "17 repeated uint64",
    },
    "Int64Value": {"value": "1 int64"},
    "Any": {"type_url": "1 string", "value": "2 bytes"},
    "ModelSpec": {
        "name": "1 string",
        "version": "2 Int64Value",
        "signature_name": "3 string",
        "version_label": "4 string",
    },
    "PredictRequest": {
        "model_spec": "1 ModelSpec",
        "inputs": "2 map TensorProto",
        "output_filter": "3 repeated string",
    },
    "PredictResponse": {"outputs": "1 map TensorProto", "model_spec": "2 ModelSpec"},
    "TensorInfo": {"name": "1 string", "dtype": "2 DataType", "tensor_shape": "3 TensorShapeProto"},
    "SignatureDef": {
        "inputs": "1 map TensorInfo",
        "outputs": "2 map TensorInfo",
        "method_name": "3 string",
    },
    "SignatureDefMap": {"signature_def": "1 map SignatureDef"},
    "GetModelMetadataRequest": {"model_spec": "1 ModelSpec", "metadata_field": "2 repeated string"},
    "GetModelMetadataResponse": {"model_spec": "1 ModelSpec", "metadata": "2 map Any"},
    "StatusProto": {"error_code": "1 Code", "error_message": "2 string"},
    "ModelVersionStatus": {"version": "1 int64", "state": "2 State", "status": "3 StatusProto"},
    "GetModelStatusRequest": {"model_spec": "1 ModelSpec"},
    "GetModelStatusResponse": {"model_version_status": "1 repeated ModelVersionStatus"},
    "BatchingParameters": {
        "max_batch_size": "1 Int64Value",
        "batch_timeout_micros": "2 Int64Value",
        "max_enqueued_batches": "3 Int64Value",
        "num_batch_threads": "4 Int64Value",
    },
}

_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "tfvae.serving"


def _describe() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="tfvae/serving.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, members in _ENUMS.items():
        enum = file.enum_type.add(name=name)
        for member in members:
            # Values of enumerations share one scope in a file.
            enum.value.add(name=_enum_name(name, member.name), number=member)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, description in fields.items():
            _add_field(message, field, *description.split())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


def _enum_name(enum: str, member: str) -> str:
    return f"STATE_{member}" if enum == "State" and member == "UNKNOWN" else member


def _add_field(message: Any, name: str, number: str, *words: str) -> None:
    field = message.field.add(name=name, number=int(number), json_name=name)
    field.label = _Field.LABEL_REPEATED if len(words) > 1 else _Field.LABEL_OPTIONAL
    if words[0] == "map":
        # A map is a repeated message of a key and a value.
        entry = message.nested_type.add(name=name.title().replace("_", "") + "Entry")
        entry.options.map_entry = True
        _add_field(entry, "key", "1", "string")
        _add_field(entry, "value", "2", words[-1])
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{message.name}.{entry.name}"
    elif words[-1] in _ENUMS or words[-1] in _MESSAGES:
        field.type = _Field.TYPE_ENUM if words[-1] in _ENUMS else _Field.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{words[-1]}"
    else:
        field.type = getattr(_Field, f"TYPE_{words[-1].upper()}")


_CLASSES = _describe()


def message(name: str, /, **fields: Any) -> Any:
    """Makes a message.

    Args:
        name: its type, such as `PredictRequest`.
        **fields: values of its fields.

    Returns:
        The message.

    Example:
        >>> request = message("GetModelStatusRequest", model_spec={"name": "faces"})
        >>> request.SerializeToString().hex()
        '0a070a056661636573'
    """
    return _CLASSES[name](**fields)
