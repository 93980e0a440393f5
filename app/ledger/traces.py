"""A job's span: its id is made with the job, so that steps join it; it is recorded where the job ends."""

from __future__ import annotations

from sqlalchemy import event
from sqlalchemy.orm import Session

from app.tables.base import JsonObject
from app.tables.jobs import Job
from app.tables.statuses import JobStatus
from app.tracing.spans import Whole, is_on, new_root, record_whole


def new_trace() -> JsonObject | None:
    """What a job carries of its trace; None while tracing is off."""
    made = new_root()
    return None if made is None else {"traceparent": made[0], "parent": made[1]}


def job_traceparent(job: Job) -> str | None:
    """What the spans of a job's steps are below."""
    return None if job.trace is None else str(job.trace["traceparent"])


def record_end(session: Session, job: Job) -> None:
    """Record the span of a job that ends in this transaction, once that is committed."""
    if job.trace is None or not is_on():
        return
    session.flush()
    reason = job.status_reason or {}
    ended = Whole(
        "job",
        traceparent=job.trace["traceparent"],
        parent=job.trace["parent"],
        attributes={
            "star.job.id": job.id,
            "star.project.id": job.project_id,
            "star.job.purpose": job.purpose.value,
            "star.job.status": job.status.value,
            "star.job.stop_reason": job.stop_reason,
            "star.iteration": job.iteration,
            "gen_ai.request.model": job.model_id,
        },
        began=job.created_at,
        ended=job.finished_at or job.created_at,
        error_type=reason.get("code", "failed") if job.status is JobStatus.FAILED else None,
    )
    event.listen(session, "after_commit", lambda _: record_whole(ended), once=True)
