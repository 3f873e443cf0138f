"""The device profile: a `.tflite` file for phones, browsers and small Linux machines.

Its shapes are static, because GPU delegates and LiteRT.js refuse others and because int8 kernels
are many times slower on a dynamic batch; so a signature is there once for each batch size, as
`decode` and `decode_16`. Its operators are TFLite's own: a stock interpreter runs it. The converter
would gladly add TensorFlow's operators ("Flex"), which a stock interpreter cannot run; here they
fail the export.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tfvae.export import flatbuffer, measure
from tfvae.export.card import card_text, check_about, make_card
from tfvae.export.conversion import QUANTIZATIONS, convert
from tfvae.export.interpreter import runners
from tfvae.export.signatures import Choices, signatures_of
from tfvae.export.tracing import Traced, in_float32, save_graphs, trace_all
from tfvae.saving.atomic import write_atomically

_SIGNATURES = ("encode", "decode", "reconstruct", "sample")
_BATCH_SIZES: Mapping[str, Sequence[int]] = {"decode": (1, 16)}


def tflite(
    vae: Any,
    path: str | os.PathLike[str],
    quantization: str | None = None,
    batch_sizes: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    *,
    representative: Any = None,
    integer_io: bool = False,
    signatures: Iterable[str] | None = None,
    num_importance_samples: int = 16,
    likelihood_draws: bool = False,
    likelihood_parameters: bool = False,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a model as a TFLite file of static shapes and built-in operators.

    Needs the extra `export`: `pip install 'tfvae[export]'`.

    Args:
        vae: a built `tfvae.VAE` or `tfvae.Autoencoder`, trained in any precision.
        path: a file name that ends in `.tflite`; its folder is made, a file that is there is
            replaced.
        quantization: `None` for float32; `"float16"` for weights in half precision; `"dynamic"`
            for int8 weights and activations quantised as they come; `"int8"` for networks in int8
            altogether. The noise of a seed and the arithmetic of distributions stay float32.
        batch_sizes: rows of every signature, such as `(1, 16)`, or of each by its name. A
            signature that is not named has one row; `None` is `{"decode": (1, 16)}`.
        representative: data `[M, *data_shape]`, as the model was trained on; a few hundred. int8
            needs them to find the ranges of activations, and the report is measured on them.
        integer_io: whether int8 networks at the edge of the file take and give int8, scaled as the
            file says, as microcontrollers and NPUs like it.
        signatures: names from `SIGNATURE_NAMES`; encode, decode, reconstruct and sample if `None`.
        num_importance_samples: draws `K` of `log_prob` and `anomaly_score`.
        likelihood_draws: whether `sample` also returns `draw`, a draw from the likelihood.
        likelihood_parameters: whether `decode` also returns the likelihood's parameters.
        about: entries of the model card, such as `label`, `licence`, `version`, `command`, `nats`.

    Returns:
        The path. The model card, with the report, is inside the file and beside it, as
        `NAME.model_card.json`.

    Raises:
        TypeError: if the model is of another class.
        ValueError: if an argument is wrong, LiteRT is not installed, the model is not built, a
            signature is not possible, or a layer needs an operator that TFLite has not built in;
            the message names the layer. Nothing is left behind.

    Example:
        >>> import tempfile, tfvae
        >>> vae = tfvae.VAE.for_images((8, 8, 1), latent_dim=2, hidden=(16,))
        >>> file = tflite(vae, Path(tempfile.mkdtemp()) / "tiny.tflite", signatures=["sample"])
        >>> run = runners(file.read_bytes())["sample"]
        >>> x = run(seed=np.int32([[7, 0]]))["x"]
        >>> bool(abs(x[0] - vae.sample(1, seed=7)[0]).max() < 1e-5)
        True
    """
    path = _check_path(path)
    _check_quantization(quantization, representative, integer_io)
    about = check_about(about)
    choices = Choices(num_importance_samples, likelihood_draws, likelihood_parameters)
    wanted, left_out = signatures_of(vae, choices, signatures)
    if signatures is None:
        wanted = {name: wanted[name] for name in _SIGNATURES if name in wanted}
        left_out = {name: why for name, why in left_out.items() if name in _SIGNATURES}
    data = measure.check_representative(vae, representative)
    batches = _check_batch_sizes(batch_sizes, wanted)
    flatbuffer.schema()
    path.parent.mkdir(parents=True, exist_ok=True)
    with in_float32(vae):
        traced, impossible = trace_all(vae, wanted, batches, required=signatures is not None)
        with tempfile.TemporaryDirectory(prefix="tfvae-") as folder:
            save_graphs(Path(folder), traced)
            model = convert(vae, folder, traced, quantization, data, integer_io)
        flatbuffer.tidy(model, list(traced))
        content = flatbuffer.pack(model)
        card = make_card(
            vae,
            traced,
            {**left_out, **impossible},
            choices,
            name=path.stem,
            format="tflite",
            quantization=quantization or "float32",
            about=about,
            report={"bytes": len(content), "signatures": _report(vae, content, traced, data)},
        )
    flatbuffer.set_metadata(model, json.dumps(card), str(about.get("label", path.stem)))
    with write_atomically(path) as temporary:
        temporary.write_bytes(flatbuffer.pack(model))
    with write_atomically(path.with_suffix(".model_card.json")) as temporary:
        temporary.write_text(card_text(card), encoding="utf-8")
    return path


def _check_path(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if path.suffix != ".tflite":
        raise ValueError(f"The file's name must end in .tflite. Received: path={str(path)!r}")
    return path


def _check_quantization(quantization: Any, representative: Any, integer_io: bool) -> None:
    if quantization not in (None, *QUANTIZATIONS):
        raise ValueError(
            f"`quantization` must be None or one of {QUANTIZATIONS}. Received: {quantization!r}"
        )
    if quantization == "int8" and representative is None:
        raise ValueError(
            "int8 needs `representative` data, a few hundred examples as the model was trained "
            "on, to find the ranges of activations. Received: representative=None"
        )
    if integer_io and quantization != "int8":
        raise ValueError(
            "`integer_io` is for quantization='int8': other files compute in float. "
            f"Received: quantization={quantization!r}"
        )


def _check_batch_sizes(
    batch_sizes: Sequence[int] | Mapping[str, Sequence[int]] | None, names: Iterable[str]
) -> dict[str, Sequence[int]]:
    names = list(names)
    if batch_sizes is None:
        batch_sizes = {name: sizes for name, sizes in _BATCH_SIZES.items() if name in names}
    if not isinstance(batch_sizes, Mapping):
        batch_sizes = dict.fromkeys(names, batch_sizes)
    for name, sizes in batch_sizes.items():
        if name not in names or not sizes or len({*sizes}) < len(sizes):
            raise ValueError(
                "`batch_sizes` takes distinct sizes for signatures of the file, "
                f"{', '.join(names)}. Received: {name!r}: {sizes!r}"
            )
        for size in sizes:
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ValueError(f"A batch size must be at least 1. Received: {name!r}: {sizes!r}")
    return {name: batch_sizes.get(name, (1,)) for name in names}


def _report(
    model: Any, content: bytes, traced: Mapping[str, Traced], data: np.ndarray | None
) -> dict[str, Any]:
    """Errors against the Keras model, and times on one thread, from LiteRT's own interpreter."""
    run = runners(content)
    report = {}
    for name, made in traced.items():
        inputs = measure.example_inputs(model, made.signature, made.batch or 1, data)
        call = partial(run[name], **inputs)
        expected = measure.reference(made.signature, inputs)
        report[name] = {
            "outputs": measure.errors(call(), expected),
            f"milliseconds_batch_{made.batch}": measure.milliseconds(call),
        }
    return report
