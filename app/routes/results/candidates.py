"""Many answers to each held-out question, and what k of them come to."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import Depends, Query
from fastapi.responses import StreamingResponse

from app.http.auth import Reader
from app.http.dependencies import Db
from app.http.downloads import ExportFormat, send_export
from app.http.parquet import MEDIA_TYPE, chunks_of, parquet_file
from app.http.router import api_router
from app.http.schemas import After, LongLimit, Page
from app.results.candidates import (
    CandidateOut,
    CandidatesWanted,
    TestTimeOut,
    each_candidate,
    read_candidates,
    read_test_time,
)
from app.routes.results.iterations import Number

router = api_router("candidates", "/v1/jobs/{job_id}")

COLUMNS = {
    "example_id": "string",
    "sample": "int64",
    "text": "string",
    "extracted": "string",
    "canonical": "string",
    "verdict": "string",
    "tokens": "int64",
    "finish_reason": "string",
    "generator_logprob": "float64",
}


@router.get("/test-time", summary="Get the accuracy over k answers to a question")
def test_time(caller: Reader, db: Db, job_id: str) -> TestTimeOut:
    """pass@k, pass^k, majority vote and best of k: of the base model, and of the last adapter at the end."""
    return read_test_time(db, caller.project_id, job_id)


@router.get("/candidates", summary="List the many answers to held-out questions, with their scores")
def list_(
    caller: Reader,
    db: Db,
    job_id: str,
    wanted: Annotated[CandidatesWanted, Depends()],
    limit: LongLimit = 20,
    after: After = None,
) -> Page[CandidateOut]:
    """By iteration, example and sample."""
    return read_candidates(db, caller.project_id, job_id, wanted, limit=limit, after=after)


@router.get(
    "/iterations/{number}/candidates",
    summary="Download the many answers to held-out questions",
    response_class=StreamingResponse,
)
def download(
    caller: Reader,
    db: Db,
    job_id: str,
    number: Number,
    format_: Annotated[ExportFormat, Query(alias="format")] = ExportFormat.JSONL,
) -> StreamingResponse:
    """A row for each answer of this iteration, with its generator's own log-probability."""
    rows = each_candidate(db, caller.project_id, job_id, number)
    name = f"{job_id}-iteration-{number}-candidates"
    if format_ is ExportFormat.PARQUET:
        return send_export(chunks_of(parquet_file(rows, COLUMNS)), MEDIA_TYPE, f"{name}.parquet")
    lines = (f"{json.dumps(row, ensure_ascii=False)}\n".encode() for row in rows)
    return send_export(lines, "application/x-ndjson", f"{name}.jsonl")
