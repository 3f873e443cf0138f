"""How much one request may ask for, and the readers that hold it to that.

TensorFlow Serving itself can be brought down by a body of nested brackets (CVE-2025-0649) and by
one that inflates to gigabytes. Here sizes are counted while a body arrives, and brackets before
anything parses them.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import AsyncIterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfvae.serving.errors import Code, ServingError, invalid

_CHUNK = 1 << 16


@dataclass(frozen=True)
class Limits:
    """What a request may cost; one that would cost more is refused with the protocol's own error.

    Attributes:
        max_body_bytes: of a request, after it is inflated, and of each of its tensors.
        max_nesting: depth of brackets in JSON.
        max_concurrent_requests: requests that are read, waited for or computed at a time.
        read_seconds: in which a request must have arrived.
        timeout_seconds: in which it must have been answered, reading included.
    """

    max_body_bytes: int = 8 << 20
    max_nesting: int = 64
    max_concurrent_requests: int = 128
    read_seconds: float = 10.0
    timeout_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
                raise ValueError(f"`{name}` must be a positive number. Received: {value!r}")


class Inflater:
    """Inflates gzip as it arrives, and never more than a limit.

    Args:
        max_bytes: of all that comes out.

    Example:
        >>> import gzip
        >>> inflater = Inflater(max_bytes=1000)
        >>> inflater.feed(gzip.compress(b"x" * 10)), inflater.finished
        (b'xxxxxxxxxx', True)
        >>> Inflater(max_bytes=9).feed(gzip.compress(b"x" * 10))
        Traceback (most recent call last):
        ...
        tfvae.serving.errors.ServingError: RESOURCE_EXHAUSTED: the body is larger than 9 bytes
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._left = max_bytes, max_bytes
        self._stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    @property
    def finished(self) -> bool:
        """Whether the compressed data has come to its end."""
        return self._stream.eof

    def feed(self, compressed: bytes) -> bytes:
        """Inflates the next piece.

        Raises:
            ServingError: if it is damaged, or the limit is passed.
        """
        inflated = bytearray()
        try:
            while compressed:
                if self._stream.eof:
                    # gzip allows one compressed member behind the other.
                    self._stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
                # One byte over the limit is asked for, to see that there is one.
                inflated += self._stream.decompress(compressed, self._left + 1 - len(inflated))
                if len(inflated) > self._left:
                    raise body_too_large(self._max_bytes)
                compressed = self._stream.unconsumed_tail or self._stream.unused_data
        except zlib.error as error:
            raise invalid(f"the body is not gzip, as its header says. Received: {error}") from None
        self._left -= len(inflated)
        return bytes(inflated)


def body_too_large(max_bytes: int) -> ServingError:
    """The error for a body over the limit."""
    return ServingError(
        Code.RESOURCE_EXHAUSTED, f"the body is larger than {max_bytes} bytes", http_status=413
    )


async def read_body(chunks: AsyncIterable[bytes], encoding: str, max_bytes: int) -> bytes:
    """Reads a body as it arrives, and inflates it.

    Args:
        chunks: its pieces.
        encoding: how it is compressed: `gzip`, or empty.
        max_bytes: how large it may become.

    Returns:
        The body.

    Raises:
        ServingError: if it is too large, damaged or compressed in another way.
    """
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        message = f"a body may be compressed with gzip. Received: {encoding[:40]!r}"
        raise ServingError(Code.INVALID_ARGUMENT, message, http_status=415)
    inflater = Inflater(max_bytes) if encoding.endswith("gzip") else None
    body = bytearray()
    async for chunk in chunks:
        body += chunk if inflater is None else inflater.feed(chunk)
        if len(body) > max_bytes:
            raise body_too_large(max_bytes)
    if inflater is not None and not inflater.finished:
        raise invalid("the body is not gzip, as its header says. Received: no end of the data")
    return bytes(body)


# Possessive, and taking text without an end as well: no body makes it look at a byte twice.
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NO_BRACKET = bytes(byte for byte in range(256) if chr(byte) not in "[]{}")


def nesting(body: bytes) -> int:
    """The depth of brackets in JSON, damaged or not, in constant stack and one pass.

    Args:
        body: the text.

    Returns:
        The largest number of brackets that are open at a time, those in strings aside.

    Example:
        >>> nesting(b'{"a": [[1], "[[["]}'), nesting(b"[" * 250_000)
        (3, 250000)
    """
    brackets = _TEXT.sub(b"", body).translate(None, _NO_BRACKET)
    deepest = depth = 0
    for start in range(0, len(brackets), _CHUNK):
        codes = np.frombuffer(brackets[start : start + _CHUNK], np.uint8)
        depths = depth + np.cumsum(np.where((codes == 91) | (codes == 123), 1, -1))
        deepest, depth = max(deepest, int(depths.max())), int(depths[-1])
    return deepest


def parse_json(body: bytes, max_nesting: int) -> Any:
    """Parses JSON whose nesting has been checked first.

    Args:
        body: the text, UTF-8.
        max_nesting: how deep brackets may be.

    Returns:
        The value.

    Raises:
        ServingError: if it is nested deeper or is no JSON.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    depth = nesting(body)
    if depth > max_nesting:
        raise invalid(f"JSON may be nested {max_nesting} levels deep. Received: {depth} levels")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from None
