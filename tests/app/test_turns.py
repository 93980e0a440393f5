"""While another project asks, a project does one thing at a time, and sends no faster than it should."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
from anyio import to_thread
from anyio.lowlevel import checkpoint

from app import turns as module
from app.intake.slots import ProjectSlots
from app.turns import RECENTLY, Neighbours, in_turn


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is, to be changed; nobody loses patience."""
    now = [1000.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    monkeypatch.setattr(module, "PATIENCE", 600.0)
    return now


def beside() -> Neighbours:
    """Where both have asked just now."""
    made = Neighbours()
    made.note("noisy")
    made.note("quiet")
    return made


async def settled() -> None:
    for _ in range(50):
        await checkpoint()


async def many(work: Callable[[], Coroutine[Any, Any, None]], running: list[int], go: anyio.Event) -> int:
    """How many of ten run at once before they may go on."""
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(work)
        await settled()
        most = len(running)
        go.set()
    assert len(running) == 10
    return most


@pytest.mark.parametrize(("later", "at_once"), [(0.0, 1), (RECENTLY, 10)])
def test_one_thing_at_a_time_as_long_as_another_project_asks(
    clock: list[float], later: float, at_once: int
) -> None:
    async def check() -> None:
        shared, running, go = beside(), list[int](), anyio.Event()
        clock[0] += later

        async def work() -> None:
            async with shared.turn("noisy"):
                running.append(1)
                await go.wait()

        assert await many(work, running, go) == at_once

    anyio.run(check)


def test_projects_do_not_wait_for_each_other(clock: list[float]) -> None:
    async def check() -> None:
        shared = beside()
        async with shared.turn("noisy"), shared.turn("quiet"):
            pass

    anyio.run(check)


def test_what_waits_too_long_goes_on_beside_what_it_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    monkeypatch.setattr(module, "RECENTLY", 600.0)

    async def check() -> None:
        shared = beside()
        async with shared.turn("noisy"):
            async with shared.turn("noisy"):
                pass
            impatient = await shared.take_turn("noisy")
            impatient.give_back()  # of nothing: the first still has its turn
            assert not (await shared.take_turn("noisy")).held

    anyio.run(check)


def test_bodies_of_a_project_share_their_pace(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(module, "sleep", sleep)

    async def check() -> None:
        shared = beside()
        await shared.pace("noisy", module.BODY_BYTES // 4)
        assert slept == [0.25]
        clock[0] += RECENTLY
        await shared.pace("noisy", module.BODY_BYTES)
        assert slept == [0.25]

    anyio.run(check)


def test_a_call_that_works_by_steps_leaves_its_project_room_between_them(clock: list[float]) -> None:
    async def check() -> None:
        shared = beside()
        slots = ProjectSlots(2, shared, by_steps=True)
        in_a_step, go_on, between = threading.Event(), threading.Event(), threading.Event()
        go_to_the_end = threading.Event()

        def upload() -> str:
            with in_turn():
                in_a_step.set()
                assert go_on.wait(60)
            between.set()
            assert go_to_the_end.wait(60)
            with in_turn():
                return "stored"

        read: list[str] = []

        async def reads() -> None:
            async with shared.turn("noisy"):
                read.append("read")

        answers: list[str] = []

        async def uploads() -> None:
            answers.append(await slots.run("noisy", upload))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(uploads)
            assert await to_thread.run_sync(in_a_step.wait, 60)
            tasks.start_soon(reads)
            await settled()
            assert read == []
            go_on.set()
            assert await to_thread.run_sync(between.wait, 60)
            with anyio.fail_after(60):
                while not read:  # noqa: ASYNC110 - what it waits for is no event
                    await anyio.sleep(0.005)
            go_to_the_end.set()
        assert answers == ["stored"]
        async with shared.turn("noisy"):  # given back
            pass

    anyio.run(check)


def test_a_call_that_is_short_is_its_projects_one_thing(clock: list[float]) -> None:
    async def check() -> None:
        shared = beside()
        slots = ProjectSlots(4, shared)
        go_on, calls = threading.Event(), list[int]()

        def make() -> None:
            calls.append(1)
            assert go_on.wait(60)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(slots.run, "noisy", make)
            with anyio.fail_after(60):
                while not calls:  # noqa: ASYNC110
                    await anyio.sleep(0.005)
            await settled()
            assert len(calls) == 1
            go_on.set()
        assert len(calls) == 3

    anyio.run(check)


def test_outside_a_request_a_step_waits_for_nobody() -> None:
    with in_turn():
        pass
