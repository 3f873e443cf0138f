"""Serving: TensorFlow Serving's protocol, from a server and to one, without Keras.

`Client` needs NumPy, grpcio and httpx; TensorFlow is loaded where a server runs.
"""

from tfvae.serving.client import Client, Posterior, VersionStatus
from tfvae.serving.errors import ServingError
from tfvae.serving.launch import serve
from tfvae.serving.limits import Limits
from tfvae.serving.process import LocalServer

__all__ = [
    "Client",
    "Limits",
    "LocalServer",
    "Posterior",
    "ServingError",
    "VersionStatus",
    "serve",
]
