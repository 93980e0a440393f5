"""What a job made, as files to save: its report, training sets, curves, and what it never solved.

Routes and pages send the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Engine
from starlette.responses import Response, StreamingResponse

from app.database import reading
from app.http.downloads import ExportFormat, send_export
from app.http.parquet import MEDIA_TYPE, chunks_of, parquet_file
from app.ledger.data.examples import pairs
from app.ledger.jobs.jobs import job_with_texts
from app.ledger.platform.prices import Prices
from app.ledger.results.never_solved import each_never_solved
from app.reports.document import make_document
from app.reports.markdown import markdown
from app.reports.negotiation import ReportFormat
from app.reports.page import page as html_page
from app.results.curves import as_csv, read_training_curve
from app.results.report import read_job_report
from app.results.training_sets import TrainingSetFormat, find_training_set
from app.tables.jobs import Job
from star_engine.tasks.examples import as_turns
from star_engine.training_set.rows import TrainingExample, training_fields, training_line

LINES = "application/x-ndjson"
TRAINING_COLUMNS = {
    "example_id": "string",
    "route": "string",
    "sample": "int64",
    "prompt": "string",
    "completion": "string",
    "hinted": "bool",
    "masked": "string",  # of the spans, as JSON
    "turns": "string",  # likewise
}
EXAMPLE_COLUMNS = {
    "id": "string",
    "question": "string",
    "messages": "list<turn>",  # where the question is the last of a conversation
    "answer": "string",
    "choices": "list<string>",
    "group": "string",
    "solution": "string",
}


def training_set_file(
    db: Engine, project_id: str, job_id: str, number: int, format_: TrainingSetFormat
) -> StreamingResponse:
    """Raises Conflict where the iteration has no training set yet."""
    found = find_training_set(db, project_id, job_id, number)
    name = f"{job_id}-iteration-{number}"
    if format_ is TrainingSetFormat.PARQUET:
        content = chunks_of(parquet_file(map(_columns, found.rows()), TRAINING_COLUMNS))
        answer = send_export(content, MEDIA_TYPE, f"{name}.parquet")
    elif format_ is TrainingSetFormat.MESSAGES:
        answer = send_export(encoded(found.conversations()), LINES, f"{name}-messages.jsonl")
    else:
        answer = send_export(encoded(map(training_line, found.rows())), LINES, f"{name}.jsonl")
    answer.headers["X-Training-Set-SHA256"] = found.sha256
    return answer


def curve_file(db: Engine, project_id: str, job_id: str, number: int) -> Response:
    """Every optimizer step, as CSV."""
    text = as_csv(read_training_curve(db, project_id, job_id, number))
    return send_export(iter([text.encode()]), "text/csv", f"{job_id}-iteration-{number}-curve.csv")


def never_solved_file(db: Engine, project_id: str, job_id: str, format_: ExportFormat) -> StreamingResponse:
    """Train examples that were tried, and never solved without a hint. Either form can be uploaded again."""
    with reading(db) as session:
        job = job_with_texts(session, project_id, job_id)
    rows = _never_solved(db, job)
    name = f"{job_id}-never-solved"
    if format_ is ExportFormat.PARQUET:
        return send_export(chunks_of(parquet_file(rows, EXAMPLE_COLUMNS)), MEDIA_TYPE, f"{name}.parquet")
    lines = (
        json.dumps({name: value for name, value in row.items() if value is not None}, ensure_ascii=False)
        for row in rows
    )
    return send_export(encoded(lines), LINES, f"{name}.jsonl")


def report_file(
    db: Engine, project_id: str, job_id: str, format_: ReportFormat, prices: Prices | None
) -> Response:
    """The report as one page of HTML, or as Markdown."""
    document = make_document(*read_job_report(db, project_id, job_id, prices=prices))
    if format_ is ReportFormat.MARKDOWN:
        return send_export(iter([markdown(document).encode()]), "text/markdown", f"{job_id}-report.md")
    return send_export(iter([html_page(document).encode()]), "text/html", f"{job_id}-report.html")


def encoded(lines: Iterable[str]) -> Iterator[bytes]:
    return (f"{line}\n".encode() for line in lines)


def _columns(row: TrainingExample) -> dict[str, Any]:
    fields = training_fields(row)
    return fields | {name: json.dumps(fields[name]) for name in ("masked", "turns") if name in fields}


def _never_solved(db: Engine, job: Job) -> Iterator[dict[str, Any]]:
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
