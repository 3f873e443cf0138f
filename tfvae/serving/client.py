"""A client of TensorFlow Serving for tfvae's exports, over gRPC or REST, without TensorFlow.

It asks the server once what its signatures take, and so can say what is wrong with an array before
anything is sent. Rows are independent, so a large array travels in several requests; requests
change nothing on the server, so those that fail in passing are repeated.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfvae.serving.errors import Code, ServingError
from tfvae.serving.messages import State
from tfvae.serving.specs import Signature, Target, TensorSpec
from tfvae.serving.transport import Transport

_T = TypeVar("_T")
_FIRST_WAIT = 0.05


@dataclass(frozen=True)
class Posterior:
    """The distribution q(z|x) of each row.

    Attributes:
        loc: its mean, `[B, *latent_shape]`; the code itself if the model is an autoencoder.
        scale: its standard deviation, of the same shape; `None` for an autoencoder.
        scale_tril: the lower triangular factor of its covariance, if it has one.
    """

    loc: NDArray[Any]
    scale: NDArray[Any] | None = None
    scale_tril: NDArray[Any] | None = None


@dataclass(frozen=True)
class VersionStatus:
    """What a server says of a version.

    Attributes:
        version: its number.
        state: such as `AVAILABLE`.
        error: why it cannot be served; empty if it can.
    """

    version: int
    state: str
    error: str


class Client:
    """Calls a served model.

    Args:
        address: `grpc://HOST:PORT`, `http://HOST:PORT` or `https://HOST:PORT`.
        model: the name that the model is served under.
        version: a version of it; the highest one that is served if `None`.
        label: a label that stands for a version, instead of its number.
        timeout: seconds that a request may take, repetitions included.
        retries: how often a request is repeated that fails in passing (`UNAVAILABLE`: the server
            starts, stops or has no place). Other errors are never repeated.
        rows_per_request: arrays of more rows are sent in several requests. Not above the server's
            `max_batch_size`.

    Raises:
        ValueError: if an argument is not of its form.

    Example:
        >>> with Client("grpc://127.0.0.1:8500", "faces") as client:
        ...     client.model
        'faces'
    """

    def __init__(
        self,
        address: str,
        model: str,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 10.0,
        retries: int = 3,
        rows_per_request: int = 64,
    ) -> None:
        if version is not None and label is not None:
            raise ValueError(
                f"Give `version` or `label`, not both. Received: {version!r} and {label!r}"
            )
        if timeout <= 0 or retries < 0 or rows_per_request < 1:
            raise ValueError(
                "`timeout` must be positive, `retries` not negative and `rows_per_request` at "
                f"least 1. Received: {timeout!r}, {retries!r}, {rows_per_request!r}"
            )
        self.address, self.model = address, model
        self._target = Target(model, version, label)
        self._timeout, self._retries, self._rows = timeout, retries, rows_per_request
        self._transport = _transport(address)
        self._signatures: dict[str, Signature] = {}

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    # ---- the model ------------------------------------------------------------------------

    def encode(self, x: ArrayLike) -> Posterior:
        """The posterior q(z|x).

        Args:
            x: data `[B, *data_shape]`.

        Returns:
            Its mean and standard deviation.
        """
        outputs = self.predict("encode", x=x)
        return Posterior(outputs["loc"], outputs.get("scale"), outputs.get("scale_tril"))

    def decode(self, z: ArrayLike) -> NDArray[Any]:
        """The mean of p(x|z), `[B, *data_shape]`, of codes `[B, *latent_shape]`."""
        return self.predict("decode", z=z)["mean"]

    def reconstruct(self, x: ArrayLike) -> NDArray[Any]:
        """What the model makes of data `[B, *data_shape]`, in the same shape."""
        return self.predict("reconstruct", x=x)["x"]

    def sample(self, n: int, seed: int = 0) -> NDArray[Any]:
        """Generates examples: the same as `vae.sample(n, seed)` does.

        Args:
            n: number of examples.
            seed: any integer; the same seed, the same examples.

        Returns:
            `[n, *data_shape]`.
        """
        return self.predict("sample", seed=row_seeds(seed, n))["x"]

    def interpolate(self, a: ArrayLike, b: ArrayLike, steps: int = 8) -> NDArray[Any]:
        """Decodes points on the straight line between the codes of two examples.

        Args:
            a: an example `data_shape`.
            b: another.
            steps: number of points, the ends included; at least 2.

        Returns:
            `[steps, *data_shape]`.

        Raises:
            ValueError: if `steps` is below 2.
        """
        if steps < 2:
            raise ValueError(f"`steps` must be at least 2. Received: {steps!r}")
        ends = {
            name: np.repeat(np.asarray(end)[None], steps, axis=0)
            for name, end in (("a", a), ("b", b))
        }
        return self.predict("interpolate", **ends, t=np.linspace(0.0, 1.0, steps))["x"]

    def log_prob(self, x: ArrayLike, seed: int = 0) -> NDArray[Any]:
        """The importance-weighted bound on log p(x), in nats, `[B]`.

        Args:
            x: data `[B, *data_shape]`.
            seed: fixes the draws of the estimate; row `i` has those of the pair `(seed, i)`.

        Returns:
            A number for each row.
        """
        return self.predict("log_prob", x=x, seed=row_seeds(seed, len(np.asarray(x))))["log_prob"]

    def anomaly_score(self, x: ArrayLike, seed: int = 0) -> NDArray[Any]:
        """Minus `log_prob`: the higher, the stranger. Arguments and shape as there."""
        return self.predict("anomaly_score", x=x, seed=row_seeds(seed, len(np.asarray(x))))["score"]

    # ---- any signature --------------------------------------------------------------------

    def predict(self, signature: str, **inputs: ArrayLike) -> dict[str, NDArray[Any]]:
        """Computes any signature.

        Args:
            signature: its name.
            **inputs: arrays by the names of its inputs. Numbers are converted to its types where
                nothing is lost but precision.

        Returns:
            All its outputs by name.

        Raises:
            ValueError: if there is no such signature, or the arrays are not what it takes.
            ServingError: if the server answers with an error, or not at all.
        """
        try:
            spec, arrays = self._check(signature, inputs)
        except ValueError:
            # The server may have taken up a version with other shapes in the meantime.
            self._signatures = {}
            spec, arrays = self._check(signature, inputs)
        if not spec.batchable:
            return self._send(spec, arrays)
        rows = len(next(iter(arrays.values())))
        parts = [
            self._send(spec, {name: a[start : start + self._rows] for name, a in arrays.items()})
            for start in range(0, rows, self._rows)
        ]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def signatures(self) -> dict[str, Signature]:
        """What the model offers: signatures by name, with the types of inputs and outputs."""
        if not self._signatures:
            self._signatures = self._repeated(
                lambda timeout: self._transport.signatures(self._target, timeout)
            )
        return dict(self._signatures)

    def status(self) -> list[VersionStatus]:
        """What the versions of the model are doing, and why one cannot be served."""
        response = self._repeated(lambda timeout: self._transport.status(self._target, timeout))
        return [
            VersionStatus(entry.version, State(entry.state).name, entry.status.error_message)
            for entry in response.model_version_status
        ]

    def _check(
        self, name: str, inputs: dict[str, ArrayLike]
    ) -> tuple[Signature, dict[str, NDArray[Any]]]:
        signatures = self.signatures()
        if name not in signatures:
            raise ValueError(
                f"Model {self.model!r} has the signatures {', '.join(sorted(signatures))}. "
                f"Received: {name!r}"
            )
        signature = signatures[name]
        arrays = {
            key: _converted(np.asarray(value), signature.inputs.get(key))
            for key, value in inputs.items()
        }
        misfit = signature.misfit(arrays)
        if misfit is not None:
            raise ValueError(f"In model {self.model!r}, {misfit}")
        return signature, arrays

    def _send(
        self, signature: Signature, arrays: dict[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        def send(timeout: float) -> dict[str, NDArray[Any]]:
            return self._transport.predict(self._target, signature, arrays, timeout)

        try:
            return self._repeated(send)
        except ServingError as error:
            message = f"signature `{signature.name}` of {self.model!r}: {error.message}"
            raise ServingError(error.code, message, error.http_status) from error

    def _repeated(self, call: Callable[[float], _T]) -> _T:
        """Calls with the time that is left, again if it fails in passing."""
        deadline = time.monotonic() + self._timeout
        for attempt in range(self._retries + 1):
            try:
                return call(max(1e-3, deadline - time.monotonic()))
            except ServingError as error:
                # Waits double, and differ, so that clients do not come back all at once.
                wait = _FIRST_WAIT * 2**attempt * random.uniform(0.5, 1.5)
                last = attempt == self._retries or time.monotonic() + wait >= deadline
                if error.code != Code.UNAVAILABLE or last:
                    message = f"{error.message} (at {self.address})"
                    raise ServingError(error.code, message, error.http_status) from error
                time.sleep(wait)
        raise ServingError(Code.UNAVAILABLE, f"no answer (at {self.address})")


def row_seeds(seed: int, num_rows: int) -> NDArray[np.int32]:
    """A seed for each row, as `tfvae.random.seeds` makes them with TensorFlow at hand.

    Args:
        seed: an integer; its lowest 32 bits count.
        num_rows: the number of rows `N`.

    Returns:
        int32 `[N, 2]`: row `i` is the pair `(seed, i)`.

    Example:
        >>> row_seeds(7, 2).tolist()
        [[7, 0], [7, 1]]
    """
    word = np.array(int(seed) & 0xFFFFFFFF, np.uint32).astype(np.int32)
    return np.stack([np.full(num_rows, word), np.arange(num_rows, dtype=np.int32)], axis=1)


def _transport(address: str) -> Transport:
    parts = urlsplit(address)
    if parts.scheme not in ("grpc", "http", "https") or not parts.netloc or parts.path.strip("/"):
        raise ValueError(
            "`address` must be grpc://HOST:PORT, http://HOST:PORT or https://HOST:PORT. "
            f"Received: {address!r}"
        )
    if parts.scheme == "grpc":
        from tfvae.serving.grpc_transport import GrpcTransport

        return GrpcTransport(parts.netloc)
    from tfvae.serving.rest_transport import RestTransport

    return RestTransport(address)


def _converted(array: NDArray[Any], spec: TensorSpec | None) -> NDArray[Any]:
    """Casts numbers of the same sort, and whole numbers to any; all else is left to be refused."""
    if spec is None or array.dtype == spec.dtype:
        return array
    kinds = {"f": "fiu", "i": "iu", "u": "iu"}.get(spec.dtype.kind, "")
    if array.dtype.kind not in kinds:
        return array
    converted = array.astype(spec.dtype)
    lossless = spec.dtype.kind == "f" or np.array_equal(converted, array)
    return converted if lossless else array
