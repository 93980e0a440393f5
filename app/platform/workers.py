"""Workers as they are shown."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy import Engine

from app.database import reading
from app.http.schemas import Item, Page, Timestamp, page
from app.ledger.queue.capacity import list_workers


class WorkerOut(Item):
    """A worker. Its current step is not shown, since it may be another project's."""

    object: Literal["worker"] = "worker"
    seen_at: Timestamp
    gpus: int
    gpu_memory_gib: Annotated[float | None, Field(description="Of each GPU; null: not stated.")]
    gpu_class: str | None
    sandbox: Annotated[
        str | None,
        Field(
            description="`ok`: its sandbox has passed its probe, so it takes jobs that execute programs; "
            "else why it takes none; null: not probed yet."
        ),
    ]
    busy: Annotated[bool, Field(description="Whether it holds a step.")]


def read_workers(db: Engine, *, limit: int, after: str | None = None) -> Page[WorkerOut]:
    """A page of the workers that are there, by id."""
    with reading(db) as session:
        found = list_workers(session, after=after, limit=limit + 1)
    shown = [
        WorkerOut(
            id=worker.id,
            seen_at=worker.seen_at,
            gpus=worker.gpus,
            gpu_memory_gib=worker.gpu_memory_gib,
            gpu_class=worker.gpu_class,
            sandbox=worker.sandbox,
            busy=busy,
        )
        for worker, busy in found
    ]
    return page(shown, limit)
