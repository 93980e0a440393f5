"""What a poller of a job is answered: its whole view is made at most once a second, however many poll.

The view takes a dozen queries, for queue and estimates look at all jobs. A poll with If-None-Match costs
one, of the job's own row. Where the row has not changed, the rest of the view (progress, place in the queue,
estimates) may be VIEW_SECONDS old. Without If-None-Match all of it is read after the request came; those who
ask for the same job meanwhile share what was read after the last of them.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Lock
from time import monotonic
from typing import Any

from sqlalchemy import Engine
from starlette.responses import Response

from app.database import reading
from app.http.ranges import matches
from app.jobs.views import show_job
from app.tables.jobs import Job

VIEW_SECONDS = 1.0
VIEWS = 1000  # of 3 kB


@dataclass(frozen=True, slots=True)
class View:
    """A job as JSON."""

    body: bytes
    etag: str
    row: dict[str, Any]
    read_after: float  # monotonic; nothing of it was read before


def poll_answer(view: View, if_none_match: str | None) -> Response:
    """304 where the caller has this view already."""
    headers = {"ETag": view.etag, "Cache-Control": "no-cache"}
    if matches(if_none_match, view.etag):
        return Response(status_code=304, headers=headers)
    return Response(view.body, media_type="application/json", headers=headers)


@dataclass
class PolledJobs:
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
            body = show_job(session, job).model_dump_json().encode()
        view = View(body, f'"{sha256(body).hexdigest()[:32]}"', _row(job), began)
        with self._lock:
            self._views[job_id] = view
            self._views.move_to_end(job_id)
            while len(self._views) > VIEWS:
                oldest, _ = self._views.popitem(last=False)
                self._making.pop(oldest, None)
        return view


def _row(job: Job) -> dict[str, Any]:
    return {column.key: getattr(job, column.key) for column in Job.__table__.columns}
