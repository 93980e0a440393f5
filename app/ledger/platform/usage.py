"""GPU-seconds: one row per claim of a step, written in the transaction that ends the claim.

Claims that one worker holds at the same time (worker/shared_calls.py) share its time: between two moments at
which one of k begins or ends, each is charged 1 / k. Nothing more is stored for that: their `started_at` is
moved forward by the rest, so that each began so long ago as it is charged for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Literal

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from app.database import clock
from app.tables.jobs import Job, Step
from app.tables.platform import Worker
from app.tables.statuses import StepStatus
from app.tables.usage import Usage
from star_engine.phases.table import PHASES

Outcome = Literal["succeeded", "failed", "handed_back", "lost"]

GPU_PHASES = tuple(name for name, phase in PHASES.items() if phase.uses_gpu)


def record_usage(session: Session, job: Job, step: Step, outcome: Outcome) -> None:
    """Count what the claim that ends now has held a GPU for. The caller holds the step, still running.

    A lost worker is charged up to the end of its lease: by then it has freed its GPU (worker/lease.py).
    """
    now = session.scalars(select(clock())).one()
    ended = min(now, step.lease_until or now) if outcome == "lost" else now
    share_out(session, job.id, step.lease_owner or "", ended)
    worker = session.get(Worker, step.lease_owner or "")
    session.add(
        Usage(
            project_id=job.project_id,
            job_id=job.id,
            step_id=step.id,
            fence=step.fence,
            attempt=step.attempt,
            iteration_number=step.iteration_number,
            phase=step.phase,
            worker_id=step.lease_owner or "",
            gpu_seconds=_gpu_seconds(step, ended),
            model_id=step.model_id,
            gpu_class=None if worker is None else worker.gpu_class,
            gpus=1 if worker is None else worker.gpus,
            outcome=outcome,
        )
    )


def share_out(session: Session, job_id: str, worker_id: str, moment: datetime | None = None) -> None:
    """Divide what has passed between the claims that the worker holds, before one of them begins or ends.

    `moment`: of that; None: now. The caller holds the job's lock: a worker's claims are all of one job.
    """
    held = _running(session, Step.job_id == job_id, Step.lease_owner == worker_id)
    if len(held) < 2:
        return
    ends = select(func.max(Usage.created_at)).where(Usage.job_id == job_id, Usage.worker_id == worker_id)
    since = _last_change(held, session.scalar(ends))
    moment = moment or session.scalars(select(clock())).one()
    not_its_own = max(timedelta(), moment - since) * (1 - 1 / len(held))
    for step in held:
        step.started_at = _began(step) + not_its_own
    session.flush()


def gpu_seconds_spent(session: Session, job_id: str) -> float:
    """What a job has used so far, the claims that are held right now included."""
    spent = select(func.sum(Usage.gpu_seconds)).where(Usage.job_id == job_id)
    ends = select(Usage.worker_id, func.max(Usage.created_at)).where(Usage.job_id == job_id)
    last = {worker: end for worker, end in session.execute(ends.group_by(Usage.worker_id))}  # noqa: C416
    return (session.scalar(spent) or 0.0) + held_seconds(session, Step.job_id == job_id, last=last)


def held_seconds(
    session: Session, *which: ColumnElement[bool], last: Mapping[str, datetime] = MappingProxyType({})
) -> float:
    """GPU-seconds of the claims that run. `last`: when a claim of a worker ended last, by worker."""
    now = session.scalars(select(clock())).one()
    by_worker: dict[str, list[Step]] = defaultdict(list)
    for step in _running(session, Step.phase.in_(GPU_PHASES), *which):
        by_worker[step.lease_owner or ""].append(step)
    total = 0.0
    for worker, held in by_worker.items():
        since = _last_change(held, last.get(worker))
        before = sum(((since - _began(step)).total_seconds() for step in held), 0.0)
        total += max(0.0, (now - since).total_seconds()) + max(0.0, before)
    return total


def _running(session: Session, *which: ColumnElement[bool]) -> Sequence[Step]:
    query = select(Step).where(Step.status == StepStatus.RUNNING, Step.started_at.is_not(None), *which)
    return session.scalars(query.order_by(Step.id), execution_options={"populate_existing": True}).all()


def _last_change(held: Sequence[Step], ended: datetime | None) -> datetime:
    """Return when the worker's number of claims last changed."""
    began = max(_began(step) for step in held)
    return began if ended is None else max(began, ended)


def _began(step: Step) -> datetime:
    if step.started_at is None:
        raise ValueError(f"{step.id} has not begun")
    return step.started_at


def _gpu_seconds(step: Step, ended: datetime) -> float:
    if step.phase not in GPU_PHASES or step.started_at is None:
        return 0.0
    return max(0.0, (ended - step.started_at).total_seconds())
