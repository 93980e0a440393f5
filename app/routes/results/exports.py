"""What a job never solved, to download or to train on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Query, Response
from fastapi.responses import StreamingResponse
from pydantic import StrictBool
from sqlalchemy import Engine

from app.data.datasets import DatasetOut, dataset_out, read_dataset
from app.database import reading
from app.http.auth import Reader, Submitter
from app.http.dependencies import Db
from app.http.downloads import ExportFormat, send_export
from app.http.idempotency import MadeOnce, made_once
from app.http.parquet import MEDIA_TYPE, chunks_of, parquet_file
from app.http.router import api_router
from app.http.schemas import In, Name, already
from app.ledger.data.examples import pairs
from app.ledger.jobs.jobs import job_with_texts
from app.ledger.results.never_solved import derive_dataset, each_never_solved
from app.tables.jobs import Job
from star_engine.tasks.examples import as_turns

router = api_router("exports", "/v1/jobs/{job_id}/never-solved")

COLUMNS = {
    "id": "string",
    "question": "string",
    "messages": "list<turn>",  # where the question is the last of a conversation
    "answer": "string",
    "choices": "list<string>",
    "group": "string",
    "solution": "string",
}


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
    with reading(db) as session:
        job = job_with_texts(session, caller.project_id, job_id)
    rows = _rows(db, job)
    if format_ is ExportFormat.PARQUET:
        return send_export(
            chunks_of(parquet_file(rows, COLUMNS)), MEDIA_TYPE, f"{job_id}-never-solved.parquet"
        )
    lines = (
        json.dumps({name: value for name, value in row.items() if value is not None}, ensure_ascii=False)
        for row in rows
    )
    return send_export(
        (f"{line}\n".encode() for line in lines), "application/x-ndjson", f"{job_id}-never-solved.jsonl"
    )


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


def _rows(db: Engine, job: Job) -> Iterator[dict[str, Any]]:
    for example in each_never_solved(db, job):
        turns = as_turns(pairs(example.context))
        asked = [*turns, {"role": "user", "content": example.question}]
        yield {
            "id": example.external_id,
            "question": None if turns else example.question,
            "messages": asked if turns else None,
            "answer": example.answer,
            "choices": example.choices,
            "group": example.group,
            "solution": example.solution,
        }
