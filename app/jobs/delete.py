"""Deletes and archives jobs."""

from __future__ import annotations

from sqlalchemy import Engine

from app.database import transaction
from app.failpoints import failpoint
from app.http.ranges import ANY_VERSION, Expected
from app.jobs.views import JobOut, show_job
from app.ledger.deletion import mark
from app.ledger.jobs.jobs import get_job


def delete_job(
    db: Engine,
    project_id: str,
    job_id: str,
    *,
    baselines: bool = False,
    expected: Expected = ANY_VERSION,
) -> None:
    """From then on it is not there. Raises Conflict while it is active, or where something depends on it."""
    with transaction(db) as session:
        job = get_job(session, project_id, job_id)
        expected.check(session, job, lambda: show_job(session, job))
        mark.delete_job(session, job.id, baselines=baselines)
    failpoint("delete.after_mark")


def archive_job(db: Engine, project_id: str, job_id: str, *, archived: bool) -> tuple[JobOut, bool]:
    """The job, and whether this changed it."""
    with transaction(db) as session:
        get_job(session, project_id, job_id)
        job, changed = mark.archive_job(session, job_id, archived=archived)
        return show_job(session, job), changed
