"""The README's client, as it stands there, against a server of our own."""

from __future__ import annotations

import re
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_readmes_client_runs(embedded):
    source = next(
        block
        for block in re.findall(r"^```python\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
        if "serving import Client" in block
    )
    assert source.count("grpc://127.0.0.1:8500") == source.count('"faces"') == 1
    source = source.replace("grpc://127.0.0.1:8500", embedded.local.grpc_address)
    names: dict = {}
    exec(source.replace('"faces"', repr(embedded.local.model)), names)
    assert names["faces"].shape[0] == len(names["scores"]) == 16
    assert names["mean"].shape == names["spread"].shape
    assert (names["spread"] > 0).all()
