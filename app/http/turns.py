"""ASGI middleware by which a project has some requests worked on at once, and the rest of it waits.

All that an API process does shares one interpreter: a project that sends many requests at the same time would
otherwise have a dozen threads compute while another project's one waits for its share. While other projects
ask, each has fewer.
"""

from __future__ import annotations

from time import monotonic

from anyio import Semaphore
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.ledger.platform.keys import Caller
from app.turns import Turn, current_turn

STREAMS = "/events/stream"  # the end of their paths
STREAMS_AT_ONCE = 16  # of a project, that are being opened: they share their looks at the database
FEWER = 4  # times, while another project asks
RECENTLY = 1.0  # seconds since it has


class Turns:
    """Inside the admission, which knows the project. A turn lasts until the answer begins.

    `without`: paths whose bodies come slowly by nature, and whose work has slots. Streams of events have
    turns of their own, so that a thousand that are opened at once keep no other request waiting for long.
    """

    def __init__(self, app: ASGIApp, at_once: int, without: frozenset[str]) -> None:
        self.app, self._at_once, self._without = app, at_once, without
        self._of: dict[tuple[str, int], Semaphore] = {}  # by name and by how many it lets work at once
        self._asked: dict[str, float] = {}  # when a project has asked; of the two that did so last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller: Caller | None = scope.get("state", {}).get("caller")
        if scope["type"] != "http" or caller is None or scope["path"] in self._without:
            await self.app(scope, receive, send)
            return
        self._note(caller.project_id)
        if scope["path"].endswith(STREAMS):
            await self._open_stream(caller.project_id, scope, receive, send)
            return
        turn = await self._next(caller.project_id, caller.project_id, self._at_once)
        current_turn.set(turn)

        async def answering(message: Message) -> None:
            if message["type"] == "http.response.body" and (
                message.get("body") or not message.get("more_body")
            ):
                turn.give_back()
            await send(message)

        try:
            await self.app(scope, receive, answering)
        finally:
            turn.give_back()
            current_turn.set(None)  # a kept connection goes on in this context
            self._forget(caller.project_id, self._at_once)

    async def _open_stream(self, project_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for a stream, which holds its turn until its headers are sent: no look at the
        database gives it back, so that so few are worked on between two steps of other requests."""
        name = f"streams of {project_id}"
        turn = await self._next(project_id, name, STREAMS_AT_ONCE)

        async def answering(message: Message) -> None:
            turn.give_back()
            await send(message)

        try:
            await self.app(scope, receive, answering)
        finally:
            turn.give_back()
            self._forget(name, STREAMS_AT_ONCE)

    def _note(self, project_id: str) -> None:
        self._asked.pop(project_id, None)
        self._asked[project_id] = monotonic()
        while len(self._asked) > 2:
            del self._asked[next(iter(self._asked))]

    def _others_ask(self, project_id: str) -> bool:
        return any(name != project_id and at > monotonic() - RECENTLY for name, at in self._asked.items())

    async def _next(self, project_id: str, name: str, at_once: int) -> Turn:
        limits = {_fewer(at_once), at_once} if self._others_ask(project_id) else {at_once}
        held: list[Semaphore] = []
        try:
            for limit in sorted(limits):
                one = self._of.setdefault((name, limit), Semaphore(limit, max_value=limit))
                await one.acquire()
                held.append(one)
        except BaseException:  # its client gave it up
            Turn(held).give_back()
            raise
        return Turn(held)

    def _forget(self, name: str, at_once: int) -> None:
        for limit in {_fewer(at_once), at_once}:
            held = self._of.get((name, limit))
            if held is not None and held.value == limit and not held.statistics().tasks_waiting:
                del self._of[name, limit]


def _fewer(at_once: int) -> int:
    return max(1, at_once // FEWER)
