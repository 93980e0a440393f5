"""What a server of models answers with, and the pieces of a text as they come from its engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request

from app.errors import NotFound
from app.results.completion_requests import ChatIn
from star_engine.protocols import Completion
from star_engine.sampling.labels import Elected
from star_engine.writing import Piece, WriteRequest
from worker.base_models import BadModel
from worker.serving.answers import Tooled
from worker.serving.meter import Meter
from worker.serving.tools import Tools
from worker.serving.verifiers import Verifiers
from worker.serving.waiting import BROKEN, UNREADY, Full, Target, Ticket

log = structlog.get_logger()

T = TypeVar("T")
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


class Refused(Exception):
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

    def tooled(self, adapter_id: str) -> Tooled:
        """The tool of the adapter's job. Raises ValueError where it has none."""

    def elect(self, adapter_id: str, texts: Sequence[Completion]) -> Elected:
        """Raises ValueError where the answers cannot be read."""


@dataclass(frozen=True, slots=True)
class Service:
    """What the server answers with."""

    engine: Engine
    layouts: Layouts
    verifiers: Verifiers
    meter: Meter
    tools: Tools
    token: str  # what the API shows


@dataclass(frozen=True, slots=True)
class Who:
    """Whom a request names. `verifier`: the adapter that chooses among the texts."""

    target: Target
    project_id: str
    verifier_id: str | None = None


async def pieces_of(
    service: Service, who: Who, requests: Sequence[WriteRequest], request: Request
) -> AsyncGenerator[Piece]:
    """What the engine says of these texts until all have ended; they are dropped if nobody reads on."""
    loop, said = asyncio.get_running_loop(), asyncio.Queue[Piece]()

    def say(piece: Piece) -> None:
        with suppress(RuntimeError):  # the loop has ended: this server stops
            loop.call_soon_threadsafe(said.put_nowait, piece)

    ticket = Ticket(who.target, who.project_id, tuple(requests), say)
    try:
        service.engine.submit(ticket)
    except Full as full:
        raise Refused(429, "serving_queue_full", f"{full} Send it again in a moment.") from full
    left = len(requests)
    try:
        while left:
            piece = await gone_while(said.get(), request)
            if piece.error is not None:
                raise _problem(piece.error)
            left -= piece.ends
            yield piece
    finally:
        service.engine.drop(ticket)


async def gone_while(work: Awaitable[T], request: Request) -> T:
    """What the work comes to. Looks now and then whether there is still somebody who waits for it: else the
    work is cancelled, and Refused raised.
    """
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=1.0))[0]:
            if await request.is_disconnected():
                raise Refused(499, "gone", "The client has gone.")
        return task.result()
    finally:
        task.cancel()


def _problem(error: str) -> Refused:
    if error in (UNREADY, BROKEN):
        return Refused(503, "model_unavailable", error)
    return Refused(422, "invalid", error)


def unready(name: str, problem: Exception) -> Refused:
    """What cannot be looked at: the log says why."""
    log.warning("adapter_not_ready", adapter=name, error=str(problem))
    return Refused(503, "model_unavailable", UNREADY)
