"""The workers that are there, and what they have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from app.database import reading
from app.http.auth import Reader
from app.http.dependencies import Db
from app.http.router import api_router
from app.http.schemas import After, Item, LongLimit, Page, Timestamp, page
from app.ledger.queue.capacity import list_workers

router = api_router("workers", "/v1/workers")


class WorkerOut(Item):
    """Whose step a worker does is not said: it may be another project's."""

    object: Literal["worker"] = "worker"
    seen_at: Timestamp
    gpus: int
    gpu_memory_gib: Annotated[float | None, Field(description="Of each GPU; null: not stated.")]
    gpu_class: str | None
    busy: Annotated[bool, Field(description="It holds a step.")]


@router.get("", summary="List the workers that are there")
def list_(caller: Reader, db: Db, limit: LongLimit = 100, after: After = None) -> Page[WorkerOut]:
    """Of all projects, by id. A worker that has been silent for three minutes is not listed."""
    with reading(db) as session:
        found = list_workers(session, after=after, limit=limit + 1)
    shown = [
        WorkerOut(
            id=worker.id,
            seen_at=worker.seen_at,
            gpus=worker.gpus,
            gpu_memory_gib=worker.gpu_memory_gib,
            gpu_class=worker.gpu_class,
            busy=busy,
        )
        for worker, busy in found
    ]
    return page(shown, limit)
