"""The review queue: one kept rationale after another, the riskiest first, to be accepted or dropped."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from app.dashboard.rendering import page, url
from app.dashboard.results.verdict_words import ROUTES
from app.dashboard.session import Submitter, Viewer
from app.http.dependencies import Db
from app.http.router import page_router
from app.http.schemas import After
from app.jobs.read import read_job
from app.results.overrides import OverrideIn, create_override
from app.results.quality.review_queue import MAX_RATERS, read_review_queue

router = page_router("/jobs/{job_id}/review")
SHOWN = 10  # that come next
VERDICTS: dict[str, Literal["correct", "wrong"]] = {"accept": "correct", "drop": "wrong"}
REASONS = {
    "accept": "Read in the review queue and accepted.",
    "drop": "Read in the review queue and dropped.",
}

Which = Annotated[int | None, Query(ge=1, le=10_000)]
Raters = Annotated[int, Query(ge=1, le=MAX_RATERS)]


@router.get("")
def queue(
    request: Request,
    caller: Viewer,
    db: Db,
    job_id: str,
    iteration: Which = None,
    raters: Raters = 1,
    after: After = None,
) -> Response:
    """The parameters are those of GET /v1/jobs/{id}/review-queue."""
    found = read_review_queue(db, caller, job_id, iteration, raters, limit=SHOWN, after=after)
    job = read_job(db, caller.project_id, job_id)
    one = found.data[0] if found.data else None
    return page(
        request,
        "review.html",
        caller,
        job=job,
        found=found,
        one=one,
        routes=ROUTES,
        iteration=iteration,
        raters=raters,
        place=url("jobs", job_id, "review"),
    )


@router.post("/{rationale_id}")
def decide(
    caller: Submitter,
    db: Db,
    job_id: str,
    rationale_id: str,
    choice: Annotated[Literal["accept", "drop"], Form()],
    reason: Annotated[str, Form(max_length=2000)] = "",
    iteration: Which = None,
    raters: Raters = 1,
) -> Response:
    """An override of the verdict, from which the next training set is built."""
    sent = OverrideIn(verdict=VERDICTS[choice], reason=reason.strip() or REASONS[choice])
    create_override(db, caller, job_id, rationale_id, sent)
    again = url("jobs", job_id, "review", iteration=iteration, raters=raters if raters > 1 else None)
    return RedirectResponse(again, status_code=303)
