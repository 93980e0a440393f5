"""ASGI middleware that gives each request an id and one log line, and answers uncaught exceptions."""

from __future__ import annotations

import re
import secrets
from time import perf_counter
from typing import Any

import structlog
from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import Problem
from app.http.dependencies import route_path
from app.http.problems import as_problem, problem_response

log = structlog.get_logger()

_REQUEST_ID = re.compile(r"[\w.-]{1,64}")


class RequestLog:
    """Outermost: gives each request an id, logs it once it is answered, turns a bug into problem JSON."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(send, request_id)
        began = perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, answer.send)
            except Exception as failure:
                problem = as_problem(failure)
                known = problem.code != Problem.code  # and no fault of this program
                if not known:
                    problem = Problem(
                        f"Something went wrong here. Report request {request_id} to the operator."
                    )
                log.error("request_failed", error=type(failure).__name__, exc_info=None if known else failure)
                if answer.status is None:
                    await problem_response(Request(scope), problem)(scope, receive, answer.send)
            seconds = round(perf_counter() - began, 4)
            log.info(
                "request", **_described(scope), status=answer.status, bytes=answer.bytes, seconds=seconds
            )


class _Answer:
    """Adds x-request-id to what is sent and remembers what it was."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._request_id = send, request_id
        self.status: int | None = None
        self.bytes = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self._request_id.encode())]
        elif message["type"] == "http.response.body":
            self.bytes += len(message.get("body", b""))
        await self._send(message)


def _request_id(scope: Scope) -> str:
    """The caller's own x-request-id where it is a plain name, else a new one."""
    given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    return given if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"


def _described(scope: Scope) -> dict[str, Any]:
    """The route instead of the path and never the query: what callers put there is theirs."""
    described = {"method": scope["method"], "route": route_path(scope)}
    caller = scope["state"].get("caller")
    if caller is not None:
        described |= {"project_id": caller.project_id, "key_id": caller.key_id}
    ids = {name: value for name, value in scope.get("path_params", {}).items() if name.endswith("_id")}
    return described | {name: str(value)[:64] for name, value in ids.items()}
