"""What workers did for a job, in words."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from app.http.auth import Reader
from app.http.dependencies import Db
from app.http.router import api_router
from app.http.schemas import After, LongLimit, Page
from app.jobs.events import LogOut, read_logs
from app.ledger.jobs.logs import Level, LogFilter
from star_engine.loop import PhaseName

router = api_router("events", "/v1/jobs/{job_id}/logs")


@router.get("", summary="List the log lines of a job, oldest first")
def list_(
    caller: Reader,
    db: Db,
    job_id: str,
    level: Annotated[Level | None, Query(description="This level and those above it.")] = None,
    phase: PhaseName | None = None,
    iteration: Annotated[int | None, Query(ge=0, le=10_000)] = None,
    limit: LongLimit = 100,
    after: After = None,
) -> Page[LogOut]:
    """One line for each claim of a step that has ended: how, after how long, and what went wrong. Operators
    see the stack trace of a failure too.
    """
    return read_logs(db, caller, job_id, LogFilter(level, phase, iteration), limit=limit, after=after)
