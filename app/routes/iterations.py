"""Iterations of a job: metrics, and the training set that each was trained on."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import StreamingResponse
from pydantic import Field

from app.auth import Reader
from app.context import Db
from app.database import reading
from app.errors import Conflict
from app.ledger.iterations import config_of, each_training_example, get_iteration, list_iterations
from app.ledger.jobs import get_job
from app.models.jobs import Iteration
from app.schemas import Limit, Page, Resource, Timestamp, page
from star_engine.training_set import training_line

router = APIRouter(prefix="/v1/jobs/{job_id}/iterations", tags=["iterations"])

Number = Annotated[int, Path(ge=0, le=10_000, description="0 holds the baselines.")]


class IterationOut(Resource):
    object: Literal["iteration"] = "iteration"
    job: str
    number: int
    phases_done: list[str]
    metrics: Annotated[dict[str, Any], Field(description="Fills up as the phases close.")]
    adapter_id: str | None
    training_set_sha256: str | None
    finished_at: Timestamp | None


@router.get("", summary="List the iterations of a job, oldest first")
def list_(
    caller: Reader,
    db: Db,
    job_id: str,
    limit: Limit = 100,
    after: Annotated[int, Query(ge=-1, le=10_000, description="The number of the last one seen.")] = -1,
) -> Page[IterationOut]:
    with reading(db) as session:
        job = get_job(session, caller.project_id, job_id)
        found = list_iterations(session, job.id, after=after, limit=limit + 1)
    return page([_out(iteration, adapter_id) for iteration, adapter_id in found], limit)


@router.get("/{number}", summary="Get an iteration")
def get(caller: Reader, db: Db, job_id: str, number: Number) -> IterationOut:
    with reading(db) as session:
        job = get_job(session, caller.project_id, job_id)
        return _out(*get_iteration(session, job.id, number))


@router.get("/{number}/training-set", summary="Download a training set", response_class=StreamingResponse)
def training_set(caller: Reader, db: Db, job_id: str, number: Number) -> StreamingResponse:
    """JSONL, exactly the bytes whose SHA-256 is in the header X-Training-Set-SHA256."""
    with reading(db) as session:
        job = get_job(session, caller.project_id, job_id)
        iteration, _ = get_iteration(session, job.id, number)
    if iteration.training_set_sha256 is None:
        raise Conflict(f"Iteration {number} has no training set yet.", code="training_set_not_built")
    rows = each_training_example(db, iteration.id, config_of(job, iteration))
    lines = (f"{training_line(row)}\n".encode() for row in rows)
    name = f"{job_id}-iteration-{number}.jsonl"
    return StreamingResponse(
        lines,
        media_type="application/x-ndjson",
        headers={
            "X-Training-Set-SHA256": iteration.training_set_sha256,
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-Content-Type-Options": "nosniff",
        },
    )


def _out(iteration: Iteration, adapter_id: str | None) -> IterationOut:
    return IterationOut(
        id=f"iter_{iteration.id}",
        created_at=iteration.created_at,
        job=iteration.job_id,
        number=iteration.number,
        phases_done=iteration.phases_done,
        metrics=iteration.metrics,
        adapter_id=adapter_id,
        training_set_sha256=iteration.training_set_sha256,
        finished_at=iteration.finished_at,
    )
