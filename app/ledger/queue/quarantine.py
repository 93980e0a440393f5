"""Workers whose GPU is sick: they claim nothing until an operator releases them, and fit no model meanwhile.

A GPU that fails every step is free sooner than the others, and would fail every job. That a GPU process died
may as well be the job's fault: a step that fails on two workers speaks against neither.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.database import clock
from app.tables.jobs import Step
from app.tables.platform import Worker

# Codes of failures (worker/failures.py) that may be a GPU's.
GPU_FAILURES = frozenset({"gpu_process_died", "gpu_process_failed", "gpu_stalled"})


def note_failure(step: Step) -> None:
    """Note on a running step that the GPU of its worker failed it."""
    if step.failed_on not in (None, step.lease_owner):
        step.fails_anywhere = True
    step.failed_on, step.failed_at = step.lease_owner, clock()


def failed_only_here(session: Session, worker_id: str, step_ids: Collection[str]) -> set[str]:
    """Those of the steps whose GPU failed on this worker and on no other."""
    here = select(Step.id).where(Step.failed_on == worker_id, Step.fails_anywhere.is_(False))
    return set(session.scalars(here.where(Step.id.in_(step_ids))))


def note_sick(session: Session, worker_id: str, reason: str) -> None:
    """Let the worker claim nothing until it is released. What it holds goes on."""
    sick = update(Worker).where(Worker.id == worker_id, Worker.sick.is_(None))
    session.execute(sick.values(sick=reason, sick_since=clock()))


def sick_because(session: Session, worker_id: str) -> str | None:
    """Why a worker claims nothing; None: it is well, or unknown."""
    return session.scalar(select(Worker.sick).where(Worker.id == worker_id))


def release(session: Session, worker_id: str) -> Worker | None:
    """Let a worker claim again, once it has passed its self-test; nothing where it is well. None: unknown."""
    worker = session.get(Worker, worker_id)
    if worker is not None:
        worker.sick = worker.sick_since = None
    return worker


def sick_workers(session: Session) -> int:
    """How many rows of workers are in quarantine."""
    return session.scalar(select(func.count()).select_from(Worker).where(Worker.sick.is_not(None))) or 0
