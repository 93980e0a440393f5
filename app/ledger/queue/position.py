"""Computes each job's place in the queue, in the order that workers claim, and why it waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import func, literal, select
from sqlalchemy.orm import Session

from app.database import UtcDateTime, clock
from app.ledger.queue.capacity import fitting_by_model, live_workers
from app.tables.jobs import Job, Step
from app.tables.platform import Project
from app.tables.statuses import JobStatus, StepStatus

Why = Literal[
    "running", "next", "workers_busy", "no_worker", "no_fitting_worker", "retrying", "paused", "ending"
]
LONG_AGO = literal(datetime(1970, 1, 1, tzinfo=UTC), UtcDateTime())
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Place:
    """A job's place: `position` 1 is served next; None where it does not wait for a worker."""

    position: int | None
    steps_ahead: int | None  # queued steps of jobs before it
    reason: Why
    message: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job with queued steps."""

    job_id: str
    steps: int
    order: tuple[int, int, datetime, str]


@dataclass(frozen=True, slots=True)
class Queue:
    """All projects' queue at one moment; only numbers of it are ever shown."""

    waiting: tuple[Waiting, ...]  # in the order in which they are served
    running: dict[str, int]  # steps that run now, by job
    fitting: dict[str, int]  # live workers, by model
    retrying: dict[str, datetime]  # when the first step of a job is tried again whose steps all wait for that
    live: int  # workers
    busy: int  # workers: one may hold several steps


def read_queue(session: Session) -> Queue:
    """Six queries, however many jobs are to be shown."""
    by_job = (
        select(Job.id, Job.project_id, func.count(), func.count(Step.lease_owner.distinct()))
        .join(Step, Step.job_id == Job.id)
        .where(Step.status == StepStatus.RUNNING)
        .group_by(Job.id, Job.project_id)
    )
    running: dict[str, int] = {}
    of_project: dict[str, int] = {}
    for job_id, project_id, count, workers in session.execute(by_job):
        running[job_id] = count
        of_project[project_id] = of_project.get(project_id, 0) + workers
    queued = (
        select(
            Job.id, Project.id, Project.served_at, func.max(Step.priority), func.min(Step.id), func.count()
        )
        .join(Step, Step.job_id == Job.id)
        .join(Project, Project.id == Job.project_id)
        .where(Step.status == StepStatus.QUEUED)
        .group_by(Job.id, Project.id, Project.served_at)
    )
    waiting = [
        Waiting(job_id, steps, (of_project.get(project, 0), -priority, served or NEVER, first))
        for job_id, project, served, priority, first, steps in session.execute(queued)
    ]
    waiting.sort(key=lambda one: one.order)
    owners = select(func.count(Step.lease_owner.distinct())).where(Step.status == StepStatus.RUNNING)
    busy = session.scalar(owners) or 0
    due = func.min(func.coalesce(Step.not_before, LONG_AGO))
    later = select(Step.job_id, due).where(Step.status == StepStatus.QUEUED).group_by(Step.job_id)
    retrying = {job_id: when for job_id, when in session.execute(later.having(due > clock()))}  # noqa: C416
    fitting = fitting_by_model(session)
    return Queue(tuple(waiting), running, fitting, retrying, live_workers(session), busy)


def place_of(queue: Queue, job: Job) -> Place:
    """Return the place of an unfinished job."""
    status = job.status
    if status in (JobStatus.PAUSING, JobStatus.PAUSED):
        return Place(None, None, "paused", "It is paused; resume it to let it go on.")
    if status is JobStatus.CANCELLING:
        return Place(None, None, "ending", "It is being cancelled; its running steps stop.")
    if job.id in queue.running:
        count = queue.running[job.id]
        return Place(None, None, "running", f"{_steps(count)} of it {_is(count)} being worked on.")
    if job.id in queue.retrying:
        when = queue.retrying[job.id].strftime("%H:%M:%S UTC")
        message = f"The platform has failed it, and tries again at {when}. No attempt of its own is used up."
        return Place(None, None, "retrying", message)
    position, ahead = _position(queue, job.id)
    if queue.live == 0:
        return Place(position, ahead, "no_worker", "No worker is running. Tell the operator.")
    if job.model_id not in queue.fitting:
        message = f"None of the {queue.live} running workers has what the model {job.model_id} needs."
        return Place(position, ahead, "no_fitting_worker", message)
    if ahead == 0 and queue.busy < queue.fitting[job.model_id]:
        return Place(position, ahead, "next", "A worker is about to take it.")
    message = f"{queue.busy} of {queue.live} workers are busy and {_steps(ahead)} {_is(ahead)} before it."
    return Place(position, ahead, "workers_busy", message)


def _position(queue: Queue, job_id: str) -> tuple[int, int]:
    """A job between two phases has no queued step for a moment: it is behind nobody."""
    ahead = 0
    for number, one in enumerate(queue.waiting, start=1):
        if one.job_id == job_id:
            return number, ahead
        ahead += one.steps
    return 1, 0


def _steps(count: int) -> str:
    return f"{count} step" if count == 1 else f"{count} steps"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
