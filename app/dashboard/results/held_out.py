"""The held-out questions side by side over baselines and iterations: what was gained, and what was lost."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response

from app.dashboard.rendering import page
from app.dashboard.results.answers import MODES
from app.dashboard.session import Viewer
from app.http.dependencies import Db
from app.http.router import page_router
from app.jobs.read import read_job
from app.results.quality.held_out import Asked, State, read_held_out

router = page_router("/jobs/{job_id}/held-out")
ROWS = 50
MEANING = {
    State.LOST: "right before, wrong now",
    State.GAINED: "wrong before, right now",
    State.WAVERING: "the same by both, otherwise in between",
    State.WRONG: "wrong by all",
    State.RIGHT: "right by all",
}
Name = Annotated[str | None, Query(max_length=20)]


@router.get("")
def browse(
    request: Request,
    caller: Viewer,
    db: Db,
    job_id: str,
    one: Name = None,
    against: Name = None,
    state: State | None = None,
    after: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> Response:
    """`one` and `against` are names as `against` of GET /v1/jobs/{id}/answers takes them."""
    found = read_held_out(
        db, caller.project_id, job_id, one=one, against=against, state=state, after=after, limit=ROWS
    )
    return page(
        request,
        "held_out.html",
        caller,
        job=read_job(db, caller.project_id, job_id),
        found=found,
        state=state,
        rows=ROWS,
        states=list(State),
        meaning=MEANING,
        name=_written,
    )


def _written(column: Asked) -> str:
    return f"Iteration {column.iteration}" if column.iteration else MODES[column.mode].capitalize()
