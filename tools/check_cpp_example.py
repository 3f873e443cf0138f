"""Compiles `tools/examples/sample.cc` and compares its pictures with Python's.

    python tools/check_cpp_example.py FILE.tflite [FILE.tflite ...]

Needs g++ and the package `ai-edge-litert`, whose library the program is linked with.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tfvae.export.interpreter import runners

SOURCE = Path(__file__).parent / "examples" / "sample.cc"
SEEDS = ((7, 0), (7, 3), (-1, 2**31 - 1))


def main(files: list[str]) -> None:
    if not files:
        raise SystemExit(__doc__)
    spec = importlib.util.find_spec("ai_edge_litert")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("The package ai-edge-litert is not installed")
    library = spec.submodule_search_locations[0]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "sample"
        link = ["-L", library, "-lLiteRt", f"-Wl,-rpath,{library}"]
        compile_command = ["g++", "-std=c++17", "-Wall", "-Werror", "-O2", str(SOURCE)]
        subprocess.run([*compile_command, *link, "-o", str(program)], check=True)
        for file in files:
            sample = runners(Path(file).read_bytes())["sample"]
            for seed in SEEDS:
                command = [str(program), file, *map(str, seed)]
                output = subprocess.run(command, check=True, capture_output=True).stdout
                pixels = np.frombuffer(output.split(b"\n255\n", 1)[1], np.uint8)
                expected = sample(seed=np.array([seed], np.int64).astype(np.int32))["x"]
                difference = np.abs(pixels - 255 * np.clip(expected.ravel(), 0, 1)).max()
                # Rounding to whole grey levels, and a last bit at a half.
                if difference > 0.51:
                    raise SystemExit(f"{file}, seed {seed}: {difference} grey levels apart")
            print(f"{file}: {len(SEEDS)} pictures as in Python")


if __name__ == "__main__":
    main(sys.argv[1:])
