"""What a client needs of a protocol: three calls, each with a deadline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from tfvae.serving.specs import Signature, Target

Arrays = Mapping[str, np.ndarray]

SIGNATURE_FIELD = "signature_def"
"""The one field of metadata that there is."""


class Transport(Protocol):
    """What a client needs of a protocol; every call has a deadline in seconds."""

    def predict(
        self, target: Target, signature: Signature, inputs: Arrays, timeout: float
    ) -> dict[str, np.ndarray]:
        """Computes a signature."""

    def signatures(self, target: Target, timeout: float) -> dict[str, Signature]:
        """Asks for the signatures."""

    def status(self, target: Target, timeout: float) -> Any:
        """Asks what the versions are doing: a `GetModelStatusResponse`."""

    def close(self) -> None:
        """Closes the connections."""


def read_signatures(definitions: Any) -> dict[str, Signature]:
    """The signatures in a `SignatureDefMap`, but for the initialiser that TensorFlow adds."""
    signatures = {}
    for name, definition in definitions.signature_def.items():
        if definition.inputs:
            signatures[name] = Signature.from_proto(name, definition)
    return signatures
