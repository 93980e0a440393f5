"""ASGI middleware that records a span for each request, below the caller's own where it names one."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.dependencies import route_path
from app.tracing.spans import Span, SpanKind, begin, current

QUIET = frozenset({"/healthz", "/readyz"})  # asked every second by what watches


class Traces:
    """Outermost, and there only where a deployment wants traces."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in QUIET:
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        parent = headers.get(b"traceparent", b"").decode("latin-1") or None
        facts = {"http.request.method": scope["method"], "url.scheme": scope["scheme"]}
        span = begin(scope["method"], facts, SpanKind.SERVER, parent=parent)
        answered: list[int] = []

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered.append(message["status"])
            await send(message)

        try:
            with current(span):
                await self.app(scope, receive, answer)
        finally:
            _end(span, scope, answered[0] if answered else None)


def _end(span: Span, scope: Scope, status: int | None) -> None:
    """The route and never the path or the query: what callers put there is theirs."""
    route = route_path(scope)
    state = scope.get("state", {})
    caller = state.get("caller")
    if route is not None:
        span.rename(f"{scope['method']} {route}")
    span.note(
        {
            "http.route": route,
            "http.response.status_code": status,
            "star.request.id": state.get("request_id"),
            "star.project.id": None if caller is None else caller.project_id,
        }
    )
    if status is None or status >= 500:
        span.fail("no_answer" if status is None else str(status))
    span.end()
