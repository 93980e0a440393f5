"""ASGI middleware: a form sends its empty fields too (`?verdict=&route=`); left empty means left out."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

from starlette.types import ASGIApp, Receive, Scope, Send


class BlankFields:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = scope.get("query_string", b"")
        if b"=&" in query or query.endswith(b"="):
            scope["query_string"] = urlencode(parse_qsl(query.decode("latin-1"))).encode()
        await self.app(scope, receive, send)
