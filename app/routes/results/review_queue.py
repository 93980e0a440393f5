"""The kept rationales that a person should look at first."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from app.http.auth import Reader
from app.http.dependencies import Db
from app.http.router import api_router
from app.http.schemas import After, Limit, Page
from app.results.quality.review_queue import MAX_RATERS, QueuedRationaleOut, read_review_queue

router = api_router("rationales", "/v1/jobs/{job_id}/review-queue")


@router.get("", summary="List kept rationales that wait for a reviewer, the riskiest first")
def list_(
    caller: Reader,
    db: Db,
    job_id: str,
    iteration: Annotated[
        int | None, Query(ge=1, le=10_000, description="Left out: the newest that has a training set.")
    ] = None,
    raters: Annotated[
        int,
        Query(ge=1, le=MAX_RATERS, description="A text stays in the queue until so many people judged it."),
    ] = 1,
    limit: Limit = 20,
    after: After = None,
) -> Page[QueuedRationaleOut]:
    """Risk is luck x disagreement. Accept or drop a text by overriding its verdict: it leaves the queue.

    What the caller has judged is left out, whoever else is still to judge it.
    """
    return read_review_queue(db, caller, job_id, iteration, raters, limit=limit, after=after)
