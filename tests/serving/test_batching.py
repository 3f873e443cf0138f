"""Who is computed together with whom, and that nobody can tell."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from tfvae.serving.batching import Batcher
from tfvae.serving.config import BatchingOptions
from tfvae.serving.errors import Code, ServingError


class Doubler:
    """Doubles rows, remembers what it was called with, and can be held up."""

    def __init__(self):
        self.calls, self.free = [], threading.Event()
        self.free.set()

    def __call__(self, inputs):
        self.free.wait(10)
        x = inputs["x"]
        if (x < 0).any():
            raise ValueError("negative")
        self.calls.append(len(x))
        return {"y": 2 * x}


def rows(*values):
    return {"x": np.array(values, np.float32)}


def scenario(steps, **options):
    """Runs `steps(batcher, run)` on a loop; returns its result and the calls that were made."""

    async def play():
        observed, run = [], Doubler()
        defaults = {"max_batch_size": 4, "timeout_seconds": 0.02, "num_threads": 1}
        batcher = Batcher(BatchingOptions(**{**defaults, **options}), observed.append)
        batcher.start()
        try:
            return await steps(batcher, run), run.calls, observed
        finally:
            run.free.set()
            await batcher.close()

    return asyncio.run(play())


def ask(batcher, run, *values, kind="k", batchable=True):
    return asyncio.ensure_future(batcher.submit(kind, run, rows(*values), batchable))


async def gathered(*requests):
    answers = await asyncio.gather(*requests, return_exceptions=True)
    return [a if isinstance(a, Exception) else a["y"].tolist() for a in answers]


def test_requests_that_come_together_are_computed_together():
    async def steps(batcher, run):
        return await gathered(ask(batcher, run, 1), ask(batcher, run, 2, 3), ask(batcher, run, 4))

    assert scenario(steps) == ([[2], [4, 6], [8]], [4], [4])


def test_a_full_batch_leaves_the_rest_to_the_next():
    async def steps(batcher, run):
        return await gathered(*(ask(batcher, run, i, i, i) for i in range(3)))

    assert scenario(steps) == ([[0] * 3, [2] * 3, [4] * 3], [3, 3, 3], [3, 3, 3])


def test_a_batch_grows_until_a_thread_takes_it():
    async def steps(batcher, run):
        run.free.clear()
        first = ask(batcher, run, 1)
        await asyncio.sleep(0.1)
        later = []
        for value in (2, 3, 4):
            later.append(ask(batcher, run, value))
            await asyncio.sleep(0.02)
        run.free.set()
        return await gathered(first, *later)

    assert scenario(steps, timeout_seconds=0.001) == ([[2], [4], [6], [8]], [1, 3], [1, 3])


@pytest.mark.parametrize("alone", [{"options": {"enabled": False}}, {"batchable": False}])
def test_requests_that_are_computed_alone(alone):
    batchable = alone.get("batchable", True)

    async def steps(batcher, run):
        return await gathered(*(ask(batcher, run, i, batchable=batchable) for i in range(3)))

    answers, calls, _ = scenario(steps, **alone.get("options", {}))
    assert (answers, calls) == ([[0], [2], [4]], [1, 1, 1])


def test_kinds_and_shapes_do_not_mix():
    async def steps(batcher, run):
        wide = {"x": np.ones((1, 2), np.float32)}
        return await gathered(
            ask(batcher, run, 1, kind="a"),
            ask(batcher, run, 2, kind="b"),
            batcher.submit("a", run, wide, True),
        )

    answers, calls, _ = scenario(steps)
    assert (answers, calls) == ([[2], [4], [[2, 2]]], [1, 1, 1])


def test_one_to_blame_does_not_harm_the_others():
    async def steps(batcher, run):
        return await gathered(ask(batcher, run, 1), ask(batcher, run, -1), ask(batcher, run, 2))

    (first, second, third), calls, _ = scenario(steps)
    assert (first, third, calls) == ([2], [4], [1, 1])
    assert isinstance(second, ValueError)


def test_who_has_gone_is_not_computed():
    async def steps(batcher, run):
        run.free.clear()
        first, gone, third = (ask(batcher, run, i) for i in range(3))
        await asyncio.sleep(0)
        gone.cancel()
        run.free.set()
        return await gathered(first, third)

    assert scenario(steps) == ([[0], [4]], [2], [2])


def test_too_many_rows():
    async def steps(batcher, run):
        return await gathered(ask(batcher, run, 1, 2, 3, 4, 5))

    ((error,), calls, _) = scenario(steps)
    assert error.message == "Task size 5 is larger than maximum input batch size 4"
    assert (error.code, calls) == (Code.INVALID_ARGUMENT, [])


def test_a_full_queue_refuses():
    async def steps(batcher, run):
        run.free.clear()
        held = ask(batcher, run, 0, kind="held")
        await asyncio.sleep(0.1)
        waiting = [ask(batcher, run, i, kind=i) for i in range(3)]
        await asyncio.sleep(0.1)
        run.free.set()
        return await gathered(held, *waiting)

    answers, _, _ = scenario(steps, max_enqueued_batches=2)
    assert answers[:3] == [[0], [0], [2]]
    assert answers[3].code == Code.UNAVAILABLE
    assert "queue" in answers[3].message


def test_outputs_with_other_rows_are_the_models_fault():
    async def steps(batcher, run):
        def wrong(inputs):
            return {"y": inputs["x"][:1]}

        together = [batcher.submit("k", wrong, rows(i), True) for i in range(2)]
        return await gathered(*together)

    # Alone, one row is the right number.
    assert scenario(steps)[0] == [[0], [1]]


def test_closing_refuses_what_waits():
    async def play():
        batcher = Batcher(BatchingOptions(timeout_seconds=60), lambda rows: None)
        batcher.start()
        request = ask(batcher, Doubler(), 1)
        await asyncio.sleep(0)
        await batcher.close()
        with pytest.raises(ServingError) as raised:
            await request
        return raised.value.code

    assert asyncio.run(play()) == Code.UNAVAILABLE
