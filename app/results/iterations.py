"""Iterations of a job as they are shown."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import Engine

from app.database import reading
from app.http.schemas import Page, Resource, Timestamp, page
from app.ledger.jobs.jobs import get_job
from app.ledger.results.iterations import get_iteration, list_iterations
from app.tables.jobs import Iteration

MAX_ITERATIONS = 201  # of a job: StarConfig.iterations, and the baselines


class IterationOut(Resource):
    object: Literal["iteration"] = "iteration"
    job: str
    number: int
    phases_done: list[str]
    metrics: Annotated[dict[str, Any], Field(description="Filled in as phases finish.")]
    adapter_id: str | None
    training_set_sha256: str | None
    finished_at: Timestamp | None


def read_iterations(
    db: Engine, project_id: str, job_id: str, *, limit: int = MAX_ITERATIONS, after: int = -1
) -> Page[IterationOut]:
    """A page of the job's iterations, oldest first. `after` is the number of the last one seen."""
    with reading(db) as session:
        job = get_job(session, project_id, job_id)
        found = list_iterations(session, job.id, after=after, limit=limit + 1)
    return page([_out(iteration, adapter_id) for iteration, adapter_id in found], limit)


def read_iteration(db: Engine, project_id: str, job_id: str, number: int) -> IterationOut:
    with reading(db) as session:
        job = get_job(session, project_id, job_id)
        return _out(*get_iteration(session, job.id, number))


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
