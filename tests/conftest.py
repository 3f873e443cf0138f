"""What all tests share.

TensorFlow spends a fifth of the tests' time in its own optimiser of graphs, Grappler, and XLA most
of its own in LLVM's optimisations and in its newer way to write fused loops, which a test of a few
steps never earns back. Without them the operations stay the same; the machine code, and with it the
last digit, may not. What `.ci/run` trains by the README's first command runs with all of them.
"""

from __future__ import annotations

import gc
import os

import pytest

_QUICKLY_COMPILED = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false"
)

# Before TensorFlow reads them; the flags of whoever runs the tests win.
os.environ["XLA_FLAGS"] = f"{_QUICKLY_COMPILED} {os.environ.get('XLA_FLAGS', '')}".strip()


@pytest.fixture(scope="session", autouse=True)
def graphs_as_they_are_written():
    """Turns Grappler off."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@pytest.fixture(scope="session", autouse=True)
def few_collections(graphs_as_they_are_written):
    """Keeps Python from looking for garbage among all that was imported, a tenth of the time."""
    import tfvae.models  # noqa: F401

    gc.freeze()
    gc.set_threshold(50_000, 5, 5)


@pytest.fixture
def without_graphs():
    """For trainings of a few steps, which take less than tracing one."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
