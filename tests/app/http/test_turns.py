"""A project has some requests worked on at once; another project's does not wait behind them."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from starlette.types import Message, Receive, Scope, Send

from app.http.turns import STREAMS_AT_ONCE, STREAMS_BESIDE, Turns
from app.ledger.platform.keys import Caller
from app.turns import RECENTLY, Neighbours, give_turn_back

AT_ONCE = 3


class Work:
    """An application whose requests last until they are let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended = 0
        self.go = anyio.Event()
        self.found = anyio.Event()  # what a stream begins with

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun.append(scope["state"]["caller"].project_id)
        if scope["path"] == "/waits":
            give_turn_back()
            give_turn_back()
        if scope["path"].endswith("/events/stream"):
            give_turn_back()
            await self.found.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/streams":
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await self.go.wait()
        if scope["path"] == "/fails":
            raise ValueError("on purpose")
        await send({"type": "http.response.body", "body": b""})
        self.ended += 1


def turns(work: Work, at_once: int) -> Turns:
    return Turns(work, at_once, frozenset({"/uploads"}), Neighbours())


async def ask(app: Turns, project: str, path: str = "/") -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(_: Message) -> None:
        await checkpoint()

    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": path,
        "state": {"caller": Caller(project, "key", frozenset())},
    }
    try:
        await app(scope, receive, send)
    except ValueError:
        assert path == "/fails"


async def settled(work: Work) -> int:
    """How many requests are being worked on once nothing moves any more."""
    for _ in range(50):
        await checkpoint()
    return len(work.begun) - work.ended


def test_no_more_requests_of_a_project_are_worked_on_at_once_and_all_are_answered() -> None:
    async def check() -> None:
        work = Work()
        app = turns(work, AT_ONCE)
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(ask, app, "noisy")
            assert await settled(work) == AT_ONCE
            tasks.start_soon(ask, app, "quiet")
            tasks.start_soon(ask, app, "noisy", "/uploads")
            assert await settled(work) == AT_ONCE + 2
            assert work.begun.count("quiet") == 1
            work.go.set()
        assert work.ended == 12
        assert app._of == {}

    anyio.run(check)


@pytest.mark.parametrize("path", ["/waits", "/streams"])
def test_a_request_that_only_waits_or_streams_takes_no_turn_from_others(path: str) -> None:
    async def check() -> None:
        work = Work()
        app = turns(work, AT_ONCE)
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(ask, app, "noisy", path)
            assert await settled(work) == 10
            work.go.set()
        assert app._of == {}

    anyio.run(check)


def test_a_request_that_fails_gives_its_turn_back() -> None:
    async def check() -> None:
        work = Work()
        app = turns(work, AT_ONCE)
        async with anyio.create_task_group() as tasks:
            for _ in range(AT_ONCE):
                tasks.start_soon(ask, app, "noisy", "/fails")
            tasks.start_soon(ask, app, "noisy")
            assert await settled(work) == AT_ONCE
            work.go.set()
        assert work.begun.count("noisy") == AT_ONCE + 1
        assert work.ended == 1

    anyio.run(check)


def test_streams_that_are_opened_at_once_take_turns_of_their_own_until_they_begin() -> None:
    async def check() -> None:
        work, stream = Work(), "/v1/jobs/job_1/events/stream"
        app = turns(work, AT_ONCE)
        async with anyio.create_task_group() as tasks:
            for _ in range(3 * STREAMS_AT_ONCE):
                tasks.start_soon(ask, app, "noisy", stream)
            assert await settled(work) == STREAMS_AT_ONCE
            tasks.start_soon(ask, app, "noisy")
            tasks.start_soon(ask, app, "quiet", stream)
            assert await settled(work) == STREAMS_AT_ONCE + 2
            work.found.set()
            assert await settled(work) == 3 * STREAMS_AT_ONCE + 2
            work.go.set()
        assert app._of == {}

    anyio.run(check)


def test_fewer_streams_are_opened_at_once_while_another_project_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.turns.RECENTLY", 600.0)

    async def check() -> None:
        work, stream = Work(), "/v1/jobs/job_1/events/stream"
        app = turns(work, AT_ONCE)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, app, "quiet")
            assert await settled(work) == 1
            for _ in range(STREAMS_AT_ONCE):
                tasks.start_soon(ask, app, "noisy", stream)
            assert await settled(work) == 1 + STREAMS_BESIDE
            work.found.set()
            work.go.set()
        assert work.ended == 1 + STREAMS_AT_ONCE
        assert app._streams == {}

    anyio.run(check)


@pytest.mark.parametrize("at_once", [8, 1])
def test_while_another_project_asks_a_project_has_one_turn(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    now = 1000.0
    monkeypatch.setattr("app.turns.monotonic", lambda: now)
    monkeypatch.setattr("app.turns.PATIENCE", 600.0)

    async def check() -> None:
        nonlocal now
        work = Work()
        app = turns(work, at_once)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, app, "quiet")
            assert await settled(work) == 1
            for _ in range(10):
                tasks.start_soon(ask, app, "noisy")
            assert await settled(work) == 2
            now += RECENTLY  # the quiet project asks no more
            for _ in range(10):
                tasks.start_soon(ask, app, "noisy")
            assert await settled(work) == 1 + at_once
            work.go.set()
        assert work.ended == 21
        assert app._of == {}

    anyio.run(check)


def test_a_request_that_is_given_up_while_it_waits_takes_no_turn_with_it() -> None:
    async def check() -> None:
        work = Work()
        app = turns(work, 1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, app, "noisy")
            assert await settled(work) == 1
            with anyio.move_on_after(0):
                await ask(app, "noisy")
            tasks.start_soon(ask, app, "noisy")
            assert await settled(work) == 1
            work.go.set()
        assert work.ended == 2
        assert app._of == {}

    anyio.run(check)
