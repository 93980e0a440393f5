"""The workers that are there, and what they have."""

from __future__ import annotations

from app.http.auth import Reader
from app.http.dependencies import Db
from app.http.router import api_router
from app.http.schemas import After, LongLimit, Page
from app.platform.workers import WorkerOut, read_workers

router = api_router("workers", "/v1/workers")


@router.get("", summary="List live workers")
def list_(caller: Reader, db: Db, limit: LongLimit = 100, after: After = None) -> Page[WorkerOut]:
    """List the workers of all projects, by id. Workers silent for three minutes are left out."""
    return read_workers(db, limit=limit, after=after)
