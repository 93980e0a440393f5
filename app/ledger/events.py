"""One append-only log per job with a gapless sequence, read by polling, streaming and webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.ledger.platform.deliveries import enqueue_event
from app.tables.jobs import Event, Job

EVENT_TYPES = (
    "job.created",
    "job.retried",
    "job.queued",
    "job.running",
    "job.pausing",
    "job.paused",
    "job.cancelling",
    "job.cancelled",
    "job.succeeded",
    "job.failed",
    "phase.started",
    "phase.finished",
    "iteration.finished",
    "adapter.verified",
    "step.retried",
)  # what a webhook can ask for by name; anything written is sent to those that ask for "*"


def append_event(session: Session, job: Job, type_: str, data: dict[str, Any]) -> None:
    """Write the job's next event. The caller holds the job's row lock, so the sequence has no gaps."""
    job.events_written += 1
    session.add(Event(job_id=job.id, seq=job.events_written, type=type_, data=data))
    enqueue_event(session, job, job.events_written, type_)


def list_events(session: Session, job_id: str, after: int, limit: int) -> Sequence[Event]:
    """Events with seq > after, oldest first."""
    query = select(Event).where(Event.job_id == job_id, Event.seq > after).order_by(Event.seq).limit(limit)
    return session.scalars(query).all()


def newest_events(session: Session, job_id: str, before: int | None, limit: int) -> Sequence[Event]:
    """Events with seq < before (None: all), newest first."""
    query = select(Event).where(Event.job_id == job_id).order_by(Event.seq.desc()).limit(limit)
    if before is not None:
        query = query.where(Event.seq < before)
    return session.scalars(query).all()
