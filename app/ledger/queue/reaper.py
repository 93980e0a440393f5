"""Requeues steps whose lease expired and re-sends lost notifications."""

from __future__ import annotations

import structlog
from sqlalchemy import Engine, exists, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from app.database import clock, reading, transaction
from app.failpoints import failpoint
from app.ledger.queue.dispatch import is_due
from app.ledger.queue.outbox import notify
from app.ledger.queue.steps import end_attempt
from app.ledger.transitions import JobGone, lock_job
from app.settings import Settings
from app.tables.jobs import Outbox, Step
from app.tables.statuses import StepStatus

log = structlog.get_logger()

RINGS_PER_TURN = 100  # the oldest; the rest follow when these are gone

WORKER_LOST = {
    "code": "worker_lost",
    "category": "platform",
    "message": "The worker that held this step stopped answering.",
    "hint": "The step is tried again by itself. If it keeps happening, look at the worker's log and memory.",
}


def reap(engine: Engine, settings: Settings) -> int:
    """Return every step with an expired lease to the queue (or fail its job); returns how many.

    Any number of reapers may run at once: under the job's lock, one of them finds the lease expired. A job
    whose row somebody holds on to (a stopped process) is left for the next turn, and the others are served.
    """
    with reading(engine) as session:
        expired = (Step.status == StepStatus.RUNNING, Step.lease_until < clock())
        overdue = session.execute(select(Step.id, Step.job_id).where(*expired).order_by(Step.id)).all()
    reaped = 0
    for step_id, job_id in overdue:
        try:
            reaped += _reap_one(engine, settings, step_id, job_id)
        except (JobGone, SQLAlchemyError) as error:
            log.warning("step_not_reaped", step=step_id, error=type(error).__name__)
    return reaped


def _reap_one(engine: Engine, settings: Settings, step_id: str, job_id: str) -> bool:
    with transaction(engine) as session:
        job = lock_job(session, job_id)
        still = select(Step.id).where(
            Step.id == step_id, Step.status == StepStatus.RUNNING, Step.lease_until < clock()
        )
        if session.scalar(still.with_for_update(key_share=True)) is None:
            return False
        error = dict(WORKER_LOST)
        end_attempt(session, job, step_id, error, retryable=True, settings=settings, outcome="lost")
        failpoint("reap.before_commit")
        return True


def notify_again(engine: Engine, settings: Settings) -> int:
    """Notify of queued steps whose notification may have been lost (the broker was wiped); returns how many.

    Not for those whose notification waits in the outbox: after a long outage the broker gets one per step.
    """
    with reading(engine) as session:
        silent = or_(Step.notified_at.is_(None), Step.notified_at < clock(-settings.redispatch_seconds))
        old_enough = Step.created_at < clock(-settings.redispatch_seconds)
        waiting = exists().where(Outbox.step_id == Step.id)
        query = select(Step.id).where(
            Step.status == StepStatus.QUEUED, old_enough, silent, ~waiting, is_due()
        )
        step_ids = list(session.scalars(query.order_by(Step.id).limit(RINGS_PER_TURN)))
    if not step_ids:
        return 0
    with transaction(engine) as session:
        session.execute(update(Step).where(Step.id.in_(step_ids)).values(notified_at=clock()))
        notify(session, step_ids)
    return len(step_ids)
