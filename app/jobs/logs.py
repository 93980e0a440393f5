"""The log of a job as it is shown."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy import Engine

from app.database import reading
from app.errors import BadRequest
from app.http.schemas import Page, Resource, page
from app.ledger.jobs.jobs import get_job
from app.ledger.jobs.logs import Level, LogFilter, list_logs
from app.ledger.platform.keys import Caller, Scope
from app.tables.logs import JobLog


class LogOut(Resource):
    """How one claim of a step ended."""

    object: Literal["log"] = "log"
    job: str
    iteration: int
    phase: str
    shard: int
    attempt: int
    level: Level
    text: str
    worker: str | None
    trace: Annotated[str | None, Field(description="The stack trace of a failure; for operators alone.")]


def read_logs(
    db: Engine, caller: Caller, job_id: str, wanted: LogFilter, *, limit: int, after: str | None = None
) -> Page[LogOut]:
    """A page of the job's log, oldest first."""
    with reading(db) as session:
        job = get_job(session, caller.project_id, job_id)
        found = list_logs(session, job.id, wanted, after=_row_id(after), limit=limit + 1)
    traces = caller.may(Scope.OPERATOR)
    return page([_out(row, traces=traces) for row in found], limit)


def _row_id(log_id: str | None) -> int | None:
    if log_id is None:
        return None
    number = log_id.removeprefix("log_")
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise BadRequest(f"{log_id!r} is no id of a log line: they look like log_12.")
    return int(number)


def _out(row: JobLog, *, traces: bool) -> LogOut:
    return LogOut(
        id=f"log_{row.id}",
        created_at=row.created_at,
        job=row.job_id,
        iteration=row.iteration_number,
        phase=row.phase,
        shard=row.shard,
        attempt=row.attempt,
        level=Level(row.level),
        text=row.text,
        worker=row.worker,
        trace=row.trace if traces else None,
    )
