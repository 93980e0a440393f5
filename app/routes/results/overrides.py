"""A reviewer's verdict on a rationale."""

from __future__ import annotations

from app.http.auth import Reader, Submitter
from app.http.dependencies import Db
from app.http.router import api_router
from app.http.schemas import Page
from app.results.overrides import (
    NewOverrideOut,
    OverrideIn,
    OverrideOut,
    create_override,
    read_overrides,
)

router = api_router("rationales", "/v1/jobs/{job_id}/rationales/{rationale_id}")


@router.post("/override", status_code=201, summary="Override the verdict on a rationale")
def create(caller: Submitter, db: Db, job_id: str, rationale_id: str, sent: OverrideIn) -> NewOverrideOut:
    """The verifier's verdict is kept; the next training set uses the override instead.

    Filters, deduplication and the cap apply as usual. The last override of a text counts.
    """
    return create_override(db, caller, job_id, rationale_id, sent)


@router.get("/override", summary="List the overrides of a rationale, oldest first")
def list_(caller: Reader, db: Db, job_id: str, rationale_id: str) -> Page[OverrideOut]:
    return read_overrides(db, caller.project_id, job_id, rationale_id)
