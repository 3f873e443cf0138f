"""The client's side of gRPC."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np

from tfvae.serving.errors import Code, ServingError
from tfvae.serving.messages import message
from tfvae.serving.specs import Signature, Target
from tfvae.serving.tensors import read_tensor, write_tensor
from tfvae.serving.transport import SIGNATURE_FIELD, Arrays, read_signatures

# A server that comes back is found again soon: gRPC's own first wait is a second.
_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
]
_NO_LIMIT = 1 << 62


class GrpcTransport:
    """gRPC, without encryption.

    Args:
        authority: host and port.
    """

    def __init__(self, authority: str) -> None:
        self._channel = grpc.insecure_channel(authority, options=_CHANNEL_OPTIONS)

    def predict(
        self, target: Target, signature: Signature, inputs: Arrays, timeout: float
    ) -> dict[str, np.ndarray]:
        """Computes a signature."""
        request = message("PredictRequest", model_spec=_spec(target))
        request.model_spec.signature_name = signature.name
        for key, array in inputs.items():
            write_tensor(array, request.inputs[key])
        response = self._call("PredictionService/Predict", request, "PredictResponse", timeout)
        return {key: read_tensor(key, t, _NO_LIMIT) for key, t in response.outputs.items()}

    def signatures(self, target: Target, timeout: float) -> dict[str, Signature]:
        """Asks for the signatures."""
        request = message(
            "GetModelMetadataRequest", model_spec=_spec(target), metadata_field=[SIGNATURE_FIELD]
        )
        response = self._call(
            "PredictionService/GetModelMetadata", request, "GetModelMetadataResponse", timeout
        )
        definitions = message("SignatureDefMap")
        definitions.ParseFromString(response.metadata[SIGNATURE_FIELD].value)
        return read_signatures(definitions)

    def status(self, target: Target, timeout: float) -> Any:
        """Asks what the versions are doing."""
        request = message("GetModelStatusRequest", model_spec=_spec(target))
        return self._call("ModelService/GetModelStatus", request, "GetModelStatusResponse", timeout)

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def _call(self, method: str, request: Any, response: str, timeout: float) -> Any:
        call = self._channel.unary_unary(
            f"/tensorflow.serving.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=type(message(response)).FromString,
        )
        try:
            return call(request, timeout=timeout)
        except grpc.RpcError as error:
            code = Code(error.code().value[0])
            if code == Code.CANCELLED:
                # The client cancels nothing: the server is stopping, and has not begun this call.
                code = Code.UNAVAILABLE
            raise ServingError(code, error.details() or "no message") from error


def _spec(target: Target) -> Any:
    spec = message("ModelSpec", name=target.model)
    if target.label is not None:
        spec.version_label = target.label
    elif target.version is not None:
        spec.version.value = target.version
    return spec
