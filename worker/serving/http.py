"""What the API asks of a server: completions and chat completions of a named base model and adapter."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from app.results.completion_requests import ChatIn, CompletionIn
from star_engine.writing import Piece
from worker.serving.answers import Answer, Tooled, error_event
from worker.serving.selection import choose
from worker.serving.service import UNKNOWN, Layouts, Refused, Service, Who, pieces_of, unready
from worker.serving.tool_texts import pieces_with_tool
from worker.serving.waiting import Target


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
            Route("/healthz", _alive),
            *more,
        ]
    )


async def _alive(_: Request) -> Response:
    """For who watches the process; whether a model can be asked says the ledger."""
    return JSONResponse({"status": "ok"})


async def _answer(service: Service, request: Request, kind: type[CompletionIn] | type[ChatIn]) -> Response:
    try:
        shown = request.headers.get("authorization", "")
        if not secrets.compare_digest(shown, f"Bearer {service.token}"):
            raise Refused(401, "wrong_token", "This server answers the API only.")
        answer = _read(await request.body(), kind)
        who = _who(request)
        if isinstance(answer.sent, ChatIn):
            await run_in_threadpool(_lay_out, service.layouts, answer, answer.sent, who.target)
        if answer.sent.with_tools:
            answer.tooled = await run_in_threadpool(_tool_of, service.layouts, who.target)
        pieces = _written(service, answer, who, request)
        first = await anext(pieces)  # whether it works is known before the status is sent
    except Refused as refused:
        return JSONResponse({"code": refused.code, "message": refused.message}, refused.status)
    if answer.sent.stream:
        return StreamingResponse(_events(answer, first, pieces), media_type="text/event-stream")
    return await _whole(service, answer, who, pieces, request)


def _who(request: Request) -> Who:
    told = request.headers
    target = Target(told.get("x-star-model", ""), told.get("x-star-adapter"))
    return Who(target, told.get("x-star-project", ""), told.get("x-star-verifier"))


def _read(body: bytes, kind: type[CompletionIn] | type[ChatIn]) -> Answer:
    try:
        return Answer(kind.model_validate_json(body))
    except ValidationError as problem:  # an API of another version
        raise Refused(422, "invalid", str(problem)) from problem


def _lay_out(layouts: Layouts, answer: Answer, sent: ChatIn, target: Target) -> None:
    adapter = target.adapter_id
    try:
        if adapter is not None:
            answer.requests = layouts.laid_out(sent, adapter, answer.requests)
        answer.opening = layouts.opening(sent, target.model_id, adapter)
    except ValueError as problem:
        raise Refused(422, "invalid", str(problem)) from problem
    except UNKNOWN as problem:
        raise unready(adapter or target.model_id, problem) from problem


def _tool_of(layouts: Layouts, target: Target) -> Tooled:
    adapter = target.adapter_id
    if adapter is None:
        raise Refused(422, "invalid", "A base model has no job that gave it a tool.")
    try:
        return layouts.tooled(adapter)
    except ValueError as problem:
        raise Refused(422, "invalid", str(problem)) from problem
    except UNKNOWN as problem:
        raise unready(adapter, problem) from problem


async def _whole(
    service: Service, answer: Answer, who: Who, pieces: AsyncIterator[Piece], request: Request
) -> Response:
    try:
        async for _ in pieces:
            pass
        await choose(service, answer, who, request)
    except Refused as refused:
        return JSONResponse({"code": refused.code, "message": refused.message}, refused.status)
    return JSONResponse(answer.whole())


async def _events(answer: Answer, first: Piece, pieces: AsyncIterator[Piece]) -> AsyncIterator[bytes]:
    for event in answer.begin():
        yield event
    try:
        yield answer.event(first)
        async for piece in pieces:
            yield answer.event(piece)
    except Refused as refused:
        yield error_event({"code": refused.code, "message": refused.message, "type": "server_error"})
        return
    for event in answer.last():
        yield event


async def _written(service: Service, answer: Answer, who: Who, request: Request) -> AsyncGenerator[Piece]:
    """The pieces of the answer's texts, which they are added to."""
    if answer.tooled is None:
        found = pieces_of(service, who, answer.requests, request)
    else:
        found = pieces_with_tool(service, who, answer, answer.tooled, request)
    try:
        async with aclosing(found) as pieces:
            async for piece in pieces:
                answer.choices[piece.key].add(piece)
                yield piece
    finally:
        service.meter.add(who.project_id, who.target, answer.written())
