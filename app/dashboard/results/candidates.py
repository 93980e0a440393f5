"""Accuracy over k answers to each held-out question, and the answers themselves."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Response

from app.dashboard.jobs.test_time import chart
from app.dashboard.rendering import page
from app.dashboard.results.verdict_words import VERDICTS
from app.dashboard.session import Viewer
from app.http.dependencies import Db
from app.http.router import page_router
from app.http.schemas import After
from app.jobs.read import read_job
from app.results.candidates import CandidatesWanted, read_candidates, read_test_time

router = page_router("/jobs/{job_id}/test-time")
ROWS = 25


@router.get("")
def browse(
    request: Request,
    caller: Viewer,
    db: Db,
    job_id: str,
    wanted: Annotated[CandidatesWanted, Depends()],
    after: After = None,
) -> Response:
    """Filters are those of GET /v1/jobs/{id}/candidates."""
    measured = read_test_time(db, caller.project_id, job_id)
    found = read_candidates(db, caller.project_id, job_id, wanted, limit=ROWS, after=after)
    return page(
        request,
        "test_time.html",
        caller,
        job=read_job(db, caller.project_id, job_id),
        found=found,
        wanted=wanted,
        measured=measured.data,
        spec=chart(measured.data),
        verdicts=[(name, name) for name in VERDICTS],
        iteration_names=[(one.iteration, one.iteration or "0, base model") for one in measured.data],
    )
