"""A version of a model in memory, as TensorFlow's own loader reads it.

Neither Keras nor TensorFlow Probability nor the code that made the model is needed or imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, prediction_log_pb2

from tfvae.serving.errors import Code, ServingError
from tfvae.serving.specs import Signature
from tfvae.serving.tensors import read_tensor

_TAGS = {"serve"}
_DEFAULT = "serving_default"
_WARMUP = Path("assets.extra", "tf_serving_warmup_requests")
_MAX_WARMUP_REQUESTS = 1000
_MAX_WARMUP_BYTES = 1 << 30


class Servable:
    """One version of a model, loaded and warmed up.

    Args:
        folder: the version's folder, a SavedModel.

    Attributes:
        definitions: its signatures as a `SignatureDefMap`.

    Raises:
        Exception: whatever TensorFlow raises at files that are damaged or missing.
    """

    def __init__(self, folder: Path) -> None:
        saved_model = saved_model_pb2.SavedModel()
        saved_model.ParseFromString((folder / "saved_model.pb").read_bytes())
        graphs = [
            graph for graph in saved_model.meta_graphs if set(graph.meta_info_def.tags) == _TAGS
        ]
        if len(graphs) != 1:
            raise ValueError(f"A SavedModel has one graph for serving. Received: {len(graphs)}")
        self.definitions: Any = get_model_metadata_pb2.SignatureDefMap(
            signature_def=graphs[0].signature_def
        )
        # The object holds the variables, which the functions know only by weak references.
        self._loaded = tf.saved_model.load(str(folder), tags=sorted(_TAGS))
        self._functions = dict(self._loaded.signatures)
        self._signatures = {
            name: Signature.from_proto(name, self.definitions.signature_def[name])
            for name in self._functions
        }
        self._warm_up(folder / _WARMUP)

    def signature(self, name: str) -> Signature:
        """A signature by its name, or the default one if the name is empty.

        Raises:
            ServingError: if there is none of this name.
        """
        name = name or _DEFAULT
        if name not in self._signatures:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f'Serving signature name: "{name}" not found in signature def. '
                f"There are: {', '.join(sorted(self._signatures))}",
            )
        return self._signatures[name]

    def run(self, name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Computes a signature.

        Args:
            name: the signature's.
            inputs: arrays that fit it.

        Returns:
            Its outputs by name.

        Raises:
            ServingError: if TensorFlow cannot compute it.
        """
        try:
            tensors = {key: tf.constant(array) for key, array in inputs.items()}
            outputs = self._functions[name](**tensors)
            return {key: np.asarray(outputs[key].numpy()) for key in self._signatures[name].outputs}
        except tf.errors.OpError as error:
            raise ServingError(Code(error.error_code), error.message) from error

    def _warm_up(self, path: Path) -> None:
        """Answers the requests that a version brings along, so that no client waits for it."""
        if not path.is_file():
            return
        for record in tf.data.TFRecordDataset(str(path)).take(_MAX_WARMUP_REQUESTS):
            log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
            request = log.predict_log.request
            inputs = {
                name: read_tensor(name, tensor, _MAX_WARMUP_BYTES)
                for name, tensor in request.inputs.items()
            }
            self.run(self.signature(request.model_spec.signature_name).name, inputs)
