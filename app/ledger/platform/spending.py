"""GPU-seconds added up by day, job and phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from app.database import utc_day
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


def spent(
    session: Session, wanted: SpentFilter, *, after: tuple[str, str, str] | None, limit: int
) -> Sequence[Spent]:
    """List usage, oldest first; `after` is the day, job and phase of the last row of the page before."""
    day = utc_day(Usage.created_at)
    place = (day, Usage.job_id, Usage.phase)
    query = select(*place, func.sum(Usage.gpu_seconds), func.count()).where(
        Usage.project_id == wanted.project_id
    )
    if wanted.job_id is not None:
        query = query.where(Usage.job_id == wanted.job_id)
    if wanted.phase is not None:
        query = query.where(Usage.phase == wanted.phase)
    if wanted.since is not None:
        query = query.where(Usage.created_at >= _midnight(wanted.since))
    if wanted.until is not None:
        query = query.where(Usage.created_at < _midnight(wanted.until) + timedelta(days=1))
    if after is not None:
        query = query.where(tuple_(*place) > after)
    rows = session.execute(query.group_by(*place).order_by(*place).limit(limit))
    return [Spent(*row) for row in rows]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
