"""What happened to a job, as it is shown."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi.concurrency import run_in_threadpool
from pydantic import Field
from sqlalchemy import Engine

from app.database import reading
from app.errors import BadRequest
from app.http.events.feed import EventFeed
from app.http.schemas import Page, Resource, page
from app.ledger.event_tail import replay
from app.ledger.events import newest_events
from app.ledger.jobs.jobs import get_job
from app.ledger.jobs.logs import Level, LogFilter, list_logs
from app.ledger.platform.keys import Caller, Scope
from app.tables.jobs import Event
from app.tables.logs import JobLog


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


class LogOut(Resource):
    """How one claim of a step ended."""

    object: Literal["log"] = "log"
    job: str
    iteration: int
    phase: str
    shard: int
    attempt: int
    level: Level
    text: str
    worker: str | None
    trace: Annotated[str | None, Field(description="The stack trace of a failure; for operators alone.")]


def read_logs(
    db: Engine, caller: Caller, job_id: str, wanted: LogFilter, *, limit: int, after: str | None = None
) -> Page[LogOut]:
    """A page of the job's log, oldest first."""
    with reading(db) as session:
        job = get_job(session, caller.project_id, job_id)
        found = list_logs(session, job.id, wanted, after=_row_id(after), limit=limit + 1)
    traces = caller.may(Scope.OPERATOR)
    return page([_out(row, traces=traces) for row in found], limit)


def _row_id(log_id: str | None) -> int | None:
    if log_id is None:
        return None
    number = log_id.removeprefix("log_")
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise BadRequest(f"{log_id!r} is no id of a log line: they look like log_12.")
    return int(number)


def _out(row: JobLog, *, traces: bool) -> LogOut:
    return LogOut(
        id=f"log_{row.id}",
        created_at=row.created_at,
        job=row.job_id,
        iteration=row.iteration_number,
        phase=row.phase,
        shard=row.shard,
        attempt=row.attempt,
        level=Level(row.level),
        text=row.text,
        worker=row.worker,
        trace=row.trace if traces else None,
    )
