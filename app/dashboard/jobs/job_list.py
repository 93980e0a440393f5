"""The list of jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

import anyio
from fastapi import Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.dashboard.rendering import page
from app.dashboard.session import Viewer
from app.data.base_models import read_models
from app.http.dependencies import Db, Feed, OfferedModels
from app.http.router import page_router
from app.http.schemas import After
from app.jobs.filters import job_filter
from app.jobs.read import read_jobs
from app.ledger.jobs.lists import JobFilter
from app.tables.statuses import JobStatus

router = page_router("/jobs")

ROWS = 50
LOOK_SECONDS = 3.0  # how late the list may learn that a job has moved
Wanted = Annotated[JobFilter, Depends(job_filter)]


@router.get("")
def list_(
    request: Request, caller: Viewer, db: Db, offered: OfferedModels, where: Wanted, after: After = None
) -> Response:
    """Filters and order are those of GET /v1/jobs, in the URL."""
    found = read_jobs(db, caller.project_id, where, limit=ROWS, after=after)
    known = read_models(db, offered, limit=100).data
    return page(
        request, "jobs.html", caller, found=found, where=where, models=known, statuses=list(JobStatus)
    )


@router.get("/rows")
def rows(request: Request, caller: Viewer, db: Db, where: Wanted, after: After = None) -> Response:
    found = read_jobs(db, caller.project_id, where, limit=ROWS, after=after)
    return page(request, "_jobs.html", caller, found=found, where=where)


@router.get("/stream", response_class=EventSourceResponse)
async def stream(
    caller: Viewer, db: Db, feed: Feed, where: Wanted, after: After = None
) -> AsyncIterator[ServerSentEvent]:
    """`changed` whenever a job of this page has moved."""
    seen = None
    look = partial(read_jobs, db, caller.project_id, where, limit=ROWS, after=after)
    while not feed.closing:
        found = await run_in_threadpool(look)
        state = found.model_dump_json()
        if seen is not None and state != seen:
            yield ServerSentEvent(event="changed", data={})
        if all(job.is_terminal for job in found.data):
            yield ServerSentEvent(event="done", data={})
            return
        seen = state
        await anyio.sleep(LOOK_SECONDS)
