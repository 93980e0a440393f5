"""The list of jobs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from app.context import Db
from app.dashboard.rendering import page
from app.dashboard.session import Viewer
from app.job_filters import job_filter
from app.ledger.job_lists import JobFilter
from app.ledger.transitions import JobStatus
from app.routes import jobs
from app.schemas import After

router = APIRouter(prefix="/jobs")
ROWS = 50


@router.get("")
def list_(
    request: Request,
    caller: Viewer,
    db: Db,
    where: Annotated[JobFilter, Depends(job_filter)],
    after: After = None,
) -> Response:
    """Filters are those of GET /v1/jobs, in the URL."""
    found = jobs.list_(caller, db, where, ROWS, after)
    return page(request, "jobs.html", caller, found=found, where=where, statuses=list(JobStatus))
