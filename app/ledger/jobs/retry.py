"""Retries a job that has failed: it goes on from the step that failed, with all that it has recorded."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.errors import Conflict, NotFound
from app.ledger.events import append_event
from app.ledger.platform.quotas import check_resume
from app.ledger.queue.outbox import notify
from app.ledger.queue.planning import advance
from app.ledger.traces import new_trace
from app.ledger.transitions import lock_job, move_job
from app.settings import Settings
from app.tables.jobs import Job, Step
from app.tables.rationales import Adapter
from app.tables.statuses import JobStatus, StepStatus

WAS_OPEN = (StepStatus.FAILED, StepStatus.CANCELLED)  # of a failed job: what ended with it


def retry_job(session: Session, job: Job, settings: Settings) -> Job:
    """Go on with a failed job, whose steps are tried as if for the first time. Asked twice it goes on once.

    Raises Conflict for a job in any other state, or where an adapter that it goes on from was deleted, and
    QuotaExceeded.
    """
    job = lock_job(session, job.id)
    if job.deleted_at is not None:
        raise NotFound(f"There is no job {job.id}.")
    if job.status in (JobStatus.QUEUED, JobStatus.RUNNING):
        return job
    if job.texts_removed_at is not None:
        raise Conflict("Its texts were removed, as the project's retention says.", code="texts_removed")
    if job.status is not JobStatus.FAILED:
        raise Conflict(f"The job is {job.status}; only a failed one can be retried.", code="job_not_failed")
    _refuse_without_adapter(session, job)
    if job.started_at is not None:
        check_resume(session, job.project_id)
    reason = job.status_reason or {}
    append_event(session, job, "job.retried", {"code": reason.get("code"), "phase": reason.get("phase")})
    job.status_reason = job.stop_reason = job.archived_at = None
    job.trace = new_trace()
    move_job(session, job, JobStatus.QUEUED if job.started_at is None else JobStatus.RUNNING)
    again = {"status": StepStatus.QUEUED, "attempt": 0, "passing_failures": 0}
    again |= {"finished_at": None, "not_before": None}
    ended = update(Step).where(Step.job_id == job.id, Step.status.in_(WAS_OPEN))
    notify(session, session.scalars(ended.values(**again).returning(Step.id)).all())
    advance(session, job, settings)
    return job


def _refuse_without_adapter(session: Session, job: Job) -> None:
    """Sampling asks the adapter of the iteration before, an evaluation that of its own."""
    needed = (Adapter.job_id == job.id, Adapter.iteration_number >= job.iteration - 1)
    if session.scalar(select(Adapter.id).where(*needed, Adapter.deleted_at.is_not(None)).limit(1)):
        raise Conflict(
            "The adapter that the job would go on from has been deleted. Fork the job instead.",
            code="adapter_gone",
        )
