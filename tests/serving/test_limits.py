"""Bodies that are larger, deeper or longer than they say."""

from __future__ import annotations

import asyncio
import gzip
import json
import random

import pytest

from tfvae.serving.errors import Code, ServingError
from tfvae.serving.limits import Inflater, Limits, nesting, parse_json, read_body


def read(chunks, encoding="", max_bytes=1000):
    async def arriving():
        for chunk in chunks:
            yield chunk

    return asyncio.run(read_body(arriving(), encoding, max_bytes))


def test_a_body_is_read_whole():
    assert read([b"ab", b"", b"c"]) == b"abc"
    assert read([b"x" * 500] * 2) == b"x" * 1000


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_gzip_in_pieces_and_members(size):
    packed = gzip.compress(b"one") + gzip.compress(b"two")
    pieces = [packed[i : i + size] for i in range(0, len(packed), size)]
    assert read(pieces, "gzip") == b"onetwo"


@pytest.mark.parametrize(
    ("chunks", "encoding", "status"),
    [
        ([b"x" * 600] * 2, "", 413),
        ([gzip.compress(bytes(1001))], "gzip", 413),
        ([gzip.compress(bytes(600))] * 2, "x-gzip", 413),
        ([gzip.compress(b"abc")[:-1]], "gzip", 400),
        ([b"plain"], "gzip", 400),
        ([gzip.compress(b"abc"), b"garbage"], "gzip", 400),
        ([], "gzip", 400),
        ([b"abc"], "br", 415),
    ],
)
def test_a_body_that_is_refused(chunks, encoding, status):
    with pytest.raises(ServingError) as raised:
        read(chunks, encoding)
    assert raised.value.http_status == status


def test_a_bomb_is_inflated_no_further_than_the_limit():
    bomb = gzip.compress(bytes(50_000_000))
    inflater = Inflater(10_000)
    with pytest.raises(ServingError) as raised:
        inflater.feed(bomb)
    assert raised.value.code == Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        (b"", 0),
        (b"1", 0),
        (b'{"a": [1, {"b": []}]}', 4),
        (b'"[[["', 0),
        (b'["\\"[[[", "\\\\", []]', 2),
        (b'["[[[', 1),
        (b'["[[[\\', 1),
        (b"]]]][[", 0),
        (b"[" * 250_000, 250_000),
        (b'{"a":' * 70_000, 70_000),
    ],
)
def test_nesting(text, depth):
    assert nesting(text) == depth


def test_nesting_of_random_json():
    """Equal to the depth of the value, whatever its strings hold."""
    rng = random.Random(0)

    def value(depth):
        kind = rng.randrange(4) if depth else 3
        if kind == 0:
            return [value(depth - 1) for _ in range(rng.randrange(3))]
        if kind == 1:
            return {rng.choice('[]{}"\\a'): value(depth - 1) for _ in range(rng.randrange(3))}
        return "".join(rng.choices('[]{}"\\\n ,é', k=rng.randrange(9)))

    def depth_of(item):
        inner = item.values() if isinstance(item, dict) else item
        return 0 if isinstance(item, str) else 1 + max(map(depth_of, inner), default=0)

    for _ in range(300):
        made = value(8)
        for ascii_only in (True, False):
            assert nesting(json.dumps(made, ensure_ascii=ascii_only).encode()) == depth_of(made)


def test_a_million_quotes_take_no_longer_than_any_other_body():
    """The pattern of a string must not go back: it would never come to the end of these."""
    assert nesting(b'"\\' * 1_000_000 + b"[") == 0
    assert nesting(b'\\"' * 1_000_000) == 0


def test_json_is_parsed_within_its_limits():
    assert parse_json(b'{"a": [[1]]}', 3) == {"a": [[1]]}
    with pytest.raises(ServingError, match=r"nested 2 levels deep\. Received: 3 levels"):
        parse_json(b'{"a": [[1]]}', 2)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b'{"a": 1} 2', b"9" * 5000])
def test_what_is_no_json(text):
    with pytest.raises(ServingError, match="JSON Parse error"):
        parse_json(text, 10)


@pytest.mark.parametrize("limit", ["max_body_bytes", "max_nesting", "timeout_seconds"])
@pytest.mark.parametrize("value", [0, -1, True, "1"])
def test_limits_are_positive(limit, value):
    with pytest.raises(ValueError, match=f"`{limit}` must be a positive number. Received: "):
        Limits(**{limit: value})
