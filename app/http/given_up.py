"""ASGI middleware that notices when a client has gone while its request is being worked on."""

from __future__ import annotations

import asyncio
from threading import Event

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.given_up import client_gone

_EMPTY: Message = {"type": "http.request", "body": b"", "more_body": False}
_GONE: Message = {"type": "http.disconnect"}


class GivenUp:
    """Innermost: once the body is read, the end of the connection is awaited beside the route.

    Of who is not admitted not a byte is read, and nothing is worked on.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.get("state", {})
        admitted = state.get("caller") is not None and state.get("refusal") is None
        if scope["type"] != "http" or not admitted:
            await self.app(scope, receive, send)
            return
        client = _Client(receive, has_body=_has_body(scope))
        client_gone.set(client.gone)
        watching = asyncio.create_task(client.watch())
        try:
            await self.app(scope, client.receive, send)
        finally:
            watching.cancel()


class _Client:
    """Hands the body on to the route, and keeps for itself what comes after it."""

    def __init__(self, receive: Receive, *, has_body: bool) -> None:
        self.gone = Event()  # for threads
        self._receive = receive
        self._first = not has_body  # the empty body is still to be handed on
        self._body_read, self._ended = asyncio.Event(), asyncio.Event()
        if not has_body:
            self._body_read.set()

    async def receive(self) -> Message:
        if self._first:
            self._first = False
            return _EMPTY
        if self._body_read.is_set():
            if not self._ended.is_set():  # Request.is_disconnected() gives up at the first await
                await self._ended.wait()
            return _GONE
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._end()
        elif not message.get("more_body"):
            self._body_read.set()
        return message

    async def watch(self) -> None:
        await self._body_read.wait()
        while not self._ended.is_set():
            if (await self._receive())["type"] == "http.disconnect":
                self._end()

    def _end(self) -> None:
        self.gone.set()
        self._ended.set()
        self._body_read.set()


def _has_body(scope: Scope) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])
