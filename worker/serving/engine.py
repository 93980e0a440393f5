"""Gives texts that people ask for to the model, whoever asks: in turn by project, one adapter after another.

One thread drives one GPU process, as a worker does. Texts for the same adapter share a batch, and new ones
join it; once texts for another adapter have waited TURN_SECONDS, no more join, and it is theirs.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.database import reading
from app.errors import NotFound
from app.ledger.results.adapters import adapter_by_id
from app.storage import MissingArtifact
from star_engine.protocols import BadAdapter, OutOfMemory
from star_engine.writing import Piece, WriteRequest
from worker.base_models import BadModel
from worker.context import WorkerContext
from worker.gpu.process import GpuDied, GpuFailed, GpuProcess

log = structlog.get_logger()

TURN_SECONDS = 5.0
MAX_RANK = 64  # of adapters that are served beside each other
UNREADY = "The model could not be loaded here: the operator's log says why."
BROKEN = "The model's process ended while it wrote this. Send it again."


@dataclass(frozen=True, slots=True)
class Target:
    """Who is to write: a base model, or it with an adapter."""

    model_id: str
    adapter_id: str | None


@dataclass(slots=True, eq=False)
class Ticket:
    """The texts of one request. `say` is called from the engine's thread with each piece."""

    target: Target
    project_id: str
    requests: tuple[WriteRequest, ...]
    say: Callable[[Piece], None]
    came: float = field(default_factory=time.monotonic)
    open: set[str] = field(default_factory=set)  # keys of texts that have not ended

    def __post_init__(self) -> None:
        self.open = {request.key for request in self.requests}


class _Stopped(Exception):
    """Leaves the call to the GPU process that runs."""


class Full(RuntimeError):
    """More texts wait than the queue may hold."""


class Engine:
    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._max = context.settings.serving_queue
        self._changed = threading.Condition()
        self._waiting: list[Ticket] = []
        self._running: dict[str, Ticket] = {}  # by key of a text
        self._dropped: set[str] = set()
        self._served: dict[str, int] = {}  # project: the turn in which texts of it were last begun
        self._turns = count(1)
        self._stopping = False

    @property
    def loaded(self) -> str | None:
        """The base model that is held now."""
        return self._context.warm_model

    def submit(self, ticket: Ticket) -> None:
        """Raises Full where the queue has no room for its texts, or for more of its project."""
        with self._changed:
            held = self._held()
            if sum(held.values()) + len(ticket.requests) > self._max:
                raise Full("More texts wait than this server takes.")
            if held[ticket.project_id] + len(ticket.requests) > max(self._max // 2, 1):
                raise Full("This project has half of the queue already.")
            self._waiting.append(ticket)
            self._changed.notify()

    def drop(self, ticket: Ticket) -> None:
        """Nobody waits for it any more."""
        with self._changed:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            self._dropped |= {key for key in ticket.open if key in self._running}
            for key in ticket.open:
                self._running.pop(key, None)

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def run(self) -> None:
        """Serve until told to stop."""
        try:
            while (target := self._next_target()) is not None:
                self._serve(target)
        except _Stopped:
            log.info("serving_stopped")
        finally:
            self._fail(BROKEN)
            self._context.drop_gpu()

    def _held(self) -> Counter[str]:
        held = Counter(ticket.project_id for ticket in self._running.values())
        for ticket in self._waiting:
            held[ticket.project_id] += len(ticket.requests)
        return held

    def _next_target(self) -> Target | None:
        """Wait for somebody; the project that was served longest ago comes first. None: to be stopped."""
        with self._changed:
            while not self._waiting and not self._stopping:
                if not self._changed.wait(self._context.settings.serving_idle_seconds):
                    self._context.drop_gpu()
            if self._stopping:
                return None
            return min(self._waiting, key=self._turn).target

    def _turn(self, ticket: Ticket) -> tuple[int, float]:
        return self._served.get(ticket.project_id, 0), ticket.came

    def _serve(self, target: Target) -> None:
        try:
            gpu = self._gpu(target)
        except (BadModel, BadAdapter, ValueError, NotFound, MissingArtifact, SQLAlchemyError) as problem:
            log.warning(
                "model_not_ready", model=target.model_id, adapter=target.adapter_id, error=str(problem)
            )
            self._fail(UNREADY, target)
            return
        except (OutOfMemory, GpuFailed, GpuDied) as problem:
            self._lose(target, problem)
            return
        queue: deque[WriteRequest] = deque()
        self._admit(target, queue)
        try:
            for piece in gpu.write(queue, self._dropped):
                self._pass_on(piece)
                self._admit(target, queue)
        except (OutOfMemory, GpuFailed, GpuDied) as problem:
            self._lose(target, problem)

    def _gpu(self, target: Target) -> GpuProcess:
        context = self._context
        folder = None
        if target.adapter_id is not None:
            with reading(context.engine) as session:
                adapter = adapter_by_id(session, target.adapter_id)
            folder = context.unpack(adapter)
        gpu = context.gpu(target.model_id, MAX_RANK)
        gpu.check = self._check
        gpu.write_with(folder)
        return gpu

    def _check(self) -> None:
        if self._stopping:
            raise _Stopped

    def _admit(self, target: Target, queue: deque[WriteRequest]) -> None:
        """Begin the texts that wait for the same adapter, unless it is another one's turn."""
        with self._changed:
            now = time.monotonic()
            others = [one for one in self._waiting if one.target != target]
            if self._running and any(now - one.came > TURN_SECONDS for one in others):
                return
            while mine := [one for one in self._waiting if one.target == target]:
                ticket = min(mine, key=self._turn)
                if self._running and len(self._running) + len(ticket.requests) > self._context.room:
                    return
                self._waiting.remove(ticket)
                self._served[ticket.project_id] = next(self._turns)
                self._running |= {request.key: ticket for request in ticket.requests}
                queue.extend(ticket.requests)

    def _pass_on(self, piece: Piece) -> None:
        with self._changed:
            ticket = self._running.get(piece.key)
            if ticket is None:
                return
            if piece.ends:
                ticket.open.discard(piece.key)
                del self._running[piece.key]
        ticket.say(piece)

    def _lose(self, target: Target, problem: Exception) -> None:
        log.error("model_process_ended", model=target.model_id, error=str(problem))
        self._context.drop_gpu()
        self._fail(BROKEN, target)

    def _fail(self, why: str, target: Target | None = None) -> None:
        """End what runs and what waits for this target; for any, where none is named."""
        with self._changed:
            ended = [ticket for ticket in self._waiting if target in (None, ticket.target)]
            self._waiting = [ticket for ticket in self._waiting if ticket not in ended]
            ended += dict.fromkeys(self._running.values())
            self._running.clear()
        for ticket in ended:
            for key in sorted(ticket.open):
                ticket.say(Piece(key, error=why))
