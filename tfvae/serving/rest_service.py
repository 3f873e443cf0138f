"""The REST side: status, metadata and predict under `/v1/models/`, and the metrics.

    GET  /v1/models/NAME[/versions/N|/labels/L]
    GET  /v1/models/NAME[/versions/N|/labels/L]/metadata
    POST /v1/models/NAME[/versions/N|/labels/L]:predict
    GET  /monitoring/prometheus/metrics

Reference:
    tensorflow/serving, `g3doc/api_rest.md`, `model_servers/http_rest_api_util.cc`.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from functools import partial
from typing import Any

from google.protobuf import json_format
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from tensorflow_serving.apis import get_model_metadata_pb2

from tfvae.serving.core import Core
from tfvae.serving.errors import Code, ServingError, invalid
from tfvae.serving.grpc_service import metadata_response, status_response
from tfvae.serving.json_tensors import read_inputs, write_outputs
from tfvae.serving.limits import parse_json, read_body
from tfvae.serving.monitoring import METRICS_PATH, METRICS_TYPE
from tfvae.serving.specs import Target
from tfvae.serving.transport import SIGNATURE_FIELD

_PATH = re.compile(
    r"/v1/models/(?P<model>[^/:]+)"
    r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
    r"(?P<what>/metadata|:predict|:classify|:regress)?",
    re.IGNORECASE | re.ASCII,
)
_MAX_VERSION = 2**63 - 1


class RestApp:
    """The application, for an ASGI server.

    Args:
        core: what answers.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers a request."""
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        core = self._core
        if request.method == "GET" and request.scope["path"] == METRICS_PATH:
            return Response(core.metrics.page(core.in_flight), media_type=METRICS_TYPE)
        try:
            api, target = _route(request)
            async with core.admitted(api, "REST"):
                body = await _ANSWERS[api](core, target, request)
            return Response(body, media_type="application/json")
        except ServingError as error:
            text = json.dumps({"error": error.message})
            return Response(text, error.http_status, media_type="application/json")


def _route(request: Request) -> tuple[str, Target]:
    path: str = request.scope["path"]
    if not path.lower().startswith("/v1/"):
        raise ServingError(Code.NOT_FOUND, f"Not found: {path}")
    found = _PATH.fullmatch(path)
    what = ((found and found["what"]) or "").lower()
    if found is None or request.method != ("POST" if what.startswith(":") else "GET"):
        raise invalid(f"Malformed request: {request.method} {path}")
    if what in (":classify", ":regress"):
        raise invalid(
            f"Expected a signature of method tensorflow/serving/{what[1:]}. "
            "Was: tensorflow/serving/predict"
        )
    version = int(found["version"][:20]) if found["version"] else None
    if version is not None and version > _MAX_VERSION:
        raise invalid(f"Failed to convert version: {found['version']} to numeric.")
    api = {"": "GetModelStatus", "/metadata": "GetModelMetadata", ":predict": "Predict"}[what]
    return api, Target(found["model"], version, found["label"])


async def _predict(core: Core, target: Target, request: Request) -> bytes:
    body = await _body(core, request)
    parse = partial(parse_json, max_nesting=core.limits.max_nesting)
    given = await core.decode(len(body), parse, body)
    if not isinstance(given, dict):
        raise invalid("JSON Value: Is not object")
    name = given.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid("'signature_name' key must be a string value.")
    with core.versions.use(target) as version:
        signature = version.loaded.signature(name)
        inputs, rows = await core.decode(len(body), read_inputs, given, signature)
        return write_outputs(await core.predict(version, signature, inputs), rows)


async def _body(core: Core, request: Request) -> bytes:
    encoding = request.headers.get("content-encoding", "").strip().lower()
    chunks = request.stream()
    try:
        async with core.reading():
            return await read_body(chunks, encoding, core.limits.max_body_bytes)
    except ClientDisconnect:
        raise ServingError(Code.CANCELLED, "the client has gone") from None
    except ServingError:
        # A client that is still sending would lose the answer if the connection were closed.
        with suppress(ServingError, ClientDisconnect):
            async with core.reading():
                async for _ in chunks:
                    pass
        raise


async def _metadata(core: Core, target: Target, request: Request) -> bytes:
    with core.versions.use(target) as version:
        response = metadata_response(core, version)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[SIGNATURE_FIELD].Unpack(signatures)
        value = {
            "model_spec": _as_json(response.model_spec),
            "metadata": {SIGNATURE_FIELD: _as_json(signatures)},
        }
        return json.dumps(value, indent=1).encode()


async def _status(core: Core, target: Target, request: Request) -> bytes:
    return json.dumps(_as_json(status_response(core, target)), indent=1).encode()


_ANSWERS = {"Predict": _predict, "GetModelMetadata": _metadata, "GetModelStatus": _status}


def _as_json(message: Any) -> Any:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
