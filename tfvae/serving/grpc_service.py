"""The gRPC side: `PredictionService` (Predict, GetModelMetadata), `ModelService` (GetModelStatus).

There is no `HandleReloadConfigRequest`: nothing that comes over the network names a path.

Handlers take bytes, not messages, so that a damaged message is an invalid argument and not, as
grpcio has it, an internal error. They are registered as if the client streamed: the wire is the
same, and a request can be refused before its message is read into memory.

Reference:
    tensorflow/serving, `apis/prediction_service.proto`, `apis/model_service.proto`,
    `servables/tensorflow/get_model_metadata_impl.cc` and `model_servers/get_model_status_impl.cc`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)

from tfvae.serving.core import Core
from tfvae.serving.errors import ServingError, invalid
from tfvae.serving.specs import Target
from tfvae.serving.tensors import read_tensor, write_tensor
from tfvae.serving.transport import SIGNATURE_FIELD
from tfvae.serving.versions import Version

_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


def service_handlers(core: Core) -> list[grpc.GenericRpcHandler]:
    """The services, for `grpc.aio.Server.add_generic_rpc_handlers`.

    Args:
        core: what answers.

    Returns:
        A handler for each service.
    """

    def method(api: str, request_type: Any, answer: Callable[..., Awaitable[Any]]) -> Any:
        async def handle(messages: AsyncIterator[bytes], context: Any) -> bytes:
            try:
                async with core.admitted(api, "GRPC"):
                    async with core.reading():
                        body = await anext(messages, b"")
                    request = await core.decode(len(body), _parse, request_type, body)
                    if not request.HasField("model_spec"):
                        raise invalid("Missing ModelSpec")
                    response: bytes = (await answer(core, request)).SerializeToString()
                    return response
            except ServingError as error:
                failure = error
            await context.abort(_STATUS_CODES[failure.code], failure.message)
            raise failure

        return grpc.stream_unary_rpc_method_handler(handle)

    services = {
        "PredictionService": {
            "Predict": method("Predict", predict_pb2.PredictRequest, _predict),
            "GetModelMetadata": method(
                "GetModelMetadata", get_model_metadata_pb2.GetModelMetadataRequest, _metadata
            ),
        },
        "ModelService": {
            "GetModelStatus": method(
                "GetModelStatus", get_model_status_pb2.GetModelStatusRequest, _status
            )
        },
    }
    return [
        grpc.method_handlers_generic_handler(f"tensorflow.serving.{name}", methods)
        for name, methods in services.items()
    ]


def _parse(request_type: Any, body: bytes) -> Any:
    try:
        return request_type.FromString(body)
    except DecodeError as error:
        raise invalid(f"the message cannot be parsed. Received: {error}") from None


def _target(spec: Any) -> Target:
    choice = spec.WhichOneof("version_choice")
    return Target(
        spec.name,
        spec.version.value if choice == "version" else None,
        spec.version_label if choice == "version_label" else None,
    )


async def _predict(core: Core, request: Any) -> Any:
    with core.versions.use(_target(request.model_spec)) as version:
        signature = version.loaded.signature(request.model_spec.signature_name)
        limit = core.limits.max_body_bytes
        inputs = {name: read_tensor(name, t, limit) for name, t in request.inputs.items()}
        outputs = await core.predict(version, signature, inputs, request.output_filter)
        response = predict_pb2.PredictResponse()
        response.model_spec.name = core.versions.name
        response.model_spec.version.value = version.number
        response.model_spec.signature_name = signature.name
        for name, array in outputs.items():
            write_tensor(array, response.outputs[name])
        return response


async def _metadata(core: Core, request: Any) -> Any:
    if list(request.metadata_field) != [SIGNATURE_FIELD]:
        raise invalid(
            f"GetModelMetadataRequest must specify the metadata_field {SIGNATURE_FIELD!r}. "
            f"Received: {list(request.metadata_field)}"
        )
    with core.versions.use(_target(request.model_spec)) as version:
        return metadata_response(core, version)


async def _status(core: Core, request: Any) -> Any:
    return status_response(core, _target(request.model_spec))


def metadata_response(core: Core, version: Version) -> Any:
    """The `GetModelMetadataResponse` for a version in use."""
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = core.versions.name
    response.model_spec.version.value = version.number
    response.metadata[SIGNATURE_FIELD].Pack(version.loaded.definitions)
    return response


def status_response(core: Core, target: Target) -> Any:
    """The `GetModelStatusResponse` for a model or a version of it."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for version in core.versions.status(target):
        entry = response.model_version_status.add(version=version.number, state=version.state)
        if version.error is not None:
            entry.status.error_code = version.error.code
            entry.status.error_message = version.error.message
        else:
            entry.status.SetInParent()
    return response
