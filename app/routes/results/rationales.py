"""Rationales: every try that was ever sampled, and why it was kept or dropped."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from app.http.auth import Reader
from app.http.dependencies import Db
from app.http.router import api_router
from app.http.schemas import After, LongLimit, Page
from app.results.rationales import (
    RationaleDetailOut,
    RationaleOut,
    Wanted,
    read_history,
    read_rationale,
    read_rationales,
    wanted_of,
)

router = api_router("rationales", "/v1/jobs/{job_id}")


@router.get("/rationales", summary="List the rationales of a job, oldest first")
def list_(
    caller: Reader,
    db: Db,
    job_id: str,
    wanted: Annotated[Wanted, Depends(wanted_of)],
    limit: LongLimit = 20,
    after: After = None,
) -> Page[RationaleOut]:
    """List rationales. With `text`, a page scans the next 2500 rationales that pass the other filters: it may
    be empty while `has_more` is true. Continue after its `last_id`.
    """
    return read_rationales(db, caller.project_id, job_id, wanted, limit=limit, after=after)


@router.get("/rationales/{rationale_id}", summary="Get a rationale with its prompt and hint")
def get(caller: Reader, db: Db, job_id: str, rationale_id: str) -> RationaleDetailOut:
    return read_rationale(db, caller.project_id, job_id, rationale_id)


@router.get("/examples/{example_id:path}/history", summary="List all tries at one example")
def history(
    caller: Reader, db: Db, job_id: str, example_id: str, limit: LongLimit = 1000, after: After = None
) -> Page[RationaleOut]:
    """Over all iterations, in the order in which they were recorded."""
    return read_history(db, caller.project_id, job_id, example_id, limit=limit, after=after)
