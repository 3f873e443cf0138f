"""Every public name of `tfp.layers` is one of `tfvae.layers`, and compared with TFP's somewhere."""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path

import pytest
import tensorflow_probability as tfp
from tensorflow_probability.python.layers import conv_variational

from tfvae import layers

# The one public name that TFP's own list has forgotten.
LISTED = sorted({*tfp.layers._allowed_symbols, "VariationalGaussianProcess"})
SHORT = sorted(
    name
    for name, value in vars(conv_variational).items()
    if name.startswith("Conv") and getattr(value, "__name__", name) != name
)


def test_the_list_is_whole():
    public = [name for name in dir(tfp.layers) if not name.startswith("_")]
    assert [name for name in public if not inspect.ismodule(getattr(tfp.layers, name))] == LISTED
    assert len(LISTED) == 30
    assert len(SHORT) == 6


@pytest.mark.parametrize("name", LISTED)
def test_the_name_is_here_and_of_its_kind(name):
    assert name in layers.__all__
    theirs, ours = getattr(tfp.layers, name), getattr(layers, name)
    assert callable(ours)
    if inspect.isclass(theirs):
        assert ours.__name__ == theirs.__name__
        for method in ("new", "params_size"):
            assert hasattr(ours, method) >= hasattr(theirs, method)


@pytest.mark.parametrize("name", SHORT)
def test_short_names_are_the_same_class(name):
    assert name in layers.__all__
    assert getattr(layers, name) is getattr(layers, getattr(conv_variational, name).__name__)


def test_every_name_is_in_a_parity_test():
    compared = set()
    for file in ("test_tfp_parity.py", "test_tfp_parity_variational.py"):
        path = Path(__file__).parent / file
        spec = importlib.util.spec_from_file_location(f"{path.stem}_names", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        compared |= set(module.NAMES)
    assert compared == set(LISTED)


def test_the_migration_table_of_the_readme_has_every_name():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    section = readme.split("## Coming from tfp.layers")[1].split("\n## ")[0]
    assert set(LISTED) <= set(re.findall(r"`(\w+)`", section))
