"""What happened to a job: by polling, by waiting, or as a stream of server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import Depends, Header, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy import Engine

from app.database import reading
from app.errors import BadRequest
from app.http.auth import Reader
from app.http.dependencies import Db, Feed
from app.http.router import api_router
from app.http.schemas import Page, Resource, page
from app.ledger.event_tail import replay
from app.ledger.events import newest_events
from app.ledger.jobs.jobs import get_job
from app.ledger.platform.keys import Caller
from app.tables.jobs import Event

router = api_router("events", "/v1/jobs/{job_id}/events")

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
    feed: Feed,
    job: OwnJob,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Seq = 0,
    wait: Annotated[float, Query(ge=0, le=30, description="Seconds to wait for one if there is none.")] = 0,
) -> Page[EventOut]:
    """Async, so that clients who wait do not occupy the threads that serve the others."""
    position, events = await run_in_threadpool(replay, db, job, after, limit + 1)
    if wait > 0 and not (events or position.ended):
        events = await feed.wait(job, after, position, wait)
    return page([_out(event) for event in events], limit)


@router.get("/stream", summary="Stream the events of a job", response_class=EventSourceResponse)
async def stream(
    feed: Feed, job: OwnJob, after: Annotated[int, Depends(last_event_id)]
) -> AsyncIterator[ServerSentEvent]:
    """Replays what came after Last-Event-ID (or `after`), goes on live, and ends with the event `done`.

    Without `done` it has ended because the server stops: connect again, with Last-Event-ID.
    """
    async with aclosing(feed.follow(job, after)) as news:
        async for events in news:
            for event in events:
                yield ServerSentEvent(id=str(event.seq), event=event.type, data=_out(event))
    if not feed.closing:
        yield ServerSentEvent(event="done", data={"job": job})


def newest(caller: Caller, db: Engine, job_id: str, limit: int) -> list[EventOut]:
    """For the dashboard: the newest first."""
    with reading(db) as session:
        job = get_job(session, caller.project_id, job_id)
        return [_out(event) for event in newest_events(session, job.id, None, limit)]


def _out(event: Event) -> EventOut:
    return EventOut(
        id=f"evt_{event.job_id}_{event.seq}",
        created_at=event.created_at,
        seq=event.seq,
        type=event.type,
        data=event.data,
    )
