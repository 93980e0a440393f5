"""What a job never solved, to download or to train on."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response
from fastapi.responses import StreamingResponse
from pydantic import StrictBool

from app.data.datasets import DatasetOut, dataset_out, read_dataset
from app.database import reading
from app.http.auth import Reader, Submitter
from app.http.dependencies import Db
from app.http.downloads import ExportFormat
from app.http.idempotency import MadeOnce, made_once
from app.http.router import api_router
from app.http.schemas import In, Name, already
from app.ledger.jobs.jobs import job_with_texts
from app.ledger.results.never_solved import derive_dataset
from app.results.exports.files import never_solved_file

router = api_router("exports", "/v1/jobs/{job_id}/never-solved")


class DerivedIn(In):
    name: Name | None = None  # None: the job's, and what it is
    held_out: StrictBool = True  # with the dataset's held-out examples, for accuracy on the same ones


@router.get("", summary="Download the examples that a job never solved", response_class=StreamingResponse)
def download(
    caller: Reader,
    db: Db,
    job_id: str,
    format_: Annotated[ExportFormat, Query(alias="format")] = ExportFormat.JSONL,
) -> StreamingResponse:
    """Train examples that were tried, and never solved without a hint. Either form can be uploaded again."""
    return never_solved_file(db, caller.project_id, job_id, format_)


@router.post(
    "/dataset",
    status_code=201,
    responses=already(DatasetOut),
    summary="Create a dataset of the examples a job never solved",
)
def derive(
    caller: Submitter,
    db: Db,
    once: MadeOnce,
    job_id: str,
    response: Response,
    sent: DerivedIn | None = None,
) -> DatasetOut:
    """Create a dataset from the examples; `derived_from` names the job and dataset. An equal one is returned
    with 200.
    """
    with reading(db) as session:
        job = job_with_texts(session, caller.project_id, job_id)
    wanted = sent or DerivedIn()
    name = wanted.name or f"{job.name[:180]}, never solved"

    def make() -> DatasetOut:
        dataset, new = derive_dataset(db, job, name, held_out=wanted.held_out)
        once.remember_existing(db, dataset.id)
        response.status_code = 201 if new else 200
        return dataset_out(dataset)

    answer = made_once(db, once, response, make, lambda one: read_dataset(db, caller.project_id, one))
    response.headers["Location"] = f"/v1/datasets/{answer.id}"
    return answer
