"""What the API asks of a server: completions and chat completions of a named base model and adapter."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import structlog
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from app.errors import NotFound
from app.results.completion_requests import ChatIn, CompletionIn
from star_engine.protocols import Completion
from star_engine.sampling.labels import Elected
from star_engine.writing import Piece, WriteRequest
from worker.base_models import BadModel
from worker.serving.answers import Answer, error_event
from worker.serving.meter import Meter
from worker.serving.waiting import BROKEN, UNREADY, Full, Target, Ticket

log = structlog.get_logger()

WHO = "x-star-model", "x-star-adapter", "x-star-project"
UNKNOWN = (BadModel, NotFound, SQLAlchemyError)  # why an adapter's job cannot be looked at


class Engine(Protocol):
    """What has texts written. Its `run` is for a thread of its own, the rest for any."""

    @property
    def loaded(self) -> str | None:
        """The base model that is held now."""

    def submit(self, ticket: Ticket) -> None:
        """Raises Full where the queue has no room for its texts, or for more of its project."""

    def drop(self, ticket: Ticket) -> None:
        """Nobody waits for it any more."""

    def run(self) -> None:
        """Serve until told to stop."""

    def stop(self) -> None: ...


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Layouts(Protocol):
    """How conversations with adapters are laid out: worker.serving.conversations."""

    def laid_out(
        self, sent: ChatIn, adapter_id: str, requests: Sequence[WriteRequest]
    ) -> tuple[WriteRequest, ...]:
        """Raises ValueError for a conversation that cannot be asked so."""

    def opening(self, sent: ChatIn, model_id: str, adapter_id: str | None) -> str:
        """What the prompt of the conversation has begun for the model."""

    def elect(self, adapter_id: str, texts: Sequence[Completion]) -> Elected:
        """Raises ValueError where the answers cannot be read."""


@dataclass(frozen=True, slots=True)
class Service:
    """What the server answers with."""

    engine: Engine
    layouts: Layouts
    meter: Meter
    token: str  # what the API shows


def create_app(service: Service, more: Sequence[Route] = ()) -> Starlette:
    """The server over an engine that runs; `more`: what else it answers."""

    async def completions(request: Request) -> Response:
        return await _answer(service, request, CompletionIn)

    async def chat(request: Request) -> Response:
        return await _answer(service, request, ChatIn)

    return Starlette(
        routes=[
            Route("/v1/completions", completions, methods=["POST"]),
            Route("/v1/chat/completions", chat, methods=["POST"]),
            *more,
        ]
    )


async def _answer(service: Service, request: Request, kind: type[CompletionIn] | type[ChatIn]) -> Response:
    try:
        shown = request.headers.get("authorization", "")
        if not secrets.compare_digest(shown, f"Bearer {service.token}"):
            raise _Refused(401, "wrong_token", "This server answers the API only.")
        answer = _read(await request.body(), kind)
        model, adapter, project = (request.headers.get(name) for name in WHO)
        target = Target(model or "", adapter)
        await run_in_threadpool(_lay_out, service.layouts, answer, target)
        pieces = _pieces(service, answer, target, project or "", request)
        first = await anext(pieces)  # whether it works is known before the status is sent
    except _Refused as refused:
        return JSONResponse({"code": refused.code, "message": refused.message}, refused.status)
    if answer.sent.stream:
        return StreamingResponse(_events(answer, first, pieces), media_type="text/event-stream")
    return await _whole(service, answer, adapter, pieces)


def _read(body: bytes, kind: type[CompletionIn] | type[ChatIn]) -> Answer:
    try:
        return Answer(kind.model_validate_json(body))
    except ValidationError as problem:  # an API of another version
        raise _Refused(422, "invalid", str(problem)) from problem


def _lay_out(layouts: Layouts, answer: Answer, target: Target) -> None:
    if not isinstance(answer.sent, ChatIn):
        return
    adapter = target.adapter_id
    try:
        if adapter is not None:
            answer.requests = layouts.laid_out(answer.sent, adapter, answer.requests)
        answer.opening = layouts.opening(answer.sent, target.model_id, adapter)
    except ValueError as problem:
        raise _Refused(422, "invalid", str(problem)) from problem
    except UNKNOWN as problem:
        raise _unready(adapter or target.model_id, problem) from problem


def _unready(adapter: str, problem: Exception) -> _Refused:
    log.warning("adapter_not_ready", adapter=adapter, error=str(problem))
    return _Refused(503, "model_unavailable", UNREADY)


async def _whole(
    service: Service, answer: Answer, adapter: str | None, pieces: AsyncIterator[Piece]
) -> Response:
    try:
        async for _ in pieces:
            pass
        await run_in_threadpool(_choose, service.layouts, answer, adapter)
    except _Refused as refused:
        return JSONResponse({"code": refused.code, "message": refused.message}, refused.status)
    return JSONResponse(answer.whole())


def _choose(layouts: Layouts, answer: Answer, adapter: str | None) -> None:
    if answer.sent.select is None or adapter is None:
        return
    try:
        answer.choose(partial(layouts.elect, adapter))
    except ValueError as problem:
        raise _Refused(422, "invalid", str(problem)) from problem
    except UNKNOWN as problem:
        raise _unready(adapter, problem) from problem


async def _events(answer: Answer, first: Piece, pieces: AsyncIterator[Piece]) -> AsyncIterator[bytes]:
    for event in answer.begin():
        yield event
    try:
        yield answer.event(first)
        async for piece in pieces:
            yield answer.event(piece)
    except _Refused as refused:
        yield error_event({"code": refused.code, "message": refused.message, "type": "server_error"})
        return
    for event in answer.last():
        yield event


async def _pieces(
    service: Service, answer: Answer, target: Target, project_id: str, request: Request
) -> AsyncIterator[Piece]:
    """What the engine says of the answer's texts, which they are added to, until all have ended; dropped if
    nobody reads on."""
    loop, said = asyncio.get_running_loop(), asyncio.Queue[Piece]()

    def say(piece: Piece) -> None:
        with suppress(RuntimeError):  # the loop has ended: this server stops
            loop.call_soon_threadsafe(said.put_nowait, piece)

    ticket = Ticket(target, project_id, answer.requests, say)
    try:
        service.engine.submit(ticket)
    except Full as full:
        raise _Refused(429, "serving_queue_full", f"{full} Send it again in a moment.") from full
    left = len(answer.requests)
    try:
        while left:
            piece = await _next(said, request)
            if piece.error is not None:
                raise _problem(piece.error)
            left -= piece.ends
            answer.choices[piece.key].add(piece)
            yield piece
    finally:
        service.engine.drop(ticket)
        service.meter.add(project_id, target, answer.written())


async def _next(said: asyncio.Queue[Piece], request: Request) -> Piece:
    """The next piece. Looks now and then whether there is still somebody who waits for it."""
    while True:
        try:
            return await asyncio.wait_for(said.get(), 1.0)
        except TimeoutError:
            if await request.is_disconnected():
                raise _Refused(499, "gone", "The client has gone.") from None


def _problem(error: str) -> _Refused:
    if error in (UNREADY, BROKEN):
        return _Refused(503, "model_unavailable", error)
    return _Refused(422, "invalid", error)
