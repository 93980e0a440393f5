"""Workers as they are shown."""

from __future__ import annotations

from typing import Annotated, Literal

import structlog
from pydantic import BaseModel, Field
from sqlalchemy import Engine

from app.database import reading, transaction
from app.errors import NotFound
from app.http.schemas import Item, Page, Timestamp, page
from app.ledger.queue.capacity import holds_step, list_workers
from app.ledger.queue.quarantine import release
from app.tables.platform import Worker

log = structlog.get_logger()


class GpuMeasured(BaseModel):
    """One GPU of a worker, at the worker's last note."""

    utilization: Annotated[float, Field(description="Share of the last moment in which it computed, 0 to 1.")]
    memory_gib: float
    memory_used_gib: Annotated[float, Field(description="By whichever process.")]
    temperature_c: float


class Measured(BaseModel):
    """What a worker says of itself once a minute."""

    gpus: Annotated[list[GpuMeasured], Field(description="Empty on CPU and without NVML.")]
    tokens_per_second: Annotated[
        float, Field(description="Tokens of prompts and completions that it sampled, since its note before.")
    ]
    prefix_cache_hits: Annotated[
        float | None,
        Field(
            description="Share of these prompts' tokens that vLLM's prefix cache had, 0 to 1; null: nothing "
            "was sampled, or not by vLLM."
        ),
    ] = None


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
    sick: Annotated[
        str | None,
        Field(
            description="Why it claims nothing: its self-test failed, or its GPU process failed several jobs "
            "in a row. It stays so until an operator releases it. null: it is well."
        ),
    ]
    sick_since: Timestamp | None
    measured: Annotated[
        Measured | None, Field(description="With its last note, once a minute; null: it has sent none.")
    ]


def read_workers(db: Engine, *, limit: int, after: str | None = None) -> Page[WorkerOut]:
    """A page of the workers that are there, by id."""
    with reading(db) as session:
        found = list_workers(session, after=after, limit=limit + 1)
    return page([_shown(worker, busy=busy) for worker, busy in found], limit)


def release_worker(db: Engine, worker_id: str) -> WorkerOut:
    """Let a worker in quarantine claim again, once it has passed its self-test. Raises NotFound."""
    with transaction(db) as session:
        worker = release(session, worker_id)
        if worker is None:
            raise NotFound(f"There is no worker {worker_id}.")
        session.flush()
        shown = _shown(worker, busy=holds_step(session, worker_id))
    log.info("worker_released", worker=worker_id)
    return shown


def _shown(worker: Worker, *, busy: bool) -> WorkerOut:
    return WorkerOut(
        id=worker.id,
        seen_at=worker.seen_at,
        gpus=worker.gpus,
        gpu_memory_gib=worker.gpu_memory_gib,
        gpu_class=worker.gpu_class,
        sandbox=worker.sandbox,
        busy=busy,
        sick=worker.sick,
        sick_since=worker.sick_since,
        measured=None if worker.measured is None else Measured.model_validate(worker.measured),
    )
