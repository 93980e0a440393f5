"""The workers that are there, and what they have."""

from __future__ import annotations

from app.http.auth import Operator, Reader
from app.http.dependencies import Db
from app.http.router import api_router
from app.http.schemas import After, LongLimit, Page
from app.platform.workers import WorkerOut, read_workers, release_worker

router = api_router("workers", "/v1/workers")


@router.get("", summary="List live workers")
def list_(caller: Reader, db: Db, limit: LongLimit = 100, after: After = None) -> Page[WorkerOut]:
    """List the workers of all projects, by id. Workers silent for three minutes are left out."""
    return read_workers(db, limit=limit, after=after)


@router.post("/{worker_id}/release", summary="Release a worker from quarantine")
def release(caller: Operator, db: Db, worker_id: str) -> WorkerOut:
    """Let a worker whose GPU was found sick claim again: it tests itself first. Nothing where it is well."""
    return release_worker(db, worker_id)
