"""What can go wrong, in the words of the protocol.

gRPC and TensorFlow number their errors alike, and TensorFlow Serving maps each to one HTTP status.
One exception therefore serves the servers and the client, whichever protocol it travels by.

Reference:
    tensorflow/serving, `model_servers/http_server.cc` (`ToHTTPStatusCode`).
"""

from __future__ import annotations

from enum import IntEnum

# gRPC sends an error's text in a header, and headers of more than 8 KiB are refused.
_MAX_MESSAGE = 1000


class Code(IntEnum):
    """gRPC's and TensorFlow's numbers for errors."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


HTTP_STATUS = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
"""The HTTP status of each error, as TensorFlow Serving sends it."""

_CODES = {
    **{status: code for code, status in reversed(HTTP_STATUS.items())},
    408: Code.DEADLINE_EXCEEDED,
    413: Code.RESOURCE_EXHAUSTED,
    502: Code.UNAVAILABLE,
}


def code_of_http(status: int) -> Code:
    """The error that an HTTP status stands for.

    Args:
        status: the status of a response.

    Returns:
        The error; several share a status, and then it is the most frequent one.

    Example:
        >>> code_of_http(400).name, code_of_http(503).name, code_of_http(418).name
        ('INVALID_ARGUMENT', 'UNAVAILABLE', 'INVALID_ARGUMENT')
    """
    other = Code.INVALID_ARGUMENT if 400 <= status < 500 else Code.UNKNOWN
    return _CODES.get(status, other)


class ServingError(RuntimeError):
    """An answer that is an error.

    Args:
        code: which.
        message: why, for people; cut where gRPC would refuse it.
        http_status: the status over HTTP, if HTTP has a better one than the code's.

    Example:
        >>> error = ServingError(Code.NOT_FOUND, "Could not find version 7 of model faces")
        >>> str(error), error.http_status
        ('NOT_FOUND: Could not find version 7 of model faces', 404)
    """

    def __init__(self, code: Code, message: str, http_status: int | None = None) -> None:
        self.code = code
        self.message = message if len(message) <= _MAX_MESSAGE else message[:_MAX_MESSAGE] + " ..."
        self.http_status = HTTP_STATUS[code] if http_status is None else http_status
        super().__init__(f"{code.name}: {self.message}")


def invalid(message: str) -> ServingError:
    """An error that the request is to blame for."""
    return ServingError(Code.INVALID_ARGUMENT, message)
