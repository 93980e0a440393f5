"""Iterations of a job: metrics, and the training set that each was trained on."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import Path, Query
from fastapi.responses import StreamingResponse

from app.http.auth import Reader
from app.http.dependencies import Db
from app.http.downloads import send_export
from app.http.router import api_router
from app.http.schemas import Limit, Page
from app.results.exports.files import LINES, encoded, training_set_file
from app.results.iterations import IterationOut, read_iteration, read_iterations
from app.results.pairs import Shape, read_pairs
from app.results.training_sets import TrainingSetFormat

router = api_router("iterations", "/v1/jobs/{job_id}/iterations")

Number = Annotated[int, Path(ge=0, le=10_000, description="0 holds the baselines.")]


@router.get("", summary="List the iterations of a job, oldest first")
def list_(
    caller: Reader,
    db: Db,
    job_id: str,
    limit: Limit = 100,
    after: Annotated[int, Query(ge=-1, le=10_000, description="The number of the last one seen.")] = -1,
) -> Page[IterationOut]:
    return read_iterations(db, caller.project_id, job_id, limit=limit, after=after)


@router.get("/{number}", summary="Get an iteration")
def get(caller: Reader, db: Db, job_id: str, number: Number) -> IterationOut:
    return read_iteration(db, caller.project_id, job_id, number)


@router.get("/{number}/training-set", summary="Download a training set", response_class=StreamingResponse)
def training_set(
    caller: Reader,
    db: Db,
    job_id: str,
    number: Number,
    format_: Annotated[TrainingSetFormat, Query(alias="format")] = TrainingSetFormat.JSONL,
) -> StreamingResponse:
    """Download the training set: as JSONL, exactly the bytes hashed in X-Training-Set-SHA256; as Parquet; or
    as `messages`, JSONL of conversations. There `as_trained` says whether the base model's chat template
    makes exactly the trained text of a row's messages, `trained_from` is the first message that was learned,
    and what a tool or a procedural hint has said stands in turns of the tool or the user.
    """
    return training_set_file(db, caller.project_id, job_id, number, format_)


@router.get("/{number}/pairs", summary="Download preferences", response_class=StreamingResponse)
def pairs(
    caller: Reader,
    db: Db,
    job_id: str,
    number: Number,
    shape: Annotated[
        Shape, Query(description="dpo: chosen and rejected; kto: one text and a label.")
    ] = "dpo",
) -> StreamingResponse:
    """Download what was kept beside the wrong tries at the same question, as TRL's DPOTrainer (`prompt`,
    `chosen`, `rejected`) or KTOTrainer (`prompt`, `completion`, `label`) reads it. Prompts are as they were
    trained on. Rows without a wrong try make no pair.
    """
    rows = read_pairs(db, caller.project_id, job_id, number, shape)
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    return send_export(encoded(lines), LINES, f"{job_id}-iteration-{number}-{shape}.jsonl")
