"""Iterations of a job: metrics, and the training set that each was trained on."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path, Query
from fastapi.responses import StreamingResponse
from pydantic import Field

from app.database import reading
from app.errors import Conflict
from app.http.auth import Reader
from app.http.dependencies import Db
from app.http.parquet import MEDIA_TYPE, chunks_of, parquet_file
from app.http.router import api_router
from app.http.schemas import Limit, Page, Resource, Timestamp, page
from app.ledger.jobs.jobs import get_job
from app.ledger.results.iterations import config_of, each_training_example, get_iteration, list_iterations
from app.routes.exports import ExportFormat, download_of
from app.tables.jobs import Iteration
from star_engine.training_set.rows import training_fields, training_line

router = api_router("iterations", "/v1/jobs/{job_id}/iterations")

COLUMNS = {
    "example_id": "string",
    "route": "string",
    "sample": "int64",
    "prompt": "string",
    "completion": "string",
    "hinted": "bool",
}
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
def training_set(
    caller: Reader,
    db: Db,
    job_id: str,
    number: Number,
    format_: Annotated[ExportFormat, Query(alias="format")] = ExportFormat.JSONL,
) -> StreamingResponse:
    """As JSONL, exactly the bytes whose SHA-256 is in the header X-Training-Set-SHA256; or as Parquet."""
    with reading(db) as session:
        job = get_job(session, caller.project_id, job_id)
        iteration, _ = get_iteration(session, job.id, number)
    if iteration.training_set_sha256 is None:
        raise Conflict(f"Iteration {number} has no training set yet.", code="training_set_not_built")
    rows = each_training_example(db, iteration.id, config_of(job, iteration))
    name = f"{job_id}-iteration-{number}"
    if format_ is ExportFormat.PARQUET:
        content = chunks_of(parquet_file((training_fields(row) for row in rows), COLUMNS))
        answer = download_of(content, MEDIA_TYPE, f"{name}.parquet")
    else:
        lines = (f"{training_line(row)}\n".encode() for row in rows)
        answer = download_of(lines, "application/x-ndjson", f"{name}.jsonl")
    answer.headers["X-Training-Set-SHA256"] = iteration.training_set_sha256
    return answer


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
