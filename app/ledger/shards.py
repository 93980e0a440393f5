"""How much of a sharded phase one worker takes: less towards the end, so that none finishes alone."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Float, cast, delete, func, select, update
from sqlalchemy.orm import Session

from app.database import clock, new_id
from app.ledger.outbox import ring
from app.ledger.transitions import StepStatus
from app.models.jobs import Step
from app.models.platform import Worker

LIVE_SECONDS = 600.0  # a worker that asked for work within this time is counted on
FORGOTTEN_SECONDS = 86_400.0  # every restart of a worker makes a new row
SMALLEST = 8  # examples: a smaller shard costs more in batches half full than it saves in waiting


def saw_worker(session: Session, worker_id: str) -> None:
    """Note that this worker asks for work."""
    known = update(Worker).where(Worker.id == worker_id).values(seen_at=clock())
    if session.execute(known.returning(Worker.id)).first() is None:
        session.execute(delete(Worker).where(Worker.seen_at < clock(-FORGOTTEN_SECONDS)))
        session.add(Worker(id=worker_id, seen_at=clock()))
        session.flush()


def live_workers(session: Session) -> int:
    """How many workers may take a part of what is queued."""
    recent = select(func.count()).select_from(Worker).where(Worker.seen_at > clock(-LIVE_SECONDS))
    return session.scalar(recent) or 0


def leave_some(session: Session, step: Step) -> None:
    """Cut a just claimed shard down to this worker's share; the rest becomes a step of its own.

    The share is half of an even division of all that is queued between the live workers (guided
    self-scheduling): early shards stay whole, the last ones end at about the same time. The caller holds the
    job's lock. What an earlier attempt recorded of the rest is found by whoever takes it.
    """
    if "stop" not in step.work:
        return
    workers = live_workers(session)
    start, stop = step.work["start"], step.work["stop"]
    if workers < 2 or stop - start < 2 * SMALLEST:
        return
    share = max(SMALLEST, -(-(stop - start + _queued_examples(session, step)) // (2 * workers)))
    if stop - start - share < SMALLEST:
        return
    rest = Step(
        id=new_id("step"),
        job_id=step.job_id,
        iteration_number=step.iteration_number,
        phase=step.phase,
        shard=_next_shard(session, step),
        work={**step.work, "start": start + share},
        model_id=step.model_id,
        priority=step.priority,
        status=StepStatus.QUEUED.value,
        progress={},
    )
    step.work = {**step.work, "stop": start + share}
    session.add(rest)
    session.flush()
    ring(session, [rest.id])


def _queued_examples(session: Session, step: Step) -> int:
    size = cast(Step.work["stop"].as_integer() - Step.work["start"].as_integer(), Float)
    queued = select(func.sum(size)).where(*_phase_of(step), Step.status == StepStatus.QUEUED.value)
    return int(session.scalar(queued) or 0)


def _next_shard(session: Session, step: Step) -> int:
    return int(session.scalar(select(func.max(Step.shard)).where(*_phase_of(step))) or 0) + 1


def _phase_of(step: Step) -> tuple[Any, ...]:
    return (
        Step.job_id == step.job_id,
        Step.iteration_number == step.iteration_number,
        Step.phase == step.phase,
    )
