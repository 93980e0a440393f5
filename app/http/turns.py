"""ASGI middleware by which a project has some requests worked on at once, and the rest of it waits.

All that an API process does shares one interpreter: a project that sends many requests at the same time would
otherwise have a dozen threads compute beside another project's one.
"""

from __future__ import annotations

from anyio import Semaphore
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.ledger.platform.keys import Caller
from app.turns import Turn, current_turn


class Turns:
    """Inside the admission, which knows the project. A turn lasts until the answer begins.

    `without`: paths whose bodies come slowly by nature, and whose work has slots.
    """

    def __init__(self, app: ASGIApp, at_once: int, without: frozenset[str]) -> None:
        self.app, self._at_once, self._without = app, at_once, without
        self._of: dict[str, Semaphore] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller: Caller | None = scope.get("state", {}).get("caller")
        if scope["type"] != "http" or caller is None or scope["path"] in self._without:
            await self.app(scope, receive, send)
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
            self._forget(caller.project_id)

    async def _next(self, project_id: str) -> Turn:
        held = self._of.setdefault(project_id, Semaphore(self._at_once, max_value=self._at_once))
        await held.acquire()
        return Turn(held)

    def _forget(self, project_id: str) -> None:
        held = self._of.get(project_id)
        if held is not None and held.value == self._at_once and not held.statistics().tasks_waiting:
            del self._of[project_id]
