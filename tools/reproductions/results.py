"""Where results lie and how they are written: one folder and one file for each row or method."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

RESULT, NLLS = "result.json", "nll.npy"


def write_result(folder: Path, result: dict[str, Any], nll: Any) -> None:
    """Writes the figures, and the negative log-likelihood of each image; the figures last.

    What has no likelihood, where `nll` is `None`, has the figures alone.
    """
    import numpy as np

    from tfvae.saving import write_atomically

    if nll is not None:
        with write_atomically(folder / NLLS) as temporary, temporary.open("wb") as file:
            np.save(file, np.asarray(nll, np.float32), allow_pickle=False)
    with write_atomically(folder / RESULT) as temporary:
        temporary.write_text(json.dumps(result, indent=1))


def read_results(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The results that are there, in the order of the names."""
    paths = {name: folder / name / RESULT for name in names}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def read_nll(folder: Path, name: str) -> Any:
    """The negative log-likelihoods of a result, float64 `[M]`."""
    import numpy as np

    return np.load(folder / name / NLLS, allow_pickle=False).astype(np.float64)
