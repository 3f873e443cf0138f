"""The README's tour of the latent space runs as it stands there, on the shipped faces."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_readmes_tour(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", readme, flags=re.MULTILINE | re.DOTALL)
    (source,) = (block for block in blocks if "fit_attributes" in block)
    names: dict = {}
    exec(source, names)
    # A happier face reads as one.
    before, after = (
        names["smile"].read(names["vae"], x).mean for x in (names["images"][:5], names["happier"])
    )
    assert (after > before).all()
    assert names["path"].shape == names["completions"].shape == (8, 32, 32, 3)
    assert (names["completions"][:, :16] == names["images"][0, :16]).all()
    # The sampler of another section, of the same model.
    (source,) = (block for block in blocks if "fit_sampler" in block)
    exec(source.replace("runs/faces-vae", str(tmp_path)), names)
    assert names["faces"].shape == (16, 32, 32, 3)
    assert (tmp_path / "sampler.keras").exists()
