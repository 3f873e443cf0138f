"""What all tests share.

XLA spends most of its time in LLVM's optimisations, which a test of a few steps never earns back:
without them the tests of compiled steps take a third less time. The operations and their fusions
stay the same; the machine code, and with it the last digit, may not.
"""

from __future__ import annotations

import os

_QUICKLY_COMPILED = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"

# Before TensorFlow reads them; the flags of whoever runs the tests win.
os.environ["XLA_FLAGS"] = f"{_QUICKLY_COMPILED} {os.environ.get('XLA_FLAGS', '')}".strip()
