"""The README's Python runs as it stands there."""

import re
from pathlib import Path

import keras
import numpy as np
from tensorflow_probability import distributions as tfd

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_the_quick_start_is_short_and_runs(capsys):
    quick_start = blocks("python")[0]
    assert len([line for line in quick_start.splitlines() if line.strip()]) <= 8
    exec(quick_start, {})
    printed = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r"-\d+\.\d+ nats \(16, 8, 8, 1\)", printed)


def test_a_model_of_the_user_emits_a_distribution():
    names = {}
    exec(blocks("python")[1], names)
    x = np.zeros((4, 784), "float32")
    p = names["model"](x)
    assert isinstance(p, tfd.Independent)
    assert p.log_prob(x).shape == (4,)
    assert isinstance(names["model"], keras.Model)


def test_the_first_two_commands_are_those_of_ci():
    first, second = blocks("sh")[:2]
    assert "tfvae train" in first
    assert "pytest" in second
