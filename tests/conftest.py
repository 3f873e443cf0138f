"""What all tests share.

TensorFlow spends a fifth of the tests' time in its own optimiser of graphs, Grappler, and XLA most
of its own in LLVM's optimisations, which a test of a few steps never earns back. Without them the
operations stay the same; the machine code, and with it the last digit, may not. What `.ci/run`
trains by the README's first command runs with both.
"""

from __future__ import annotations

import os

import pytest

_QUICKLY_COMPILED = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"

# Before TensorFlow reads them; the flags of whoever runs the tests win.
os.environ["XLA_FLAGS"] = f"{_QUICKLY_COMPILED} {os.environ.get('XLA_FLAGS', '')}".strip()


@pytest.fixture(scope="session", autouse=True)
def graphs_as_they_are_written():
    """Turns Grappler off."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
