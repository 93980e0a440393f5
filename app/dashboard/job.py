"""One job: how far it is, what it has found out, and what can be done with it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.context import Db
from app.dashboard.rendering import page
from app.dashboard.session import Viewer
from app.routes import jobs

router = APIRouter(prefix="/jobs/{job_id}")


@router.get("")
def overview(request: Request, caller: Viewer, db: Db, job_id: str) -> Response:
    return page(request, "job.html", caller, job=jobs.shown(caller, db, job_id))
