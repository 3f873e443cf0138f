"""The serving profile: a SavedModel for TensorFlow Serving, with all that belongs beside it.

    PATH/
      1/                           a version: written whole, never changed
        saved_model.pb, variables/
        assets.extra/tf_serving_warmup_requests
        model_card.json
      batching_parameters.txt      for --batching_parameters_file
      models.config                for --model_config_file

The batch is dynamic, any op may occur, and all inputs of a signature share their first dimension:
that is what server-side batching and REST's row format need.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfvae.export import measure
from tfvae.export.card import CARD_FILE, card_text, check_about, make_card
from tfvae.export.signatures import Choices, signatures_of
from tfvae.export.tracing import Traced, in_float32, save_graphs, trace_all
from tfvae.export.version_folder import folder_size, new_folder, next_version, write_if_missing
from tfvae.export.warmup import write_warmup

REPORT_BATCHES = (1, 16)
_MAX_BATCH_SIZE = 64

_BATCHING = f"""\
# Requests that arrive within the timeout are answered together. Seeds are per row, so batching
# never changes an answer. num_batch_threads: as many as the server has cores.
max_batch_size {{ value: {_MAX_BATCH_SIZE} }}
batch_timeout_micros {{ value: 2000 }}
max_enqueued_batches {{ value: 256 }}
num_batch_threads {{ value: 4 }}
"""

_MODELS_CONFIG = """\
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
  }}
}}
"""


def saved_model(
    vae: Any,
    path: str | os.PathLike[str],
    version: int | None = None,
    *,
    signatures: Iterable[str] | None = None,
    num_importance_samples: int = 16,
    likelihood_draws: bool = False,
    representative: Any = None,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a model as a SavedModel that TensorFlow Serving loads, without tfvae, TFP or Keras.

    Args:
        vae: a built `tfvae.VAE` or `tfvae.Autoencoder`, trained in any precision; the export
            computes in float32.
        path: the model's folder, whose last part is the name that it is served under. Versions
            lie in it by number.
        version: the version's number, at least 1; one more than the highest there is if `None`.
        signatures: names from `SIGNATURE_NAMES`; all that the model has if `None`.
        num_importance_samples: draws `K` of `log_prob` and `anomaly_score`.
        likelihood_draws: whether `sample` also returns `draw`, a draw from the likelihood.
        representative: data `[M, *data_shape]` that the report is measured on; noise if `None`.
        about: entries of the model card, such as `label`, `licence`, `command`, `data`, `nats`.

    Returns:
        The version's folder. Its `model_card.json` holds the signatures and the report.

    Raises:
        TypeError: if the model is of another class.
        ValueError: if the model is not built, the version exists, a signature is unknown or not
            possible, or a layer draws noise that no seed decides. Nothing is left behind.
        OSError: if another process has made the version in the meantime, or the disk is full.

    Example:
        >>> import tempfile, tfvae
        >>> vae = tfvae.VAE.for_images((8, 8, 1), latent_dim=2, hidden=(16,))
        >>> folder = saved_model(vae, Path(tempfile.mkdtemp()) / "tiny", signatures=["sample"])
        >>> loaded = tf.saved_model.load(str(folder)).signatures["sample"]
        >>> x = loaded(seed=tf.constant([[7, 0]]))["x"]
        >>> folder.name, bool(abs(x[0] - vae.sample(1, seed=7)[0]).numpy().max() < 1e-5)
        ('1', True)
    """
    path = Path(path)
    served_as = path.resolve().name
    about = check_about(about)
    choices = Choices(num_importance_samples, likelihood_draws)
    wanted, left_out = signatures_of(vae, choices, signatures)
    data = measure.check_representative(vae, representative)
    number = next_version(path, version)
    with in_float32(vae):
        batches = dict.fromkeys(wanted, (None,))
        traced, impossible = trace_all(vae, wanted, batches, required=signatures is not None)
        with new_folder(path / str(number)) as folder:
            save_graphs(folder, traced)
            present = [made.signature for made in traced.values()]
            write_warmup(folder, served_as, present, (1, _MAX_BATCH_SIZE))
            card = make_card(
                vae,
                traced,
                {**left_out, **impossible},
                choices,
                name=served_as,
                version=number,
                format="saved_model",
                about=about,
                report={
                    "bytes": folder_size(folder),
                    "signatures": _report(vae, folder, traced, data),
                },
            )
            (folder / CARD_FILE).write_text(card_text(card), encoding="utf-8")
    write_if_missing(path / "batching_parameters.txt", _BATCHING)
    write_if_missing(path / "models.config", _MODELS_CONFIG.format(name=served_as))
    return path / str(number)


def _report(
    model: Any, folder: Path, traced: Mapping[str, Traced], data: np.ndarray | None
) -> dict[str, Any]:
    """Errors against the Keras model, and times, from the files as a server loads them."""
    loaded = tf.saved_model.load(str(folder)).signatures
    report = {}
    for name, made in traced.items():
        times = {}
        for batch in REPORT_BATCHES:
            inputs = measure.example_inputs(model, made.signature, batch, data)
            call = partial(loaded[name], **{key: tf.constant(v) for key, v in inputs.items()})
            times[f"milliseconds_batch_{batch}"] = measure.milliseconds(call)
        expected = measure.reference(made.signature, inputs)
        report[name] = {"outputs": measure.errors(call(), expected), **times}
    return report
