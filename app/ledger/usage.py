"""GPU-seconds: one row per claim of a step, written in the transaction that ends the claim."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database import clock
from app.ledger.transitions import StepStatus
from app.models.jobs import Job, Step
from app.models.usage import Usage
from star_engine.loop import PhaseName

Outcome = Literal["succeeded", "failed", "handed_back", "lost"]

GPU_PHASES = tuple(phase.value for phase in PhaseName if phase is not PhaseName.BUILD)


def record_usage(session: Session, job: Job, step: Step, outcome: Outcome) -> None:
    """Count what the claim that ends now has held a GPU for. The caller holds the step, still running.

    A lost worker is charged up to the end of its lease: by then it has freed its GPU (worker/lease.py).
    """
    now = session.scalars(select(clock())).one()
    ended = min(now, step.lease_until or now) if outcome == "lost" else now
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
            outcome=outcome,
        )
    )


def gpu_seconds_spent(session: Session, job_id: str) -> float:
    """What a job has used so far, the claims that are held right now included."""
    ended = select(func.sum(Usage.gpu_seconds)).where(Usage.job_id == job_id)
    running = select(Step).where(Step.job_id == job_id, Step.status == StepStatus.RUNNING.value)
    now = session.scalars(select(clock())).one()
    return (session.scalar(ended) or 0.0) + sum(_gpu_seconds(step, now) for step in session.scalars(running))


def _gpu_seconds(step: Step, ended: datetime) -> float:
    if step.phase not in GPU_PHASES or step.started_at is None:
        return 0.0
    return max(0.0, (ended - step.started_at).total_seconds())
