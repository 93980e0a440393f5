"""Request bodies of bounded size, in bounded time."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

import anyio
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.settings import Settings

JSON_BYTES = 1 << 20  # most of any body that is no upload
JSON_VALUES = 50_000  # and of the values in it: an object per value costs far more than its bytes


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one kind of body."""

    size: int  # bytes
    seconds: float  # from its first byte to its last
    values: int | None  # commas and opening brackets; None: it is no JSON


class BodyLimit:
    """ASGI middleware: 413 once a body has grown too long, whatever its Content-Length claimed, and 408 once
    its sender is too slow."""

    def __init__(self, app: ASGIApp, upload_paths: frozenset[str], settings: Settings) -> None:
        self.app, self.upload_paths, self.idle_seconds = app, upload_paths, settings.body_idle_seconds
        self.upload = Bounds(settings.max_upload_bytes, settings.upload_body_seconds, None)
        self.other = Bounds(JSON_BYTES, settings.body_seconds, JSON_VALUES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        bounds = self.upload if scope["path"] in self.upload_paths else self.other
        await self.app(scope, _bounded(receive, bounds, self.idle_seconds), send)


def _bounded(receive: Receive, bounds: Bounds, idle_seconds: float) -> Receive:
    """FastAPI lets an HTTPException through where it reads a body, and nothing else."""
    received, values, whole, ends = 0, 0, False, monotonic() + bounds.seconds

    async def bounded() -> Message:
        nonlocal received, values, whole
        if whole:  # what is awaited now is the end of the connection
            return await receive()
        try:
            with anyio.fail_after(max(0.0, min(idle_seconds, ends - monotonic()))):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, "The body came too slowly. Send it again.") from None
        body = message.get("body", b"")
        received += len(body)
        whole = not message.get("more_body")
        if received > bounds.size:
            raise HTTPException(413, f"The body is longer than {bounds.size} bytes. Send it in parts.")
        if bounds.values is not None:
            values += sum(body.count(mark) for mark in (b",", b"[", b"{"))
            if values > bounds.values:
                raise HTTPException(
                    413, f"The body holds more than {bounds.values} values. Send it in parts."
                )
        return message

    return bounded
