"""What happened to a job: by polling, by waiting, or as a stream of server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

from fastapi import Depends, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.http.auth import Reader
from app.http.dependencies import Db, Feed, LastEventId, Seq
from app.http.router import api_router
from app.http.schemas import Page
from app.jobs.events import EventOut, event_out, wait_for_events
from app.jobs.read import check_job_exists
from app.ledger.platform.keys import Caller

router = api_router("events", "/v1/jobs/{job_id}/events")


def _own_job(caller: Reader, db: Db, job_id: str) -> str:
    """The job's id, if it is the caller's. A dependency: a stream that has begun can no longer answer 404."""
    check_job_exists(db, caller.project_id, job_id)
    return job_id


async def _room_for_one(caller: Reader, feed: Feed) -> Caller:
    """The caller, who may open one more stream."""
    feed.check_room(caller.key_id)
    return caller


OwnJob = Annotated[str, Depends(_own_job)]
RoomForOne = Annotated[Caller, Depends(_room_for_one)]


@router.get("", summary="List the events of a job, oldest first")
async def list_(
    db: Db,
    feed: Feed,
    job: OwnJob,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Seq = 0,
    wait: Annotated[float, Query(ge=0, le=30, description="Seconds to wait for one if there is none.")] = 0,
) -> Page[EventOut]:
    # Async, so that waiting clients do not occupy the threads that serve the others.
    return await wait_for_events(db, feed, job, limit=limit, after=after, wait=wait)


@router.get("/stream", summary="Stream the events of a job", response_class=EventSourceResponse)
async def stream(
    caller: RoomForOne, feed: Feed, job: OwnJob, after: LastEventId
) -> AsyncIterator[ServerSentEvent]:
    """Replay the events after Last-Event-ID (or `after`), continue live, and end with the event `done`.

    Without `done` it has ended because the server stops (connect again, with Last-Event-ID) or because the
    key was revoked or has expired.
    """
    with feed.stream_of(caller.key_id) as held:
        async with aclosing(feed.follow(job, after, held)) as news:
            async for events in news:
                for event in events:
                    yield ServerSentEvent(id=str(event.seq), event=event.type, data=event_out(event))
    if not feed.closing and not held.revoked:
        yield ServerSentEvent(event="done", data={"job": job})
