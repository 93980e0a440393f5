"""What the API asks of a server: completions and chat completions of a named base model and adapter."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from app.results.completion_requests import ChatIn, CompletionIn
from star_engine.writing import Piece
from worker.serving.answers import Answer, error_event
from worker.serving.engine import BROKEN, UNREADY, Engine, Full, Target, Ticket

WHO = "x-star-model", "x-star-adapter", "x-star-project"


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def create_app(engine: Engine, token: str) -> Starlette:
    """The server over an engine that runs; `token` is what the API shows."""

    async def completions(request: Request) -> Response:
        return await _answer(engine, token, request, CompletionIn)

    async def chat(request: Request) -> Response:
        return await _answer(engine, token, request, ChatIn)

    return Starlette(
        routes=[
            Route("/v1/completions", completions, methods=["POST"]),
            Route("/v1/chat/completions", chat, methods=["POST"]),
        ]
    )


async def _answer(
    engine: Engine, token: str, request: Request, kind: type[CompletionIn] | type[ChatIn]
) -> Response:
    try:
        if not secrets.compare_digest(request.headers.get("authorization", ""), f"Bearer {token}"):
            raise _Refused(401, "wrong_token", "This server answers the API only.")
        answer = _read(await request.body(), kind)
        pieces = _pieces(engine, answer, request)
        first = await anext(pieces)  # whether it works is known before the status is sent
    except _Refused as refused:
        return JSONResponse({"code": refused.code, "message": refused.message}, refused.status)
    if answer.sent.stream:
        return StreamingResponse(_events(answer, first, pieces), media_type="text/event-stream")
    return await _whole(answer, first, pieces)


def _read(body: bytes, kind: type[CompletionIn] | type[ChatIn]) -> Answer:
    try:
        return Answer(kind.model_validate_json(body))
    except ValidationError as problem:  # an API of another version
        raise _Refused(422, "invalid", str(problem)) from problem


async def _whole(answer: Answer, first: Piece, pieces: AsyncIterator[Piece]) -> Response:
    try:
        answer.choices[first.key].add(first)
        async for piece in pieces:
            answer.choices[piece.key].add(piece)
    except _Refused as refused:
        return JSONResponse({"code": refused.code, "message": refused.message}, refused.status)
    return JSONResponse(answer.whole())


async def _events(answer: Answer, first: Piece, pieces: AsyncIterator[Piece]) -> AsyncIterator[bytes]:
    for event in answer.begin():
        yield event
    try:
        answer.choices[first.key].add(first)
        yield answer.event(first)
        async for piece in pieces:
            answer.choices[piece.key].add(piece)
            yield answer.event(piece)
    except _Refused as refused:
        yield error_event({"code": refused.code, "message": refused.message, "type": "server_error"})
        return
    for event in answer.last():
        yield event


async def _pieces(engine: Engine, answer: Answer, request: Request) -> AsyncIterator[Piece]:
    """What the engine says of the answer's texts until all have ended; dropped if nobody reads on."""
    loop, said = asyncio.get_running_loop(), asyncio.Queue[Piece]()

    def say(piece: Piece) -> None:
        with suppress(RuntimeError):  # the loop has ended: this server stops
            loop.call_soon_threadsafe(said.put_nowait, piece)

    model, adapter, project = (request.headers.get(name) for name in WHO)
    ticket = Ticket(Target(model or "", adapter), project or "", answer.requests, say)
    try:
        engine.submit(ticket)
    except Full as full:
        raise _Refused(429, "serving_queue_full", f"{full} Send it again in a moment.") from full
    left = len(answer.requests)
    try:
        while left:
            piece = await _next(said, request)
            if piece.error is not None:
                raise _problem(piece.error)
            left -= piece.ends
            yield piece
    finally:
        engine.drop(ticket)


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
