"""Answers those who poll a job: most requests that this API gets.

The view of a job takes a dozen queries, for its place in the queue and its estimates follow from all jobs.
It is made at most once a second, however many poll. The job's own row is read for every poll, so that a new
status is told at once; progress, queue and estimates may be VIEW_SECONDS old where the row has not changed.
Rows are read for all requests together that came within LOOK_SECONDS: one query, however many they are, made
after the last of them came. Views that are too old are made apart from it, so that nobody waits for those of
other jobs.

A request without If-None-Match gets what was read after it came; those who ask for the same job meanwhile
share it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Any

import anyio
import structlog
from anyio import CapacityLimiter, to_thread
from sqlalchemy import Engine

from app.database import reading
from app.http.events.together import Together
from app.http.ranges import etag_of
from app.jobs.views import show_job
from app.ledger.jobs.jobs import get_job
from app.ledger.jobs.lists import find_jobs
from app.tables.jobs import Job
from app.turns import Neighbours, give_turn_back

VIEW_SECONDS = 1.0
VIEWS = 1000  # of 3 kB
LOOK_SECONDS = 0.03  # from one look to the next; the first poll after a pause does not wait

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class View:
    """A job as JSON."""

    body: bytes
    etag: str
    row: dict[str, Any]
    read_after: float  # monotonic; nothing of it was read before


@dataclass(frozen=True, slots=True)
class Poll:
    project_id: str
    job_id: str
    polled: bool  # with If-None-Match


@dataclass
class Look:
    """Requests that are looked up together."""

    polls: set[Poll] = field(default_factory=set)
    found: dict[Poll, View] = field(default_factory=dict)
    done: anyio.Event = field(default_factory=anyio.Event)


class PolledJobs:
    """Answers polls together, once per process. `run` reads repeatedly while anybody polls."""

    def __init__(self, engine: Engine, neighbours: Neighbours) -> None:
        self._engine = engine
        self._views = Views()
        self._alone = Together(self._read_alone, turn=lambda poll: neighbours.turn(poll.project_id))
        self._next = Look()
        self._wanted = anyio.Event()

    async def read(self, project_id: str, job_id: str, *, polled: bool) -> View:
        """The view of a job of this project. Raises NotFound. `polled`: it may be VIEW_SECONDS old."""
        give_turn_back()  # hundreds of polls share one look at the database
        poll, look = Poll(project_id, job_id, polled), self._next
        if not polled:
            return await self._alone.ask(poll)
        look.polls.add(poll)
        self._wanted.set()
        await look.done.wait()
        found = look.found.get(poll)
        return await self._alone.ask(poll) if found is None else found

    async def run(self) -> None:
        limiter = CapacityLimiter(1)
        while True:
            await self._wanted.wait()
            look, self._next, self._wanted = self._next, Look(), anyio.Event()
            try:
                look.found = await to_thread.run_sync(
                    self._read_together, list(look.polls), limiter=limiter, abandon_on_cancel=True
                )
            except Exception as failure:  # noqa: BLE001 - each request then finds out by itself what is wrong
                log.warning("poll_look_failed", error=type(failure).__name__)
            finally:
                look.done.set()
            await anyio.sleep(LOOK_SECONDS)

    def _read_together(self, polls: Sequence[Poll]) -> dict[Poll, View]:
        """What can be told from views that are there; all of these polls may be told what is a little old."""
        with reading(self._engine) as session:
            jobs = find_jobs(session, {poll.job_id for poll in polls})
        own = {
            poll: job
            for poll in polls
            if (job := jobs.get(poll.job_id)) is not None and job.project_id == poll.project_id
        }
        found = {poll: self._views.fresh(job) for poll, job in own.items()}
        return {poll: view for poll, view in found.items() if view is not None}

    def _read_alone(self, poll: Poll) -> View:
        with reading(self._engine) as session:
            job = get_job(session, poll.project_id, poll.job_id)
        return self._views.view(self._engine, job, polled=poll.polled)


@dataclass
class Views:
    """The views of the jobs that were asked for last."""

    _views: OrderedDict[str, View] = field(default_factory=OrderedDict)
    _making: dict[str, Lock] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def fresh(self, job: Job, since: float | None = None) -> View | None:
        """The view of this job, `job` being its row as it is now, if it was read late enough: `since` then,
        or within VIEW_SECONDS."""
        known = self._views.get(job.id)
        oldest = monotonic() - VIEW_SECONDS if since is None else since
        return known if known is not None and known.read_after >= oldest and known.row == _row(job) else None

    def view(self, engine: Engine, job: Job, *, polled: bool) -> View:
        """Of a job that the caller may see, and whose row has just been read; without a connection of its
        own, since all who wait for the same view would hold one."""
        since = None if polled else monotonic()
        if (known := self.fresh(job, since)) is not None:
            return known
        with self._lock:
            making = self._making.setdefault(job.id, Lock())
        with making:
            return self.fresh(job, since) or self._make(engine, job.id)

    def _make(self, engine: Engine, job_id: str) -> View:
        began = monotonic()
        with reading(engine) as session:
            job = session.get_one(Job, job_id)
            shown = show_job(session, job)
            body = shown.model_dump_json().encode()
        view = View(body, etag_of(shown), _row(job), began)
        with self._lock:
            self._views[job_id] = view
            self._views.move_to_end(job_id)
            while len(self._views) > VIEWS:
                oldest, _ = self._views.popitem(last=False)
                self._making.pop(oldest, None)
        return view


def _row(job: Job) -> dict[str, Any]:
    return {column.key: getattr(job, column.key) for column in Job.__table__.columns}
