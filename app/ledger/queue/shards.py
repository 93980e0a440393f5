"""Decides how much of a sharded phase one worker takes: less towards the end, so that all finish together."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Float, cast, func, select
from sqlalchemy.orm import Session

from app.database import new_id
from app.ledger.queue.capacity import fitting_workers
from app.ledger.queue.outbox import notify
from app.tables.data import Model
from app.tables.jobs import Step
from app.tables.statuses import StepStatus

SMALLEST = 8  # examples: a smaller shard costs more in batches half full than it saves in waiting


def leave_some(session: Session, step: Step) -> None:
    """Cut a just claimed shard to this worker's share; the rest becomes a new step.

    The share is half of an even division of all that is queued between the live workers that fit (guided
    self-scheduling): early shards stay whole, the last ones end at about the same time. The caller holds the
    job's lock. What an earlier attempt recorded of the rest is found by whoever takes it.
    """
    if "stop" not in step.work:
        return
    workers = fitting_workers(session, session.get_one(Model, step.model_id))
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
        status=StepStatus.QUEUED,
        progress={},
        traceparent=step.traceparent,
    )
    step.work = {**step.work, "stop": start + share}
    session.add(rest)
    session.flush()
    notify(session, [rest.id])


def _queued_examples(session: Session, step: Step) -> int:
    size = cast(Step.work["stop"].as_integer() - Step.work["start"].as_integer(), Float)
    queued = select(func.sum(size)).where(*_phase_of(step), Step.status == StepStatus.QUEUED)
    return int(session.scalar(queued) or 0)


def _next_shard(session: Session, step: Step) -> int:
    return int(session.scalar(select(func.max(Step.shard)).where(*_phase_of(step))) or 0) + 1


def _phase_of(step: Step) -> tuple[Any, ...]:
    return (
        Step.job_id == step.job_id,
        Step.iteration_number == step.iteration_number,
        Step.phase == step.phase,
    )
