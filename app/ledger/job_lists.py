"""Lists of jobs: filtered, newest first, page by page."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.ledger.planning import Purpose
from app.models.jobs import Job


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What a job must be to be listed; None and empty: anything."""

    statuses: Sequence[str] = ()
    model: str | None = None
    dataset: str | None = None
    name: str | None = None  # a part of it, in any case
    metadata: Mapping[str, str] = field(default_factory=dict)  # all of these
    created_after: datetime | None = None
    created_before: datetime | None = None


def list_jobs(
    session: Session, project_id: str, *, where: JobFilter, after: str | None, limit: int
) -> Sequence[Job]:
    """Newest first, without trials; `after` is the id of the last job seen."""
    query = select(Job).where(Job.project_id == project_id, Job.purpose != Purpose.TRIAL.value)
    if where.statuses:
        query = query.where(Job.status.in_(where.statuses))
    if where.model is not None:
        query = query.where(Job.model_id == where.model)
    if where.dataset is not None:
        query = query.where(Job.dataset_id == where.dataset)
    if where.name is not None:
        query = query.where(func.lower(Job.name).contains(where.name.lower(), autoescape=True))
    for key, value in where.metadata.items():
        query = query.where(Job.labels[key].as_string() == value)
    if where.created_after is not None:
        query = query.where(Job.created_at > where.created_after)
    if where.created_before is not None:
        query = query.where(Job.created_at < where.created_before)
    if after is not None:
        query = query.where(Job.id < after)
    return session.scalars(query.order_by(Job.id.desc()).limit(limit)).all()


def find_jobs(session: Session, job_ids: Collection[str]) -> dict[str, Job]:
    """Those of them that there are, of any project, by id."""
    return {job.id: job for job in session.scalars(select(Job).where(Job.id.in_(job_ids)))}
