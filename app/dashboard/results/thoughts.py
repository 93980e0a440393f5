"""What a job on documents thinks between tokens, and what its thoughts are worth."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request, Response

from app.dashboard.rendering import page
from app.dashboard.session import Viewer
from app.http.dependencies import Db
from app.http.router import page_router
from app.http.schemas import After
from app.jobs.read import read_job
from app.results.iterations import IterationOut, read_iterations
from app.results.quiet_star.thoughts import ThoughtsWanted, read_thoughts

router = page_router("/jobs/{job_id}/thoughts")
ROWS = 50


@router.get("")
def browse(
    request: Request,
    caller: Viewer,
    db: Db,
    job_id: str,
    wanted: Annotated[ThoughtsWanted, Depends()],
    after: After = None,
) -> Response:
    """Filters are those of GET /v1/jobs/{id}/thoughts."""
    measured = [
        one for one in read_iterations(db, caller.project_id, job_id).data if "thinking" in one.metrics
    ]
    return page(
        request,
        "thoughts.html",
        caller,
        job=read_job(db, caller.project_id, job_id),
        found=read_thoughts(db, caller.project_id, job_id, wanted, limit=ROWS, after=after),
        wanted=wanted,
        measured=[(one.number, one.metrics["thinking"]) for one in measured],
        iteration_names=[(str(one.number), one.number) for one in measured],
        spec=_chart(measured),
    )


def _chart(measured: list[IterationOut]) -> dict[str, Any] | None:
    """Negative log-likelihood of a held-out token, by iteration: with and without thoughts, and at first."""
    if not measured:
        return None
    named = {
        "With thoughts": "nll_with",
        "Without thoughts": "nll_without",
        "Base model": "nll_base",
    }
    series = [
        {
            "label": label,
            "values": [one.metrics["thinking"].get(name) for one in measured],
            "low": None,
            "high": None,
            "dashed": name == "nll_base",
        }
        for label, name in named.items()
    ]
    return {
        "x": [one.number for one in measured], "x_label": "Iteration", "unit": "number", "series": series
    }  # fmt: skip
