"""What happened to a job: by polling, by waiting, or as a stream of server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from time import monotonic
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, Depends, Header, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy import Engine

from app.auth import Reader
from app.context import Db
from app.database import reading
from app.errors import BadRequest
from app.ledger.events import list_events, newest_events
from app.ledger.jobs import get_job
from app.ledger.keys import Caller
from app.ledger.transitions import TERMINAL, JobStatus
from app.models.jobs import Event, Job
from app.schemas import Page, Resource, page

router = APIRouter(prefix="/v1/jobs/{job_id}/events", tags=["events"])

POLL_SECONDS = 0.5  # how late a waiting client may learn of an event
BATCH = 200  # events per read of a stream

Seq = Annotated[int, Query(ge=0, lt=2**31, description="The seq of the last event seen.")]


class EventOut(Resource):
    object: Literal["event"] = "event"
    seq: int
    type: str
    data: dict[str, Any]


def job_of_caller(caller: Reader, db: Db, job_id: str) -> str:
    """The job's id, if it is the caller's. A dependency: a stream that has begun can no longer answer 404."""
    with reading(db) as session:
        return get_job(session, caller.project_id, job_id).id


def last_event_id(last_event_id: Annotated[str | None, Header()] = None, after: Seq = 0) -> int:
    """Where to go on: a browser that reconnects sends the header by itself."""
    if last_event_id is None:
        return after
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 10):
        raise BadRequest("Last-Event-ID must be the id of an event of this stream: a number.")
    return int(last_event_id)


OwnJob = Annotated[str, Depends(job_of_caller)]


@router.get("", summary="List the events of a job, oldest first")
async def list_(
    db: Db,
    job: OwnJob,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Seq = 0,
    wait: Annotated[float, Query(ge=0, le=30, description="Seconds to wait for one if there is none.")] = 0,
) -> Page[EventOut]:
    """Async, so that clients who wait do not occupy the threads that serve the others."""
    deadline = monotonic() + wait
    while True:
        events, ended = await run_in_threadpool(_read, db, job, after, limit + 1)
        left = deadline - monotonic()
        if events or ended or left <= 0:
            return page([_out(event) for event in events], limit)
        await anyio.sleep(min(POLL_SECONDS, left))


@router.get("/stream", summary="Stream the events of a job", response_class=EventSourceResponse)
async def stream(
    db: Db, job: OwnJob, after: Annotated[int, Depends(last_event_id)]
) -> AsyncIterator[ServerSentEvent]:
    """Replays what came after Last-Event-ID (or `after`), goes on live, and ends with the event `done`."""
    while True:
        events, ended = await run_in_threadpool(_read, db, job, after, BATCH)
        for event in events:
            after = event.seq
            yield ServerSentEvent(id=str(event.seq), event=event.type, data=_out(event))
        if ended and not events:
            yield ServerSentEvent(event="done", data={"job": job})
            return
        if not events:
            await anyio.sleep(POLL_SECONDS)


def newest(caller: Caller, db: Engine, job_id: str, limit: int) -> list[EventOut]:
    """For the dashboard: the newest first."""
    with reading(db) as session:
        job = get_job(session, caller.project_id, job_id)
        return [_out(event) for event in newest_events(session, job.id, None, limit)]


def _read(db: Engine, job_id: str, after: int, limit: int) -> tuple[Sequence[Event], bool]:
    """Events after `after`, and whether the job has ended: read first, for then no event can follow."""
    with reading(db) as session:
        status = session.get_one(Job, job_id).status
        return list_events(session, job_id, after, limit), JobStatus(status) in TERMINAL


def _out(event: Event) -> EventOut:
    return EventOut(
        id=f"evt_{event.job_id}_{event.seq}",
        created_at=event.created_at,
        seq=event.seq,
        type=event.type,
        data=event.data,
    )
