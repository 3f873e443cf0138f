"""What both protocols do with a request: admit it, find its model, compute it, count it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from tfvae.serving.batching import Arrays, Batcher
from tfvae.serving.errors import Code, ServingError, invalid
from tfvae.serving.limits import Limits
from tfvae.serving.monitoring import Metrics
from tfvae.serving.specs import Signature
from tfvae.serving.versions import Version, Versions

_log = logging.getLogger("tfvae.serving")
_T = TypeVar("_T")
# Requests below this size are decoded where they arrive: a thread would cost more than it saves.
_SMALL = 1 << 16


@dataclass
class Core:
    """The server without its protocols.

    Attributes:
        versions: the model's.
        batcher: what computes.
        limits: what a request may cost.
        metrics: what is counted.
        in_flight: requests that have been admitted and not answered.
        num_answered: requests that have been answered, errors included.
        num_given_up: requests that ended without an answer, because their clients had gone.
    """

    versions: Versions
    batcher: Batcher
    limits: Limits
    metrics: Metrics
    in_flight: int = 0
    num_answered: int = 0
    num_given_up: int = 0

    def __post_init__(self) -> None:
        # One thread: however many large bodies arrive, one at a time is parsed, in its memory.
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="decode")

    @asynccontextmanager
    async def admitted(self, api: str, entrypoint: str) -> AsyncIterator[None]:
        """A block that answers a request: there is a place for it, it ends in time, it is counted.

        Args:
            api: what is asked, such as `Predict`.
            entrypoint: `GRPC` or `REST`.

        Raises:
            ServingError: for everything that goes wrong inside, and if too many are at work.
        """
        started, status = time.perf_counter(), Code.CANCELLED
        if self.in_flight >= self.limits.max_concurrent_requests:
            self.metrics.answered(api, entrypoint, Code.UNAVAILABLE.name, 0.0)
            raise ServingError(
                Code.UNAVAILABLE, f"{self.in_flight} requests are being answered: try again later"
            )
        self.in_flight += 1
        try:
            async with asyncio.timeout(self.limits.timeout_seconds):
                yield
            status = Code.OK
        except TimeoutError:
            status = Code.DEADLINE_EXCEEDED
            seconds = self.limits.timeout_seconds
            raise ServingError(status, f"the request was not answered in {seconds:g} s") from None
        except ServingError as error:
            status = error.code
            raise
        except Exception as error:
            status = Code.INTERNAL
            _log.exception("a request failed")
            raise ServingError(status, "the server failed at this request") from error
        finally:
            self.in_flight -= 1
            self.num_answered += status != Code.CANCELLED
            self.num_given_up += status == Code.CANCELLED
            self.metrics.answered(api, entrypoint, status.name, time.perf_counter() - started)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """A block in which a request must arrive.

        Raises:
            ServingError: if it takes too long.
        """
        seconds = self.limits.read_seconds
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            message = f"the request did not arrive in {seconds:g} s"
            raise ServingError(Code.DEADLINE_EXCEEDED, message, http_status=408) from None

    async def decode(self, size: int, decoder: Callable[..., _T], *arguments: object) -> _T:
        """Calls a function on a body of so many bytes, on a thread if they are many."""
        if size < _SMALL:
            return decoder(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._decoder, decoder, *arguments)

    async def predict(
        self,
        version: Version,
        signature: Signature,
        inputs: Arrays,
        output_filter: Iterable[str] = (),
    ) -> Arrays:
        """Computes a signature of a version.

        Args:
            version: from `versions.use`.
            signature: one of its.
            inputs: what to compute it of.
            output_filter: names of the outputs that are wanted; all if none is named.

        Returns:
            The outputs by name.

        Raises:
            ServingError: if the inputs or the names are not the signature's, or not finite.
        """
        wanted = list(output_filter) or list(signature.outputs)
        unknown = sorted({*wanted} - signature.outputs.keys())
        if unknown or len(set(wanted)) != len(wanted):
            raise invalid(
                f"output tensor alias not found in signature or repeated: {wanted} "
                f"Outputs expected to be in the set {{{','.join(signature.outputs)}}}."
            )
        misfit = signature.misfit(inputs)
        if misfit is not None:
            raise invalid(misfit)
        for name, array in inputs.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise invalid(f"input `{name}` must be finite numbers. Received: NaN or infinity")
        servable = version.loaded
        outputs = await self.batcher.submit(
            (servable, signature.name),
            partial(servable.run, signature.name),
            inputs,
            signature.batchable,
        )
        return {name: outputs[name] for name in wanted}
