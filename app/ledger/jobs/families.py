"""A job and its relatives: the baselines beside it, the forks that went on from it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Text, and_, cast, exists, not_, or_, select
from sqlalchemy.orm import Session, aliased

from app.tables.jobs import Iteration, Job
from app.tables.statuses import JobStatus
from star_engine.loop import PhaseName

GOING_ON = [JobStatus.VALIDATING, JobStatus.QUEUED, JobStatus.RUNNING]


REPLICATE = "replicate"  # Job.baseline of the same job with another seed


def baselines_of(session: Session, job_id: str) -> Sequence[Job]:
    """The jobs that were asked for beside this one, in the order of the request."""
    return session.scalars(select(Job).where(Job.baseline_of == job_id).order_by(Job.id)).all()


def forks_of(session: Session, job_id: str) -> Sequence[Job]:
    """The jobs that went on from an iteration of this one, oldest first."""
    return session.scalars(select(Job).where(Job.forked_from == job_id).order_by(Job.id)).all()


def not_waiting() -> ColumnElement[bool]:
    """Whether a job's steps may be claimed: a baseline waits until the job beside it has sampled iteration 1.

    Till then both would ask the base model the same, and with several workers at the same moment. A job that
    is paused or has ended holds nobody up.
    """
    beside = aliased(Job)
    sampled = exists().where(
        and_(
            Iteration.job_id == beside.id,
            Iteration.number == 1,
            cast(Iteration.phases_done, Text).contains(f'"{PhaseName.SAMPLE}"'),
        )
    )
    asking = exists().where(beside.id == Job.baseline_of, beside.status.in_(GOING_ON), not_(sampled))
    return or_(Job.baseline_of.is_(None), not_(asking))
