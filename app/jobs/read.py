"""Jobs of a project as they are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

import anyio
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.database import reading
from app.http.schemas import Page, page
from app.jobs.views import JobOut, show_job, show_jobs
from app.ledger.jobs.facts import best_accuracies
from app.ledger.jobs.jobs import get_job
from app.ledger.jobs.lists import JobFilter, list_jobs
from app.ledger.transitions import TERMINAL
from app.tables.jobs import Job
from app.turns import give_turn_back

POLL_SECONDS = 0.25
Get = Callable[[Session, str, str], Job]  # by project and job; raises NotFound


def read_job(db: Engine, project_id: str, job_id: str) -> JobOut:
    with reading(db) as session:
        return show_job(session, get_job(session, project_id, job_id))


def read_jobs(
    db: Engine, project_id: str, where: JobFilter, *, limit: int, after: str | None = None
) -> Page[JobOut]:
    """A page of the project's jobs, in the order that `where` names."""
    with reading(db) as session:
        found = list_jobs(session, project_id, where=where, after=after, limit=limit + 1)
        return page(show_jobs(session, found), limit)


def check_job_exists(db: Engine, project_id: str, job_id: str) -> None:
    """Raises NotFound. For streams, which can no longer answer 404 once they have begun."""
    with reading(db) as session:
        get_job(session, project_id, job_id)


def read_best_accuracies(db: Engine, job_ids: Sequence[str]) -> dict[str, tuple[float, int | None]]:
    """The highest held-out accuracy of each of these jobs that has one, and of how many questions it is."""
    if not job_ids:
        return {}
    with reading(db) as session:
        return best_accuracies(session, job_ids)


async def wait_for_end(db: Engine, project_id: str, job_id: str, seconds: float, get: Get) -> None:
    """Return once the job has ended, or after so many seconds. Each look reads its status alone."""
    deadline = monotonic() + seconds
    while not await run_in_threadpool(_has_ended, db, project_id, job_id, get):
        left = deadline - monotonic()
        if left <= 0:
            return
        give_turn_back()
        await anyio.sleep(min(POLL_SECONDS, left))


def _has_ended(db: Engine, project_id: str, job_id: str, get: Get) -> bool:
    with reading(db) as session:
        return get(session, project_id, job_id).status in TERMINAL
