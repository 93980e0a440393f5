"""Reports a job's results so far, alone or compared with others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Engine

from app.database import reading
from app.ledger.jobs.jobs import get_job
from app.ledger.jobs.report import JobReport, read_report
from app.ledger.platform.prices import Prices
from app.tables.jobs import Job


def read_job_report(
    db: Engine, project_id: str, job_id: str, compare: Sequence[str] = (), prices: Prices | None = None
) -> tuple[Job, JobReport]:
    """A job and its report, before it has a form. `compare` names other jobs of the project."""
    with reading(db) as session:
        job = get_job(session, project_id, job_id)
        others = [get_job(session, project_id, name) for name in compare]
        return job, replace(read_report(session, job, others), prices=prices)
