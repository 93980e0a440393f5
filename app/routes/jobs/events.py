"""What happened to a job: by polling, by waiting, or as a stream of server-sent events."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query

from app.http.auth import Reader
from app.http.dependencies import Db, Feed, LastEventId, Seq
from app.http.events.sse import EventStream, stream_of
from app.http.router import api_router
from app.http.schemas import Page
from app.jobs.events import EventOut, event_out, wait_for_events
from app.ledger.platform.keys import Caller

router = api_router("events", "/v1/jobs/{job_id}/events")


async def _own_job(caller: Reader, feed: Feed, job_id: str) -> str:
    """The job's id, if it is the caller's. A dependency: a stream that has begun can no longer answer 404."""
    await feed.check_own_job(caller.project_id, job_id)
    return job_id


async def _room_for_one(caller: Reader, feed: Feed) -> Caller:
    """The caller, who may open one more stream."""
    feed.check_room(caller.key_id)
    return caller


EVENT_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/event-stream": {
                "itemSchema": {
                    "type": "object",
                    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
                }
            }
        }
    }
}
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


@router.get(
    "/stream",
    summary="Stream the events of a job",
    response_class=EventStream,
    responses=EVENT_STREAM,
)
async def stream(caller: RoomForOne, feed: Feed, job: OwnJob, after: LastEventId) -> EventStream:
    """Replay the events after Last-Event-ID (or `after`), continue live, and end with the event `done`.

    Without `done` it has ended because the server stops (connect again, with Last-Event-ID) or because the
    key was revoked or has expired.
    """
    return stream_of(feed, caller.key_id, job, after, event_out)
