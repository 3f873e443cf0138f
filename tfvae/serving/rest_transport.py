"""The client's side of REST."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
from google.protobuf import json_format

from tfvae.serving.errors import Code, ServingError, code_of_http
from tfvae.serving.messages import message
from tfvae.serving.specs import Signature, Target
from tfvae.serving.transport import SIGNATURE_FIELD, Arrays, read_signatures

# Idle connections are dropped before a server drops them and a request with them.
_LIMITS = httpx.Limits(max_connections=None, keepalive_expiry=2.0)


class RestTransport:
    """REST over HTTP or HTTPS.

    Args:
        address: scheme, host and port.
    """

    def __init__(self, address: str) -> None:
        self._http = httpx.Client(base_url=address, limits=_LIMITS)

    def predict(
        self, target: Target, signature: Signature, inputs: Arrays, timeout: float
    ) -> dict[str, np.ndarray]:
        """Computes a signature, in the columnar form."""
        body = {
            "signature_name": signature.name,
            "inputs": {key: array.tolist() for key, array in inputs.items()},
        }
        outputs = self._call("POST", _path(target) + ":predict", timeout, body)["outputs"]
        if len(signature.outputs) == 1:
            outputs = {next(iter(signature.outputs)): outputs}
        return {name: np.array(outputs[name], s.dtype) for name, s in signature.outputs.items()}

    def signatures(self, target: Target, timeout: float) -> dict[str, Signature]:
        """Asks for the signatures."""
        found = self._call("GET", _path(target) + "/metadata", timeout)["metadata"][SIGNATURE_FIELD]
        definitions = message("SignatureDefMap")
        json_format.ParseDict(found, definitions, ignore_unknown_fields=True)
        return read_signatures(definitions)

    def status(self, target: Target, timeout: float) -> Any:
        """Asks what the versions are doing."""
        response = message("GetModelStatusResponse")
        found = self._call("GET", _path(target), timeout)
        return json_format.ParseDict(found, response, ignore_unknown_fields=True)

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def _call(self, method: str, path: str, timeout: float, body: Any = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        try:
            response = self._http.request(
                method, path, content=content, headers=headers, timeout=timeout
            )
        except httpx.TimeoutException as error:
            raise ServingError(Code.DEADLINE_EXCEEDED, f"no answer within {timeout:g} s") from error
        except httpx.TransportError as error:
            raise ServingError(Code.UNAVAILABLE, str(error) or type(error).__name__) from error
        try:
            answer = response.json()
        except ValueError:
            answer = {"error": response.text[:200] or "no message"}
        if response.status_code != 200:
            text = answer.get("error", "no message") if isinstance(answer, dict) else str(answer)
            raise ServingError(code_of_http(response.status_code), text, response.status_code)
        return answer


def _path(target: Target) -> str:
    path = f"/v1/models/{quote(target.model, safe='')}"
    if target.label is not None:
        return f"{path}/labels/{quote(target.label, safe='')}"
    return path if target.version is None else f"{path}/versions/{target.version}"
