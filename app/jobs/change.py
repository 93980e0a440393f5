"""Cancels, pauses and resumes a job; renames it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.database import transaction
from app.errors import Invalid
from app.http.ranges import ANY_VERSION, Expected
from app.http.schemas import MAX_METADATA, In, MetadataKey, MetadataValue, Name
from app.jobs.views import JobOut, show_job
from app.ledger.jobs import jobs as ledger
from app.ledger.jobs import retry
from app.settings import Settings
from app.tables.jobs import Job


class ResumeIn(In):
    """`accept` names the reason the job paused itself for, to resume despite it."""

    accept: Literal["no_spark"] | None = None


class JobChanges(In):
    """What people call a job. What it does is settled when it is made."""

    name: Name | None = None
    metadata: (
        Annotated[
            dict[Annotated[MetadataKey, Field(min_length=1)], MetadataValue | None],
            Field(max_length=2 * MAX_METADATA),
        ]
        | None
    ) = Field(default=None, description="Merged into what there is; null removes an entry.")


def describe_job(
    db: Engine, project_id: str, job_id: str, sent: JobChanges, expected: Expected = ANY_VERSION
) -> JobOut:
    """The job under its new name and metadata. Raises Invalid for more entries than a job may have."""
    with transaction(db) as session:
        job = ledger.get_job(session, project_id, job_id)
        expected.check(session, job, lambda: show_job(session, job))
        if sent.name is not None:
            job.name = sent.name
        merged = {**job.labels, **(sent.metadata or {})}
        labels = {name: value for name, value in merged.items() if value is not None}
        if len(labels) > MAX_METADATA:
            reason = f"A job has {MAX_METADATA} entries at most, and this one would have {len(labels)}."
            raise Invalid.for_field("metadata", reason, "Remove some: send null for them.", code="too_many")
        job.labels = labels
        session.flush()
        return show_job(session, job)


def cancel_job(db: Engine, project_id: str, job_id: str, *, baselines: bool = False) -> tuple[JobOut, bool]:
    """The job, and whether this changed its status; with `baselines` those alongside it are cancelled too."""
    return _changed(db, project_id, job_id, ledger.cancel_family if baselines else ledger.cancel_job)


def pause_job(db: Engine, project_id: str, job_id: str) -> tuple[JobOut, bool]:
    """The job, and whether this changed its status."""
    return _changed(db, project_id, job_id, ledger.pause_job)


def resume_job(
    db: Engine, project_id: str, job_id: str, settings: Settings, sent: ResumeIn | None = None
) -> tuple[JobOut, bool]:
    """The job, and whether this changed its status. Raises Conflict where it paused itself for good."""
    accept = None if sent is None else sent.accept
    return _changed(
        db, project_id, job_id, lambda session, job: ledger.resume_job(session, job, settings, accept)
    )


def retry_job(db: Engine, project_id: str, job_id: str, settings: Settings) -> tuple[JobOut, bool]:
    """The job, and whether this changed its status. Raises Conflict where it has not failed."""
    return _changed(db, project_id, job_id, lambda session, job: retry.retry_job(session, job, settings))


def _changed(
    db: Engine, project_id: str, job_id: str, change: Callable[[Session, Job], Job]
) -> tuple[JobOut, bool]:
    with transaction(db) as session:
        job = ledger.get_job(session, project_id, job_id)
        before = job.status
        job = change(session, job)
        session.flush()
        return show_job(session, job), job.status != before
