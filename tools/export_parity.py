"""Compares every export of `saved_models/` with its Keras model, and prints the tables.

    python tools/export_parity.py [--mnist MNIST.npz] [faces digits mnist]

Errors are largest absolute differences from Keras in float32, over 64 rows of test data. "C++" is
TensorFlow Serving's loader in a process without Python's TensorFlow or Keras
(`tools/run_saved_model.py`), "XNNPACK" and "reference" are LiteRT's kernels on one thread. Times of
two things are taken in turn, on one thread, and only their ratio is of interest.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import tfvae
from tfvae import data, export, random
from tfvae.cli.datasets import clean
from tfvae.export.flatbuffer import operators, schema
from tfvae.export.interpreter import runners
from tfvae.export.signatures import Choices, signatures_of

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "saved_models"
LOADER = Path(__file__).with_name("run_saved_model.py")
ROWS = 64
Answers = dict[str, dict[str, np.ndarray]]


def table(title: str, header: list[str], rows: list[list[str]]) -> None:
    """Prints a table in Markdown."""
    print(f"\n### {title}\n")
    for row in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(row)} |")


def inputs_for(model: Any, name: str, mnist: str | None) -> dict[str, dict[str, np.ndarray]]:
    """64 rows for each signature: test data, their codes, seeds."""
    source = mnist if name == "mnist" else name
    if source is None:
        raise SystemExit("mnist needs --mnist MNIST.npz")
    x = clean(data.load(source).test.images[:ROWS])
    x = x if len(x) == ROWS else np.resize(x, (ROWS, *x.shape[1:]))
    seed = random.seeds(2026, ROWS)
    t = np.linspace(0, 1, ROWS, dtype=np.float32)
    return {
        "encode": {"x": x},
        "decode": {"z": model.code(x).numpy()},
        "reconstruct": {"x": x},
        "sample": {"seed": seed},
        "interpolate": {"a": x, "b": x[::-1].copy(), "t": t},
        "log_prob": {"x": x, "seed": seed},
        "anomaly_score": {"x": x, "seed": seed},
    }


def through_cpp(folder: Path, requests: Mapping[str, Mapping[str, np.ndarray]]) -> Answers:
    """What the C++ loader answers."""
    with tempfile.TemporaryDirectory() as work:
        arguments = []
        for signature, values in requests.items():
            source, target = Path(work) / f"{signature}.in.npz", Path(work) / f"{signature}.npz"
            np.savez(source, **values)
            arguments += [signature, str(source), str(target)]
        command = [sys.executable, str(LOADER), str(folder), *arguments]
        subprocess.run(command, check=True, capture_output=True)
        return {name: dict(np.load(Path(work) / f"{name}.npz")) for name in requests}


def through_file(
    content: bytes, requests: Mapping[str, Mapping[str, np.ndarray]], reference_kernels: bool
) -> Answers:
    """What a `.tflite` file answers, each signature in batches of its own size."""
    answers = {}
    for name, run in runners(content, reference_kernels).items():
        base, _, size = name.partition("_")
        batch = int(size) if size else 1
        parts = [
            run(**{key: value[start : start + batch] for key, value in requests[base].items()})
            for start in range(0, ROWS, batch)
        ]
        answers[name] = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return answers


def largest(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found.astype(np.float64) - expected.astype(np.float64)).max())


def parity(name: str, model: Any, requests: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Table 1."""
    signatures, _ = signatures_of(model, Choices())
    expected = {
        key: {output: np.asarray(v) for output, v in signature.function(**requests[key]).items()}
        for key, signature in signatures.items()
    }
    content = (MODELS / name / f"{name}.tflite").read_bytes()
    columns = [
        through_cpp(MODELS / name / "1", requests),
        through_file(content, requests, reference_kernels=False),
        through_file(content, requests, reference_kernels=True),
    ]
    rows = []
    for signature in dict.fromkeys([*columns[0], *columns[1]]):
        oracle = expected[signature.partition("_")[0] if signature[-1].isdigit() else signature]
        for output, value in oracle.items():
            cells = [
                f"{largest(answers[signature][output], value):.1e}"
                if output in answers.get(signature, {})
                else ""
                for answers in columns
            ]
            if any(cells):
                size = f"{np.abs(value).max():.3g}"
                rows.append([f"{signature}.{output}", *cells, size])
    header = ["output", "C++ loader", "XNNPACK", "reference kernels", "largest value"]
    table(f"{name}: largest error against Keras, {ROWS} rows", header, rows)


def seeds(name: str, model: Any) -> list[str]:
    """A row of table 2: the sample of one seed, everywhere."""
    row, count = 11, 20
    whole = random.seeds(77, count)
    expected = model.sample(count, seed=77)[row]
    code = model.prior.draw(whole[row : row + 1]).numpy()[0]
    content = (MODELS / name / f"{name}.tflite").read_bytes()
    alone = runners(content)["sample"](seed=whole[row : row + 1])
    serving = through_cpp(MODELS / name / "1", {"sample": {"seed": whole}})["sample"]
    first = through_cpp(MODELS / name / "1", {"sample": {"seed": whole[row : row + 1]}})["sample"]
    places = ((serving, row), (first, 0), (alone, 0))
    pictures = [largest(answer["x"][place], expected) for answer, place in places]
    codes = [largest(answer["z"][place], code) for answer, place in places]
    return [name, *[f"{error:.1e}" for error in (*pictures, max(codes))]]


def in_turn(calls: Mapping[str, Callable[[], Any]], rounds: int = 200) -> dict[str, float]:
    """Median milliseconds of each call, taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: 1000 * median(values) for name, values in times.items()}


def int8(name: str, model: Any, requests: Mapping[str, Mapping[str, np.ndarray]]) -> list[str]:
    """A row of table 4."""
    paths = {kind: MODELS / name / f"{name}{kind}.tflite" for kind in ("", "_int8")}
    contents = {kind: path.read_bytes() for kind, path in paths.items()}
    z = requests["decode"]["z"]
    expected = model.decode(z).mean().numpy()
    files = {kind: runners(content) for kind, content in contents.items()}
    found = np.concatenate(
        [files["_int8"]["decode_16"](z=z[i : i + 16])["mean"] for i in range(0, ROWS, 16)]
    )
    times = in_turn({kind: lambda k=kind: files[k]["decode_16"](z=z[:16]) for kind in files})
    weights = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    sizes = {kind: len(content) for kind, content in contents.items()}
    return [
        name,
        f"{sizes['']:,}",
        f"{sizes['_int8']:,}",
        f"{sizes['_int8'] / sizes['']:.3f}",
        f"{sizes['_int8'] - weights:,}",
        f"{np.abs(found - expected).mean():.4f}",
        f"{np.abs(found - expected).max():.3f}",
        f"{times['_int8'] / times['']:.2f}",
    ]


def sampling(name: str, model: Any, requests: Mapping[str, Mapping[str, np.ndarray]]) -> list[str]:
    """A row of table 5."""
    with tempfile.TemporaryDirectory() as folder:
        path = export.tflite(
            model,
            Path(folder) / "m.tflite",
            batch_sizes=(16,),
            signatures=["decode", "sample"],
        )
        run = runners(path.read_bytes())
    z, seed = requests["decode"]["z"][:16], requests["sample"]["seed"][:16]
    calls = {
        "decode": lambda: run["decode_16"](z=z),
        "sample": lambda: run["sample_16"](seed=seed),
    }
    times = in_turn(calls)
    extra = times["sample"] - times["decode"]
    return [
        name,
        f"{times['decode']:.3f}",
        f"{times['sample']:.3f}",
        f"{times['sample'] / times['decode']:.3f}",
        f"{extra:.3f}",
    ]


def census(name: str) -> list[list[str]]:
    """Rows of table 3."""
    builtin = set(vars(schema().BuiltinOperator)) - {"CUSTOM"}
    rows = []
    for kind in ("", "_int8"):
        content = (MODELS / name / f"{name}{kind}.tflite").read_bytes()
        found = operators(content)
        total = sum(map(len, found.values()))
        foreign = {op for kinds in found.values() for op in kinds} - builtin
        rows.append([f"{name}{kind}.tflite", str(len(found)), str(total), str(len(foreign))])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=["faces", "digits", "mnist"])
    parser.add_argument("--mnist", help="MNIST in Keras' layout, .npz")
    arguments = parser.parse_args()
    models = {name: tfvae.load(MODELS / name / f"{name}.keras") for name in arguments.names}
    requests = {name: inputs_for(model, name, arguments.mnist) for name, model in models.items()}
    for name, model in models.items():
        parity(name, model, requests[name])
    table(
        "One seed: largest error against `vae.sample`, in fresh processes",
        ["model", "SavedModel, row 11 of 20", "SavedModel, alone", "TFLite, alone", "code z, any"],
        [seeds(name, model) for name, model in models.items()],
    )
    table(
        "Operators",
        ["file", "signatures", "operators", "kinds that are not TFLite's own"],
        [row for name in models for row in census(name)],
    )
    table(
        "int8 against float32",
        [
            *["model", "float32, bytes", "int8, bytes", "ratio", "of which not weights"],
            *["mean error of decoded pixels", "max", "time int8/float32, 16 rows"],
        ],
        [int8(name, model, requests[name]) for name, model in models.items()],
    )
    table(
        "sample against decode, 16 rows, one thread",
        ["model", "decode, ms", "sample, ms", "ratio", "difference, ms"],
        [sampling(name, model, requests[name]) for name, model in models.items()],
    )


if __name__ == "__main__":
    main()
