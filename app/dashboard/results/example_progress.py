"""What a job's model still fails of the train examples."""

from __future__ import annotations

from fastapi import Request, Response

from app.dashboard.rendering import page
from app.dashboard.session import Viewer
from app.http.dependencies import Db
from app.http.router import page_router
from app.http.schemas import After
from app.jobs.read import read_job
from app.ledger.jobs.example_progress import ExampleState
from app.results.example_progress import read_example_progress

router = page_router("/jobs/{job_id}/examples")
ROWS = 50


@router.get("")
def browse(
    request: Request,
    caller: Viewer,
    db: Db,
    job_id: str,
    state: ExampleState | None = None,
    after: After = None,
) -> Response:
    """The filter is that of GET /v1/jobs/{id}/examples."""
    found = read_example_progress(db, caller.project_id, job_id, state, limit=ROWS, after=after)
    job = read_job(db, caller.project_id, job_id)
    return page(
        request, "examples.html", caller, job=job, found=found, state=state, states=list(ExampleState)
    )
