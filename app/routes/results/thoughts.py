"""Thoughts between the tokens of held-out documents: by page, and as a file."""

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
from app.results.quiet_star.thoughts import (
    COLUMNS,
    ThoughtOut,
    ThoughtsWanted,
    each_shown_thought,
    read_thoughts,
)
from app.routes.results.iterations import Number

router = api_router("thoughts", "/v1/jobs/{job_id}")


@router.get("/thoughts", summary="List thoughts of a job on documents")
def list_(
    caller: Reader,
    db: Db,
    job_id: str,
    wanted: Annotated[ThoughtsWanted, Depends()],
    limit: LongLimit = 20,
    after: After = None,
) -> Page[ThoughtOut]:
    """By iteration; those with the largest gains first, then as many that were drawn evenly. What thoughts
    are worth on all held-out tokens is in the metrics of their iteration, as `thinking`.
    """
    return read_thoughts(db, caller.project_id, job_id, wanted, limit=limit, after=after)


@router.get(
    "/iterations/{number}/thoughts",
    summary="Download the thoughts of an iteration",
    response_class=StreamingResponse,
)
def download(
    caller: Reader,
    db: Db,
    job_id: str,
    number: Number,
    format_: Annotated[ExportFormat, Query(alias="format")] = ExportFormat.JSONL,
) -> StreamingResponse:
    """A row for each kept thought: the text before it, the thought, the token after it and the gain."""
    rows = each_shown_thought(db, caller.project_id, job_id, number)
    name = f"{job_id}-iteration-{number}-thoughts"
    if format_ is ExportFormat.PARQUET:
        return send_export(chunks_of(parquet_file(rows, COLUMNS)), MEDIA_TYPE, f"{name}.parquet")
    lines = (f"{json.dumps(row, ensure_ascii=False)}\n".encode() for row in rows)
    return send_export(lines, "application/x-ndjson", f"{name}.jsonl")
