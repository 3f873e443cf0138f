"""Versions come, go, fail and come back."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager

import pytest
from tensorflow_serving.config import model_server_config_pb2

from tfvae.serving.errors import Code, ServingError
from tfvae.serving.messages import State
from tfvae.serving.specs import Target
from tfvae.serving.versions import Versions

M = Target("m")


def add(folder, number, content="good"):
    (folder / str(number)).mkdir(exist_ok=True)
    (folder / str(number) / "model").write_text(content)


def load(folder):
    content = (folder / "model").read_text()
    if content != "good":
        raise ValueError(f"it is {content}")
    return folder.name


@asynccontextmanager
async def served(folder, poll_seconds=60.0, **fields):
    config = model_server_config_pb2.ModelConfig(name="m", base_path=str(folder), **fields)
    versions = Versions(config, poll_seconds, load)
    try:
        await versions.start()
        yield versions
    finally:
        await versions.close()


def states(versions):
    return {v.number: v.state.name for v in versions.status(M)}


async def until(true):
    for _ in range(500):
        if true():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


def play(steps):
    asyncio.run(steps())


def test_the_highest_version_is_served(tmp_path):
    async def steps():
        for number in (1, 10, 9):
            add(tmp_path, number)
        (tmp_path / "notes").mkdir()
        (tmp_path / "11").write_text("no folder")
        async with served(tmp_path) as versions:
            assert states(versions) == {10: "AVAILABLE"}
            with versions.use(M) as version:
                assert (version.number, version.loaded, version.in_flight) == (10, "10", 1)
            assert version.in_flight == 0

    play(steps)


def test_a_new_version_is_found_and_the_old_one_leaves(tmp_path):
    async def steps():
        add(tmp_path, 1)
        async with served(tmp_path, poll_seconds=0.01) as versions:
            add(tmp_path, 2)
            await until(lambda: states(versions) == {2: "AVAILABLE", 1: "END"})
            with versions.use(M) as version:
                assert version.loaded == "2"

    play(steps)


def test_the_old_version_leaves_when_its_last_request_is_answered(tmp_path):
    async def steps():
        add(tmp_path, 1)
        async with served(tmp_path) as versions:
            with versions.use(M) as first, versions.use(M):
                add(tmp_path, 2)
                await versions.refresh()
                await asyncio.sleep(0.05)
                assert states(versions) == {2: "AVAILABLE", 1: "UNLOADING"}
                assert first.loaded == "1"
                with versions.use(M) as latest:
                    assert latest.loaded == "2"
                with pytest.raises(ServingError, match="NOT_FOUND"):
                    versions.use(Target("m", 1)).__enter__()
            await until(lambda: states(versions)[1] == "END")
            with pytest.raises(ServingError, match="version 1 is not loaded"):
                first.loaded  # noqa: B018

    play(steps)


def test_a_broken_version_changes_nothing_but_its_status(tmp_path):
    async def steps():
        add(tmp_path, 1)
        async with served(tmp_path) as versions:
            add(tmp_path, 2, "broken")
            await versions.refresh()
            assert states(versions) == {2: "END", 1: "AVAILABLE"}
            (version,) = versions.status(Target("m", 2))
            assert (version.error.code, version.error.message) == (
                Code.UNKNOWN,
                "ValueError: it is broken",
            )
            with versions.use(M) as serving:
                assert serving.loaded == "1"

    play(steps)


def test_a_broken_version_is_tried_again_when_its_files_change(tmp_path):
    async def steps():
        add(tmp_path, 1)
        async with served(tmp_path) as versions:
            add(tmp_path, 2, "broken")
            await versions.refresh()
            before = versions.status(Target("m", 2))[0].error
            await versions.refresh()
            assert versions.status(Target("m", 2))[0].error is before
            add(tmp_path, 2, "good")
            await versions.refresh()
            await until(lambda: states(versions) == {2: "AVAILABLE", 1: "END"})
            assert versions.status(Target("m", 2))[0].error is None

    play(steps)


def test_a_version_that_is_removed_gives_way_to_the_one_before(tmp_path):
    async def steps():
        add(tmp_path, 1)
        async with served(tmp_path) as versions:
            add(tmp_path, 2)
            await versions.refresh()
            await until(lambda: states(versions)[1] == "END")
            shutil.rmtree(tmp_path / "2")
            await versions.refresh()
            await until(lambda: states(versions) == {1: "AVAILABLE", 2: "END"})
            shutil.rmtree(tmp_path / "1")
            await versions.refresh()
            assert states(versions)[1] == "AVAILABLE"

    play(steps)


def test_labels_and_all_versions(tmp_path):
    async def steps():
        for number in (1, 2):
            add(tmp_path, number)
        policy = {"all": {}}
        labels = {"stable": 1, "ghost": 9}
        async with served(tmp_path, model_version_policy=policy, version_labels=labels) as versions:
            assert states(versions) == {2: "AVAILABLE", 1: "AVAILABLE"}
            with versions.use(Target("m", label="stable")) as version:
                assert version.loaded == "1"
            assert [v.number for v in versions.status(Target("m", label="stable"))] == [1]
            for target, code, message in (
                (Target("m", label="ghost"), Code.NOT_FOUND, "Specific(m, 9)"),
                (Target("m", label="none"), Code.INVALID_ARGUMENT, "version label: none"),
                (Target("m", 3), Code.NOT_FOUND, "Specific(m, 3)"),
                (Target("other"), Code.NOT_FOUND, "Latest(other)"),
                (Target("other", label="stable"), Code.INVALID_ARGUMENT, "label: stable"),
            ):
                with pytest.raises(ServingError) as raised:
                    versions.use(target).__enter__()
                assert raised.value.code == code
                assert message in raised.value.message

    play(steps)


@pytest.mark.parametrize(("contents", "reason"), [([], "no version"), (["bad"], "1: .*it is bad")])
def test_nothing_to_serve(tmp_path, contents, reason):
    async def steps():
        for number, content in enumerate(contents, start=1):
            add(tmp_path, number, content)
        with pytest.raises(ValueError, match=rf"No version can be served.*Received: .*\({reason}"):
            async with served(tmp_path):
                pass

    play(steps)


def test_the_folder_may_be_away_for_a_while(tmp_path):
    async def steps():
        folder = tmp_path / "m"
        folder.mkdir()
        add(folder, 1)
        async with served(folder, poll_seconds=0.01) as versions:
            folder.rename(tmp_path / "away")
            await asyncio.sleep(0.1)
            assert states(versions) == {1: "AVAILABLE"}
            (tmp_path / "away").rename(folder)
            add(folder, 2)
            await until(lambda: states(versions).get(2) == "AVAILABLE")

    play(steps)


def test_states_are_the_protocols():
    assert State.AVAILABLE == 30
