"""Lists of jobs: filtered and ordered, page by page."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from sqlalchemy import Select, func, select, tuple_
from sqlalchemy.orm import Session

from app.tables.jobs import Job
from app.tables.statuses import JobStatus, Purpose

Order = Literal["newest", "oldest", "name"]


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What a job must be to be listed, and in which order; None and empty: anything."""

    statuses: Sequence[JobStatus] = ()
    model: str | None = None
    dataset: str | None = None
    name: str | None = None  # a part of it, in any case
    metadata: Mapping[str, str] = field(default_factory=dict)  # all of these
    created_after: datetime | None = None
    created_before: datetime | None = None
    archived: bool = False  # those that are, and no others
    order: Order = "newest"


NOT_LISTED = (Purpose.TRIAL, Purpose.PROBE, Purpose.DRAFT)  # they are asked for by their own ids


def list_jobs(
    session: Session, project_id: str, *, where: JobFilter, after: str | None, limit: int
) -> Sequence[Job]:
    """List jobs without trials and probes; `after` is the last job id of the page before."""
    query = select(Job).where(Job.project_id == project_id, Job.purpose.not_in(NOT_LISTED))
    query = query.where(Job.archived_at.is_not(None) if where.archived else Job.archived_at.is_(None))
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
    return session.scalars(_ordered(query, where.order, after).limit(limit)).all()


def _ordered(query: Select[Job], order: Order, after: str | None) -> Select[Job]:
    """Order the jobs after `after`. Ids increase with time; jobs of one name come oldest first."""
    if order == "name":
        if after is not None:
            last = select(func.lower(Job.name)).where(Job.id == after).scalar_subquery()
            query = query.where(tuple_(func.lower(Job.name), Job.id) > tuple_(last, after))
        return query.order_by(func.lower(Job.name), Job.id)
    if after is not None:
        query = query.where(Job.id > after if order == "oldest" else Job.id < after)
    return query.order_by(Job.id if order == "oldest" else Job.id.desc())


def find_jobs(session: Session, job_ids: Collection[str]) -> dict[str, Job]:
    """Return those of these jobs that exist, of any project, by id."""
    return {job.id: job for job in session.scalars(select(Job).where(Job.id.in_(job_ids)))}


def newest_jobs_on(session: Session, project_id: str, dataset_ids: Collection[str]) -> dict[str, Job]:
    """The newest listed job on each of these datasets that has its texts, by the dataset's id."""
    query = select(func.max(Job.id)).where(Job.project_id == project_id, Job.dataset_id.in_(dataset_ids))
    query = query.where(Job.purpose.not_in(NOT_LISTED), Job.texts_removed_at.is_(None))
    found = find_jobs(session, session.scalars(query.group_by(Job.dataset_id)).all())
    return {job.dataset_id: job for job in found.values()}
