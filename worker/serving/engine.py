"""Has texts that people ask for written by a GPU process, as a worker does: one thread drives it.

Texts for the same adapter share a batch, and new ones join it; once texts for another adapter have waited
TURN_SECONDS, no more join, and it is theirs.
"""

from __future__ import annotations

from collections import deque
from functools import partial

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
from worker.serving.waiting import BROKEN, UNREADY, Target, Ticket, Waiting

log = structlog.get_logger()

MAX_RANK = 64  # of adapters that are served beside each other
NOT_READY = (BadModel, BadAdapter, ValueError, NotFound, MissingArtifact, SQLAlchemyError)


class _Stopped(Exception):
    """Leaves the call to the GPU process that runs."""


class Engine:
    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._waiting = Waiting(context.settings.serving_queue)
        self._dropped: set[str] = set()
        self._stopping = False

    @property
    def loaded(self) -> str | None:
        """The base model that is held now."""
        return self._context.warm_model

    def submit(self, ticket: Ticket) -> None:
        """Raises Full where the queue has no room for its texts, or for more of its project."""
        self._waiting.add(ticket)

    def drop(self, ticket: Ticket) -> None:
        """Nobody waits for it any more."""
        self._dropped |= self._waiting.drop(ticket)

    def stop(self) -> None:
        with self._waiting.changed:
            self._stopping = True
            self._waiting.changed.notify()

    def run(self) -> None:
        """Serve until told to stop."""
        try:
            while (target := self._next_target()) is not None:
                self._serve(target)
        except _Stopped:
            log.info("serving_stopped")
        finally:
            self._waiting.fail(BROKEN)
            self._context.drop_gpu()

    def _next_target(self) -> Target | None:
        """Wait for somebody. None: to be stopped."""
        with self._waiting.changed:
            while not self._waiting and not self._stopping:
                if not self._waiting.changed.wait(self._context.settings.serving_idle_seconds):
                    self._context.drop_gpu()
            return None if self._stopping else self._waiting.next_target()

    def _serve(self, target: Target) -> None:
        try:
            gpu = self._gpu(target)
        except NOT_READY as problem:
            log.warning(
                "model_not_ready", model=target.model_id, adapter=target.adapter_id, error=str(problem)
            )
            self._waiting.fail(UNREADY, target.__eq__)
            return
        except (OutOfMemory, GpuFailed, GpuDied) as problem:
            self._lose(target, problem)
            return
        queue: deque[WriteRequest] = deque()
        # Between two pieces too: where nobody reads along, the first piece is a whole text.
        gpu.check = partial(self._look, target, queue)
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

    def _look(self, target: Target, queue: deque[WriteRequest]) -> None:
        self._check()
        self._admit(target, queue)

    def _admit(self, target: Target, queue: deque[WriteRequest]) -> None:
        """Begin the texts that wait for the same adapter, unless it is another one's turn."""
        for ticket in self._waiting.begin(target.__eq__, self._context.room):
            queue.extend(ticket.requests)

    def _pass_on(self, piece: Piece) -> None:
        ticket = self._waiting.ticket_of(piece)
        if ticket is not None:
            ticket.say(piece)

    def _lose(self, target: Target, problem: Exception) -> None:
        log.error("model_process_ended", model=target.model_id, error=str(problem))
        self._context.drop_gpu()
        self._waiting.fail(BROKEN, target.__eq__)
