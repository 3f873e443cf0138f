"""Which versions of a model are served: new folders are loaded, old versions leave when idle.

As TensorFlow Serving does by default: the highest version is served, and the one before it leaves
only when the new one answers. A version that cannot be loaded changes nothing but its status,
which says why; it is tried again when its files change.

Reference:
    tensorflow/serving, `core/availability_preserving_policy.h` and
    `core/servable_state.h`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tfvae.serving.config import versions_in, wanted_versions
from tfvae.serving.errors import Code, ServingError, invalid
from tfvae.serving.messages import State
from tfvae.serving.specs import Target

_log = logging.getLogger("tfvae.serving")


class Loaded(Protocol):
    """What a loader makes of a version's folder; see `tfvae.serving.servable.Servable`."""

    definitions: Any

    def signature(self, name: str) -> Any: ...

    def run(self, name: str, inputs: Any) -> Any: ...


@dataclass
class Version:
    """A version of the model, and what became of it.

    Attributes:
        number: its number.
        state: what it is doing.
        error: why it could not be loaded, if it could not.
        servable: what answers, while it is available or its last requests are being answered.
        in_flight: requests that are using it.
    """

    number: int
    state: State = State.START
    error: ServingError | None = None
    servable: Loaded | None = None
    in_flight: int = 0
    files: Any = None
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def loaded(self) -> Loaded:
        """The servable of a version that is in use."""
        if self.servable is None:
            raise ServingError(Code.UNAVAILABLE, f"version {self.number} is not loaded")
        return self.servable


class Versions:
    """The versions of one model, kept up with its folder.

    Args:
        config: a `ModelConfig`: the name, the folder, the policy and the labels.
        poll_seconds: how often to look at the folder.
        load: makes a servable of a version's folder; called on a thread.
    """

    def __init__(self, config: Any, poll_seconds: float, load: Callable[[Path], Loaded]) -> None:
        self.name: str = config.name
        self._folder = Path(config.base_path)
        self._policy = config.model_version_policy
        self._labels = dict(config.version_labels)
        self._poll_seconds, self._load = poll_seconds, load
        self._versions: dict[int, Version] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Loads what there is, and goes on looking.

        Raises:
            ValueError: if no version can be served.
        """
        await self.refresh()
        if not any(version.state == State.AVAILABLE for version in self._versions.values()):
            reasons = "; ".join(f"{v.number}: {v.error}" for v in self._versions.values())
            raise ValueError(
                "No version can be served: the folder must hold SavedModels in folders whose names "
                f"are numbers. Received: {str(self._folder)!r} ({reasons or 'no version'})"
            )
        self._spawn(self._watch())

    async def close(self) -> None:
        """Stops looking."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def use(self, target: Target) -> Iterator[Version]:
        """Gives a version that answers, and keeps it in memory inside the block.

        Raises:
            ServingError: if there is none.
        """
        version = self._find(target)
        version.in_flight += 1
        try:
            yield version
        finally:
            version.in_flight -= 1
            if not version.in_flight:
                version.idle.set()

    def status(self, target: Target) -> list[Version]:
        """The versions that there are or have been, the highest first.

        Raises:
            ServingError: if there are none.
        """
        number = self._number(target)
        if target.model == self.name and number is None:
            return [self._versions[n] for n in sorted(self._versions, reverse=True)]
        if target.model == self.name and number in self._versions:
            return [self._versions[number]]
        what = "any versions" if number is None else f"version {number}"
        raise ServingError(Code.NOT_FOUND, f"Could not find {what} of model {target.model}")

    async def refresh(self) -> None:
        """Looks at the folder once, and loads and retires versions."""
        present = versions_in(self._folder)
        wanted = wanted_versions(self._policy, present)
        for number in wanted:
            version = self._versions.setdefault(number, Version(number))
            if version.state in (State.START, State.END):
                files = _fingerprint(present[number])
                if files != version.files:
                    version.files = files
                    await self._bring_up(version, present[number])
        available = [v for v in self._versions.values() if v.state == State.AVAILABLE]
        if any(version.number in wanted for version in available):
            for version in available:
                if version.number not in wanted:
                    version.state = State.UNLOADING
                    self._spawn(self._retire(version))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            try:
                await self.refresh()
            except OSError as error:
                _log.warning("cannot look at %s: %s", self._folder, error)

    async def _bring_up(self, version: Version, folder: Path) -> None:
        version.state, version.error = State.LOADING, None
        loop = asyncio.get_running_loop()
        try:
            version.servable = await loop.run_in_executor(self._pool, self._load, folder)
        except Exception as error:
            version.state, version.error = State.END, _as_serving_error(error)
            _log.warning("version %d cannot be loaded: %s", version.number, version.error)
        else:
            version.state = State.AVAILABLE
            _log.info("version %d is available", version.number)

    async def _retire(self, version: Version) -> None:
        while version.in_flight:
            version.idle.clear()
            await version.idle.wait()
        version.servable, version.files, version.state = None, None, State.END
        # TensorFlow's objects refer to each other; until they are collected they hold the weights.
        await asyncio.get_running_loop().run_in_executor(self._pool, gc.collect)
        _log.info("version %d is unloaded", version.number)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _number(self, target: Target) -> int | None:
        if target.label is None:
            return target.version
        if target.model != self.name or target.label not in self._labels:
            raise invalid(f"Unrecognized servable version label: {target.label}")
        return self._labels[target.label]

    def _find(self, target: Target) -> Version:
        number = self._number(target)
        if target.model == self.name:
            available = [v for v in self._versions.values() if v.state == State.AVAILABLE]
            chosen = [v for v in available if number in (None, v.number)]
            if chosen:
                return max(chosen, key=lambda version: version.number)
        asked = "Latest({0})" if number is None else "Specific({0}, {1})"
        raise ServingError(
            Code.NOT_FOUND, f"Servable not found for request: {asked.format(target.model, number)}"
        )


def _fingerprint(folder: Path) -> Any:
    """What changes when a file of a version does."""
    stats = ((path, path.stat()) for path in sorted(folder.rglob("*")))
    return [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats]


def _as_serving_error(error: Exception) -> ServingError:
    if isinstance(error, ServingError):
        return error
    # TensorFlow's errors carry their number.
    code = getattr(error, "error_code", None)
    if code is None:
        code = Code.NOT_FOUND if isinstance(error, OSError) else Code.UNKNOWN
    return ServingError(Code(code), f"{type(error).__name__}: {error}")
