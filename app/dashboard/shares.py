"""Links to a job's report: made, copied once, listed and revoked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Form, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Engine

from app.dashboard.rendering import page, url
from app.dashboard.session import Admin, Submitter, Viewer
from app.http.dependencies import Config, Db
from app.http.router import page_router
from app.http.schemas import After
from app.jobs.read import read_job
from app.ledger.platform.keys import Caller
from app.results.quality.shares import (
    DEFAULT_DAYS,
    MAX_DAYS,
    NewShareOut,
    ShareIn,
    SharingIn,
    change_sharing,
    create_share,
    read_shares,
    read_sharing,
    revoke_share,
)

router = page_router()
ROWS = 50


@router.get("/jobs/{job_id}/share")
def show(request: Request, caller: Viewer, db: Db, job_id: str, after: After = None) -> Response:
    return _shown(request, caller, db, job_id, after)


@router.post("/jobs/{job_id}/share")
def make(
    request: Request,
    caller: Submitter,
    db: Db,
    settings: Config,
    job_id: str,
    days: Annotated[int, Form(ge=1, le=MAX_DAYS)] = DEFAULT_DAYS,
    note: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """The address is in the answer to this form and nowhere else."""
    sent = ShareIn(expires_in_days=days, note=note.strip() or None)
    here = f"{request.url.scheme}://{request.url.netloc}"
    made = create_share(db, caller, settings, job_id, sent, asked_at=here)
    return _shown(request, caller, db, job_id, made=made)


@router.post("/jobs/{job_id}/share/{share_id}/revoke")
def revoke(caller: Submitter, db: Db, job_id: str, share_id: str) -> Response:
    revoke_share(db, caller, share_id)
    return RedirectResponse(url("jobs", job_id, "share"), status_code=303)


@router.post("/platform/sharing")
def allow(caller: Admin, db: Db, allowed: Annotated[bool, Form()]) -> Response:
    change_sharing(db, caller, SharingIn(allowed=allowed))
    return RedirectResponse(url("platform"), status_code=303)


def _shown(
    request: Request,
    caller: Caller,
    db: Engine,
    job_id: str,
    after: str | None = None,
    made: NewShareOut | None = None,
) -> Response:
    return page(
        request,
        "share.html",
        caller,
        job=read_job(db, caller.project_id, job_id),
        allowed=read_sharing(db, caller).allowed,
        found=read_shares(db, caller, job=job_id, limit=ROWS, after=after),
        made=made,
        now=datetime.now(UTC),
        days=DEFAULT_DAYS,
        most=MAX_DAYS,
        status=201 if made else 200,
    )
