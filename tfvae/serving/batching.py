"""Dynamic batching: requests that arrive together are computed together.

A batch opens with a request and takes in those after it that are of its kind. It is due when it is
full or its first request has waited long enough, and closes when a thread takes it: while all
threads compute, due batches go on growing. Rows do not depend on each other, and noise comes from
seeds among the inputs, one a row; so nobody can tell from an answer whom it was computed with.

Everything but the computing runs on the event loop, and needs no locks.

Reference:
    tensorflow/serving, `batching/README.md`; tensorflow, `core/kernels/batching_util`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from tfvae.serving.config import BatchingOptions
from tfvae.serving.errors import Code, ServingError, invalid

Arrays = Mapping[str, np.ndarray]
Run = Callable[[Arrays], Arrays]


@dataclass
class _Request:
    inputs: Arrays
    rows: int
    answer: asyncio.Future[Arrays]


@dataclass
class _Batch:
    kind: Hashable
    run: Run
    requests: list[_Request] = field(default_factory=list)
    due: bool = False

    @property
    def rows(self) -> int:
        return sum(request.rows for request in self.requests)


class Batcher:
    """Computes requests in batches, on threads.

    Args:
        options: how.
        observe: called with the rows of each batch that is computed.
    """

    def __init__(self, options: BatchingOptions, observe: Callable[[int], None]) -> None:
        self._options, self._observe = options, observe
        self._pool = ThreadPoolExecutor(options.num_threads, thread_name_prefix="batch")
        self._open: dict[Hashable, _Batch] = {}
        self._due: asyncio.Queue[_Batch] = asyncio.Queue()
        self._workers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Starts computing."""
        count = self._options.num_threads
        self._workers = [asyncio.create_task(self._work()) for _ in range(count)]

    async def close(self) -> None:
        """Stops; what has not been answered is refused."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        waiting = [
            *self._open.values(),
            *(self._due.get_nowait() for _ in range(self._due.qsize())),
        ]
        for request in (request for batch in waiting for request in batch.requests):
            if not request.answer.done():
                request.answer.set_exception(ServingError(Code.UNAVAILABLE, "shutting down"))
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def submit(self, kind: Hashable, run: Run, inputs: Arrays, batchable: bool) -> Arrays:
        """Computes a request.

        Args:
            kind: what tells functions apart; requests of one kind may share a batch.
            run: the function, from arrays to arrays by name.
            inputs: its arrays; with the same number of rows each, if it is batchable.
            batchable: whether it works row by row.

        Returns:
            The outputs.

        Raises:
            ServingError: if the request is too large, or too many are waiting.
        """
        options = self._options
        rows = len(next(iter(inputs.values()))) if batchable else 1
        if rows > options.max_batch_size:
            raise invalid(
                f"Task size {rows} is larger than maximum input batch size {options.max_batch_size}"
            )
        request = _Request(inputs, rows, asyncio.get_running_loop().create_future())
        kind = (kind, *((name, array.shape[1:]) for name, array in sorted(inputs.items())))
        batch = self._open.get(kind)
        if batch is not None and batch.rows + rows > options.max_batch_size:
            self._close(batch)
            batch = None
        if batch is None:
            batch = self._new_batch(kind, run, batchable)
        batch.requests.append(request)
        if not (options.enabled and batchable) or batch.rows == options.max_batch_size:
            self._close(batch)
        return await request.answer

    def _new_batch(self, kind: Hashable, run: Run, batchable: bool) -> _Batch:
        if len(self._open) + self._due.qsize() >= self._options.max_enqueued_batches:
            raise ServingError(
                Code.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full; "
                f"currently {self._options.max_enqueued_batches} batches enqueued",
            )
        batch = self._open[kind] = _Batch(kind, run)
        asyncio.get_running_loop().call_later(self._options.timeout_seconds, self._call, batch)
        return batch

    def _call(self, batch: _Batch) -> None:
        """Lets a thread take a batch, which stays open until one does."""
        if not batch.due:
            batch.due = True
            self._due.put_nowait(batch)

    def _close(self, batch: _Batch) -> None:
        if self._open.get(batch.kind) is batch:
            del self._open[batch.kind]
        self._call(batch)

    async def _work(self) -> None:
        while True:
            batch = await self._due.get()
            self._close(batch)
            # A client that has gone, or whose time is over, waits for nothing.
            requests = [request for request in batch.requests if not request.answer.done()]
            if requests:
                await self._answer(batch.run, requests)

    async def _answer(self, run: Run, requests: list[_Request]) -> None:
        try:
            outputs = await asyncio.get_running_loop().run_in_executor(
                self._pool, _run_together, run, requests
            )
        except Exception as error:
            if len(requests) == 1:
                if not requests[0].answer.done():
                    requests[0].answer.set_exception(error)
                return
            # One request may be to blame, and the others must not suffer for it.
            for request in requests:
                await self._answer(run, [request])
            return
        self._observe(sum(request.rows for request in requests))
        for request, output in zip(requests, outputs, strict=True):
            if not request.answer.done():
                request.answer.set_result(output)


def _run_together(run: Run, requests: list[_Request]) -> list[Arrays]:
    if len(requests) == 1:
        return [run(requests[0].inputs)]
    names = requests[0].inputs
    outputs = run({name: np.concatenate([r.inputs[name] for r in requests]) for name in names})
    ends = np.cumsum([request.rows for request in requests])
    if any(len(array) != ends[-1] for array in outputs.values()):
        raise ServingError(Code.INTERNAL, "an output has another number of rows than the inputs")
    return [
        {name: array[end - request.rows : end] for name, array in outputs.items()}
        for request, end in zip(requests, ends, strict=True)
    ]
