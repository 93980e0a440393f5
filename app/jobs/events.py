"""What happened to a job, as it is shown."""

from __future__ import annotations

from typing import Any, Literal

from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Engine

from app.database import reading
from app.http.event_feed import EventFeed
from app.http.schemas import Page, Resource, page
from app.ledger.event_tail import replay
from app.ledger.events import newest_events
from app.ledger.jobs.jobs import get_job
from app.tables.jobs import Event


class EventOut(Resource):
    object: Literal["event"] = "event"
    seq: int
    type: str
    data: dict[str, Any]


async def wait_for_events(
    db: Engine, feed: EventFeed, job_id: str, *, limit: int, after: int, wait: float
) -> Page[EventOut]:
    """A page of the events after `after`, oldest first; waits up to `wait` seconds if there are none yet."""
    position, events = await run_in_threadpool(replay, db, job_id, after, limit + 1)
    if wait > 0 and not (events or position.ended):
        events = await feed.wait(job_id, after, position, wait)
    return page([event_out(event) for event in events], limit)


def read_newest_events(db: Engine, project_id: str, job_id: str, limit: int) -> list[EventOut]:
    """The job's last events, newest first."""
    with reading(db) as session:
        job = get_job(session, project_id, job_id)
        return [event_out(event) for event in newest_events(session, job.id, None, limit)]


def event_out(event: Event) -> EventOut:
    return EventOut(
        id=f"evt_{event.job_id}_{event.seq}",
        created_at=event.created_at,
        seq=event.seq,
        type=event.type,
        data=event.data,
    )
