"""GPU-seconds and programs in the sandbox, added up by day, job and phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, cast, func, literal, select, tuple_, union_all
from sqlalchemy.orm import Session

from app.database import utc_day
from app.tables.executions import Execution
from app.tables.usage import Usage


@dataclass(frozen=True, slots=True)
class SpentFilter:
    project_id: str
    job_id: str | None = None
    phase: str | None = None
    since: date | None = None
    until: date | None = None  # with this day


@dataclass(frozen=True, slots=True)
class Spent:
    day: str  # 2026-01-31, UTC: when the claims ended
    job_id: str
    phase: str
    gpu_seconds: float
    claims: int
    executions: int  # programs, on the day on which they were executed
    sandbox_seconds: float  # of CPU, by them


def spent(
    session: Session, wanted: SpentFilter, *, after: tuple[str, str, str] | None, limit: int
) -> Sequence[Spent]:
    """List usage, oldest first; `after` is the day, job and phase of the last row of the page before."""
    gpu = _of(Usage, wanted, func.sum(Usage.gpu_seconds), func.count(), literal(0), literal(0.0))
    seconds = func.sum(Execution.cpu_ms) / 1000.0
    programs = _of(Execution, wanted, literal(0.0), literal(0), func.count(), seconds)
    both = union_all(gpu, programs).subquery()
    day, job_id, phase, *sums = both.c
    place = (day, job_id, phase)
    query = select(*place, *(func.sum(one) for one in sums))
    if after is not None:
        query = query.where(tuple_(*place) > after)
    rows = session.execute(query.group_by(*place).order_by(*place).limit(limit))
    return [
        Spent(row[0], row[1], row[2], float(row[3]), int(row[4]), int(row[5]), float(row[6])) for row in rows
    ]


def _of(table: type[Usage | Execution], wanted: SpentFilter, *sums: ColumnElement[Any]) -> Select[Any]:
    """One table's rows, by day, job and phase."""
    day, phase = utc_day(table.created_at), func.coalesce(cast(table.phase, Text), "")
    labelled = (one.label(f"sum_{number}") for number, one in enumerate(sums))
    place = (day.label("day"), table.job_id.label("job_id"), phase.label("phase"))
    return select(*place, *labelled).where(*narrowed(table, wanted)).group_by(day, table.job_id, phase)


def narrowed(table: type[Usage | Execution], wanted: SpentFilter) -> list[ColumnElement[bool]]:
    """The rows that are wanted."""
    where = [table.project_id == wanted.project_id]
    if wanted.job_id is not None:
        where.append(table.job_id == wanted.job_id)
    if wanted.phase is not None:
        where.append(func.coalesce(cast(table.phase, Text), "") == wanted.phase)
    if wanted.since is not None:
        where.append(table.created_at >= _midnight(wanted.since))
    if wanted.until is not None:
        where.append(table.created_at < _midnight(wanted.until) + timedelta(days=1))
    return where


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
