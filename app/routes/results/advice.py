"""The coach: what an iteration's records say should be changed."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from app.http.auth import Reader
from app.http.dependencies import Db
from app.http.router import api_router
from app.results.quality.advice import AdviceListOut, read_advice

router = api_router("advice", "/v1/jobs/{job_id}")


@router.get("/advice", summary="Get advice on a job")
def get(
    caller: Reader,
    db: Db,
    job_id: str,
    iteration: Annotated[
        int | None, Query(ge=0, le=10_000, description="Of this iteration; the newest if left out.")
    ] = None,
) -> AdviceListOut:
    """What an iteration's records say should be changed: each with its evidence and, where a setting helps,
    the settings for a new job like this one. Empty where no rule has anything to say. Costs no GPU time.
    """
    return read_advice(db, caller.project_id, job_id, iteration)
