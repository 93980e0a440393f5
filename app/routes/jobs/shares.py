"""Links that show a job's report without a key, and whether the project allows them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.responses import JSONResponse

from app.http.auth import Admin, Reader, Submitter
from app.http.dependencies import Config, Db
from app.http.idempotency import MadeOnce, made_once
from app.http.ranges import IfMatch, tagged
from app.http.router import api_router
from app.http.schemas import CHANGED, After, Limit, OfProject, Page
from app.results.quality.shares import (
    NewShareOut,
    ShareIn,
    ShareOut,
    SharingIn,
    SharingOut,
    change_sharing,
    create_share,
    read_share,
    read_shares,
    read_sharing,
    revoke_share,
)

router = api_router("shares", "/v1")

NO_SECRET: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "An earlier request with this Idempotency-Key has made it. Its address was shown then "
        "and is not stored: if that answer was lost, revoke this link and make another.",
        "model": ShareOut,
    }
}


@router.post(
    "/jobs/{job_id}/shares",
    status_code=201,
    response_model=NewShareOut,
    responses=NO_SECRET,
    summary="Make a link that shows a job's report without a key",
)
def create(
    request: Request,
    caller: Submitter,
    db: Db,
    settings: Config,
    once: MadeOnce,
    job_id: str,
    sent: ShareIn,
    response: Response,
) -> Any:
    """Whoever has the address reads the report of this job as it then is, and nothing else, until the link
    expires or is revoked, the job is deleted, or the project forbids sharing.
    """
    asked_at = str(request.base_url)
    made = made_once(
        db,
        once,
        response,
        lambda: create_share(db, caller, settings, job_id, sent, asked_at=asked_at, once=once),
        lambda share_id: read_share(db, caller, share_id),
    )
    response.headers["Location"] = f"/v1/shares/{made.id}"
    response.headers["Cache-Control"] = "no-store"
    if isinstance(made, NewShareOut):
        return made
    return JSONResponse(made.model_dump(mode="json"), 200, headers=dict(response.headers))


@router.get("/shares", summary="List links to reports, newest first")
def list_(
    caller: Reader,
    db: Db,
    job: Annotated[str | None, Query(max_length=100, description="Only those of this job.")] = None,
    limit: Limit = 20,
    after: After = None,
) -> Page[ShareOut]:
    """Those that are expired or revoked too. Their addresses are not stored."""
    return read_shares(db, caller, job=job, limit=limit, after=after)


@router.get("/shares/{share_id}", summary="Get a link to a report, without its address")
def get(caller: Reader, db: Db, share_id: str) -> ShareOut:
    return read_share(db, caller, share_id)


@router.post("/shares/{share_id}/revoke", summary="Revoke a link to a report")
def revoke(caller: Submitter, db: Db, share_id: str) -> ShareOut:
    """It leads nowhere from the next request on. Revoking it twice changes nothing."""
    return revoke_share(db, caller, share_id)


@router.get("/sharing", summary="Get whether the project allows links to reports")
def get_sharing(caller: Reader, db: Db, response: Response, project: OfProject = None) -> SharingOut:
    return tagged(response, read_sharing(db, caller, project))


@router.put("/sharing", responses=CHANGED, summary="Allow or forbid links to reports")
def put_sharing(
    caller: Admin,
    db: Db,
    expected: IfMatch,
    response: Response,
    sent: SharingIn,
    project: OfProject = None,
) -> SharingOut:
    """Forbidden, no link can be made and those that there are lead nowhere."""
    return tagged(response, change_sharing(db, caller, sent, project, expected))
