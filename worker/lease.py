"""Keeps a claim alive while its step is worked on, and knows when to stop."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.database import transaction
from app.failpoints import failpoint
from app.ledger.queue.steps import Claim, Fenced, Order, heartbeat
from app.settings import Settings
from app.tables.base import JsonObject
from worker.gpu.process import GpuProcess

log = structlog.get_logger()

SELF_FENCE = 0.75  # of the lease: without a heartbeat for this long the worker stops before others take over
WATCH_SECONDS = 0.25
STUCK_LEASES = 2.0  # after a lease was lost: a database call that hangs on is given up with its process


class Released(Exception):
    """Stop without having failed: the job is paused or cancelled, or the worker drains."""


class Stalled(Exception):
    """The GPU process shows no progress."""


class Lease:
    """Renews a claim from its own thread. The working thread calls `check()`, which raises to stop it.

    A second thread watches the first, which may hang in a database call like everybody else: it frees the GPU
    before the lease ends, and calls `abandon` if this process is still stuck long after.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        claim: Claim,
        draining: Callable[[], bool],
        abandon: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._claim = claim
        self._draining = draining
        self._abandon = abandon
        self._progress: JsonObject = {}
        self._order: Order = "continue"
        self._renewed = time.monotonic()  # only ever compared with this machine's own clock
        self._fenced = False
        self._ended = threading.Event()
        self._left = threading.Event()
        self._threads = [
            threading.Thread(target=target, name=target.__name__.strip("_"), daemon=True)
            for target in (self._keep, self._watch)
        ]
        self.gpu: GpuProcess | None = None  # killed if the lease can no longer be kept

    def __enter__(self) -> Lease:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        keeper, watcher = self._threads
        keeper.join()
        self._left.set()
        watcher.join()

    def report(self, done: int, total: int, unit: str, **more: int | float) -> None:
        """Progress to show with the next heartbeat."""
        self._progress = {"done": done, "total": total, "unit": unit, **more}

    def check(self) -> None:
        """Raises Fenced, Released or Stalled where the work must stop."""
        if self.lost:
            raise Fenced(self._claim.step_id)
        if self._order != "continue" or self._draining():
            raise Released(self._order)
        if self.gpu is not None and time.monotonic() - self.gpu.last_progress > self._settings.stall_seconds:
            raise Stalled(f"no sign of life for {self._settings.stall_seconds:.0f} s")

    @property
    def lost(self) -> bool:
        """Whether another worker holds the step, or soon may."""
        return self._fenced or self._silent_for(SELF_FENCE)

    def _silent_for(self, leases: float) -> bool:
        return time.monotonic() - self._renewed > leases * self._settings.lease_seconds

    def _keep(self) -> None:
        while not self._ended.wait(self._settings.heartbeat_seconds) and not self.lost:
            self._renew()

    def _renew(self) -> None:
        began = time.monotonic()
        progress = self._progress
        if self.gpu is not None and (seconds := self.gpu.loading_seconds) is not None:
            progress = progress | {"loading_seconds": round(seconds)}
        try:
            with transaction(self._engine) as session:
                order = heartbeat(session, self._claim, progress, self._settings.lease_seconds)
                failpoint("heartbeat.before_commit")
        except Fenced:
            self._fenced = True
        except SQLAlchemyError as error:
            log.warning("heartbeat_failed", step=self._claim.step_id, error=type(error).__name__)
        else:
            self._order, self._renewed = order, began

    def _watch(self) -> None:
        noticed: float | None = None  # a process that was stopped gets time, when it wakes, to look around
        while not self._left.wait(WATCH_SECONDS):
            if not self.lost:
                continue
            noticed = noticed or time.monotonic()
            if not self._ended.is_set():
                self._kill_gpu()
            if time.monotonic() - noticed > STUCK_LEASES * self._settings.lease_seconds:
                log.error("worker_stuck", step=self._claim.step_id)
                self._abandon()
                return

    def _kill_gpu(self) -> None:
        """The working thread may itself be stuck in a database call, so the GPU is freed from here."""
        if self.gpu is not None and self.gpu.alive:
            with suppress(ProcessLookupError):
                os.killpg(self.gpu.pid, signal.SIGKILL)
