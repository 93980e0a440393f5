"""Cancels, pauses and resumes a job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.database import transaction
from app.http.schemas import In
from app.jobs.views import JobOut, show_job
from app.ledger.jobs import jobs as ledger
from app.ledger.jobs import retry
from app.settings import Settings
from app.tables.jobs import Job


class ResumeIn(In):
    """`accept` names the reason the job paused itself for, to resume despite it."""

    accept: Literal["no_spark"] | None = None


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
