"""The legal paths of a job and of a step, and the functions that move them along these."""

from __future__ import annotations

from typing import Any

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from app.database import clock
from app.ledger.events import append_event
from app.ledger.traces import record_end
from app.tables.base import WITH_DELETED
from app.tables.jobs import Job, Step
from app.tables.statuses import JobStatus, StepStatus

_J = JobStatus
JOB_TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    _J.VALIDATING: frozenset({_J.QUEUED, _J.FAILED, _J.CANCELLED}),
    _J.QUEUED: frozenset({_J.RUNNING, _J.PAUSED, _J.CANCELLED, _J.FAILED}),
    _J.RUNNING: frozenset({_J.PAUSING, _J.PAUSED, _J.CANCELLING, _J.CANCELLED, _J.SUCCEEDED, _J.FAILED}),
    _J.PAUSING: frozenset({_J.PAUSED, _J.CANCELLING, _J.CANCELLED, _J.SUCCEEDED, _J.FAILED}),
    _J.PAUSED: frozenset({_J.QUEUED, _J.RUNNING, _J.CANCELLED}),
    _J.CANCELLING: frozenset({_J.CANCELLED}),
    _J.CANCELLED: frozenset(),
    _J.SUCCEEDED: frozenset(),
    _J.FAILED: frozenset({_J.QUEUED, _J.RUNNING}),  # by a retry that somebody asked for
}

_S = StepStatus
STEP_TRANSITIONS: dict[StepStatus, frozenset[StepStatus]] = {
    _S.QUEUED: frozenset({_S.RUNNING, _S.HELD, _S.CANCELLED}),
    _S.HELD: frozenset({_S.QUEUED, _S.CANCELLED}),
    _S.RUNNING: frozenset({_S.QUEUED, _S.HELD, _S.SUCCEEDED, _S.FAILED, _S.CANCELLED}),
    _S.SUCCEEDED: frozenset(),
    _S.FAILED: frozenset({_S.QUEUED}),  # where its job is retried
    _S.CANCELLED: frozenset({_S.QUEUED}),
}

# A job that has ended goes on only where somebody retries a failed one.
TERMINAL = frozenset({_J.CANCELLED, _J.SUCCEEDED, _J.FAILED})
ENDED_STEPS = frozenset({_S.SUCCEEDED, _S.FAILED, _S.CANCELLED})


class JobGone(Exception):
    """The job has been deleted and removed: nothing can be recorded for it any more."""


def lock_job(session: Session, job_id: str) -> Job:
    """The job's row, locked until the transaction ends. Always taken before any of its steps.

    Raises JobGone.

    FOR NO KEY UPDATE (`key_share`): rows that refer to the job (a rationale being recorded under its step's
    lock) are inserted meanwhile. With FOR UPDATE they would wait for the job, and the reaper for their step.
    """
    query = select(Job).where(Job.id == job_id).with_for_update(key_share=True)
    # A deleted one too: a worker that wakes up after the deletion still has to end its step.
    found = session.scalars(query, execution_options={"populate_existing": True, **WITH_DELETED})
    job = found.one_or_none()
    if job is None:
        raise JobGone(job_id)
    return job


class IllegalTransition(RuntimeError):
    """A bug, never a user's mistake: the caller must have checked the status under the job's lock."""


def move_job(session: Session, job: Job, to: JobStatus, **data: Any) -> None:
    """Change a job's status and write the event `job.<status>`. The caller holds the job's row lock."""
    if to not in JOB_TRANSITIONS.get(job.status, ()):
        raise IllegalTransition(f"job {job.id}: {job.status} -> {to}")
    job.status = to
    job.finished_at = None
    if to is JobStatus.RUNNING and job.started_at is None:
        job.started_at = clock()
    if to in TERMINAL:
        job.finished_at = clock()
        job.phase = None
    append_event(session, job, f"job.{to}", data)
    if to in TERMINAL:
        record_end(session, job)


def drop_waiting_steps(session: Session, job: Job) -> None:
    """Cancel what is queued or held; running steps learn of it from their next heartbeat."""
    waiting = Step.status.in_([StepStatus.QUEUED, StepStatus.HELD])
    session.execute(
        update(Step)
        .where(Step.job_id == job.id, waiting)
        .values(status=StepStatus.CANCELLED, finished_at=clock())
    )


def settle(session: Session, job: Job) -> None:
    """Complete a pause or a cancel once no step of the job runs any more."""
    target = {JobStatus.PAUSING: JobStatus.PAUSED, JobStatus.CANCELLING: JobStatus.CANCELLED}.get(job.status)
    if target is None:
        return
    session.flush()
    running = exists().where(Step.job_id == job.id, Step.status == StepStatus.RUNNING)
    if not session.scalar(select(running)):
        move_job(session, job, target)


def move_step(session: Session, step_id: str, to: StepStatus) -> None:
    """Change a step's status and end its lease. The caller holds the job's row lock."""
    step = session.get_one(Step, step_id, populate_existing=True, with_for_update={"key_share": True})
    if to not in STEP_TRANSITIONS.get(step.status, ()):
        raise IllegalTransition(f"step {step.id}: {step.status} -> {to}")
    step.status = to
    step.lease_owner = None
    step.lease_until = None
    if to in ENDED_STEPS:
        step.finished_at = clock()
    session.flush()
