"""A job's budget: GPU-seconds and a deadline. Once either is used up, nothing new of the job begins."""

from __future__ import annotations

import structlog
from sqlalchemy import Engine, exists, or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.database import clock, reading, transaction
from app.ledger.platform.usage import gpu_seconds_spent
from app.ledger.transitions import drop_waiting_steps, lock_job, move_job
from app.tables.jobs import Job
from app.tables.rationales import Adapter
from app.tables.statuses import JobStatus
from star_engine.adapters.roles import AdapterRole
from star_engine.loop import StopReason

log = structlog.get_logger()

ENFORCED = (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PAUSING)


def exhausted(session: Session, job: Job) -> StopReason | None:
    """Which part of its budget a job has used up, if any. Steps that run right now count."""
    if job.deadline_at is not None and session.scalars(select(clock())).one() >= job.deadline_at:
        return StopReason.DEADLINE
    if job.budget_gpu_seconds is None:
        return None
    spent = gpu_seconds_spent(session, job.id) >= job.budget_gpu_seconds
    return StopReason.BUDGET_EXHAUSTED if spent else None


def end_exhausted(session: Session, job: Job) -> bool:
    """End a job whose budget is used up; whether it was. The caller holds the job's row lock.

    With an adapter that is proven to load it has succeeded, with less than was hoped for; without one it has
    failed. Either way everything recorded stays. Running steps learn of it from their next heartbeat.
    """
    if job.status not in ENFORCED or (reason := exhausted(session, job)) is None:
        return False
    job.stop_reason = reason
    drop_waiting_steps(session, job)
    verified = exists().where(
        Adapter.job_id == job.id,
        Adapter.role.in_((AdapterRole.GENERATOR, AdapterRole.QUIET)),
        Adapter.verification.is_not(None),
    )
    if job.status != JobStatus.QUEUED and session.scalar(select(verified)):
        move_job(session, job, JobStatus.SUCCEEDED, stop_reason=reason)
        return True
    job.status_reason = {
        "code": "deadline_exceeded" if reason is StopReason.DEADLINE else reason,
        "category": "user",
        "message": "The job's budget was used up before it had an adapter that is proven to load.",
        "hint": "Create it again with a larger budget, or with fewer examples or iterations.",
        "phase": job.phase,
        "iteration": job.iteration,
    }
    move_job(session, job, JobStatus.FAILED, **job.status_reason)
    return True


def end_all_exhausted(engine: Engine) -> int:
    """End every job whose budget is used up; returns how many. Any number of schedulers may ask at once."""
    limited = or_(Job.budget_gpu_seconds.is_not(None), Job.deadline_at <= clock())
    with reading(engine) as session:
        jobs = session.scalars(select(Job).where(Job.status.in_(ENFORCED), limited)).all()
        over = [job.id for job in jobs if exhausted(session, job) is not None]
    ended = 0
    for job_id in over:
        try:
            with transaction(engine) as session:
                ended += end_exhausted(session, lock_job(session, job_id))
        except SQLAlchemyError as error:
            log.warning("budget_not_enforced", job=job_id, error=type(error).__name__)
    return ended
