"""ASGI middleware by which a project has some requests worked on at once, and the rest of it waits.

All that an API process does shares one interpreter: a project that sends many requests at the same time would
otherwise have a dozen threads compute while another project's one waits for its share. While another project
asks, each has one (app/turns.py).
"""

from __future__ import annotations

from typing import TypeVar

from anyio import Semaphore
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.ledger.platform.keys import Caller
from app.turns import Neighbours, Turn, current_turn

K = TypeVar("K")
STREAMS = "/events/stream"  # the end of their paths
STREAMS_AT_ONCE = 16  # of a project, that are being opened: they share their looks at the database
STREAMS_BESIDE = 4  # of them, while another project asks


class Turns:
    """Inside the admission, which knows the project. A turn lasts until the answer begins.

    `without`: paths whose bodies come slowly by nature, and whose work has slots. Streams of events have
    turns of their own, so that a thousand that are opened at once keep no other request waiting for long.
    """

    def __init__(self, app: ASGIApp, at_once: int, without: frozenset[str], neighbours: Neighbours) -> None:
        self.app, self._at_once, self._without, self._neighbours = app, at_once, without, neighbours
        self._of: dict[str, Semaphore] = {}  # by project
        self._streams: dict[tuple[str, int], Semaphore] = {}  # by project and by how many it lets open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller: Caller | None = scope.get("state", {}).get("caller")
        if scope["type"] != "http" or caller is None:
            await self.app(scope, receive, send)
            return
        self._neighbours.note(caller.project_id)
        if scope["method"] == "POST" and scope["path"] in self._without:
            await self.app(scope, self._paced(caller.project_id, receive), send)
            return
        if scope["path"].endswith(STREAMS):
            await self._open_stream(caller.project_id, scope, receive, send)
            return
        turn = await self._next(caller.project_id)
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
            _forget(self._of, caller.project_id, self._at_once)

    async def _open_stream(self, project_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for a stream, which holds its turn until its headers are sent: no look at the
        database gives it back, so that so few are worked on between two steps of other requests."""
        at_once = STREAMS_BESIDE if self._neighbours.ask_beside(project_id) else STREAMS_AT_ONCE
        turns = self._streams.setdefault((project_id, at_once), Semaphore(at_once, max_value=at_once))
        await turns.acquire()
        turn = Turn((turns,))

        async def answering(message: Message) -> None:
            turn.give_back()
            await send(message)

        try:
            await self.app(scope, receive, answering)
        finally:
            turn.give_back()
            _forget(self._streams, (project_id, at_once), at_once)

    def _paced(self, project_id: str, receive: Receive) -> Receive:
        """Bodies are read in the one thread that answers everybody: beside others, no faster than this."""

        async def paced() -> Message:
            message = await receive()
            if body := message.get("body"):
                await self._neighbours.pace(project_id, len(body))
            return message

        return paced

    async def _next(self, project_id: str) -> Turn:
        alone = await self._neighbours.take_turn(project_id)
        turns = self._of.setdefault(project_id, Semaphore(self._at_once, max_value=self._at_once))
        try:
            await turns.acquire()
        except BaseException:  # its client gave it up
            alone.give_back()
            raise
        return Turn((*alone.held, turns))


def _forget(turns: dict[K, Semaphore], key: K, at_once: int) -> None:
    held = turns.get(key)
    if held is not None and held.value == at_once and not held.statistics().tasks_waiting:
        del turns[key]
