"""Every example in a docstring runs and gives what it says."""

import doctest
import importlib
import pkgutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import tfvae

MODULES = sorted(module.name for module in pkgutil.walk_packages(tfvae.__path__, prefix="tfvae."))


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    names = {"np": np, "tf": tf, "tfd": tfd, "keras": keras}
    results = doctest.testmod(importlib.import_module(name), extraglobs=names)
    assert results.failed == 0
