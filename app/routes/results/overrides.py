"""A reviewer's verdict on a rationale."""

from __future__ import annotations

from fastapi import Response

from app.http.auth import Reader, Submitter
from app.http.dependencies import Db
from app.http.idempotency import MadeOnce, made_once
from app.http.router import api_router
from app.http.schemas import Page
from app.results.overrides import (
    NewOverrideOut,
    OverrideIn,
    OverrideOut,
    create_override,
    read_override,
    read_overrides,
)

router = api_router("rationales", "/v1/jobs/{job_id}/rationales/{rationale_id}")


@router.post("/override", status_code=201, summary="Override the verdict on a rationale")
def create(
    caller: Submitter,
    db: Db,
    once: MadeOnce,
    response: Response,
    job_id: str,
    rationale_id: str,
    sent: OverrideIn,
) -> NewOverrideOut:
    """The verifier's verdict is kept; the next training set uses the override instead.

    Filters, deduplication and the cap apply as usual. The last override of a text counts.
    """
    return made_once(
        db,
        once,
        response,
        lambda: create_override(db, caller, job_id, rationale_id, sent, once),
        lambda one: read_override(db, caller, job_id, rationale_id, one),
    )


@router.get("/override", summary="List the overrides of a rationale, oldest first")
def list_(caller: Reader, db: Db, job_id: str, rationale_id: str) -> Page[OverrideOut]:
    return read_overrides(db, caller.project_id, job_id, rationale_id)
