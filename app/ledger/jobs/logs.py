"""The log of a job: how each claim of its steps ended, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.tables.jobs import Step
from app.tables.logs import JobLog

MAX_TEXT, MAX_TRACE = 4000, 20_000  # characters


class Level(StrEnum):
    INFO = "info"
    WARNING = "warning"  # it is tried again
    ERROR = "error"  # it ended the job

    @property
    def and_above(self) -> list[str]:
        order = list(Level)
        return [str(level) for level in order[order.index(self) :]]


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What a page of the log is narrowed to; None means any. `level`: this one and those above it."""

    level: Level | None = None
    phase: str | None = None
    iteration: int | None = None


def write_log(session: Session, step: Step, level: Level, text: str, trace: str | None = None) -> None:
    """Add a line about the step's claim, before its lease is given up."""
    session.add(
        JobLog(
            job_id=step.job_id,
            iteration_number=step.iteration_number,
            phase=str(step.phase),
            shard=step.shard,
            attempt=step.attempt,
            worker=step.lease_owner,
            level=str(level),
            text=without_nul(text)[:MAX_TEXT],
            trace=None if trace is None else without_nul(trace)[-MAX_TRACE:],
        )
    )


def in_words(step: Step, outcome: str) -> str:
    """The outcome of the step's claim, and how far it came: "Done at 16 of 16 tries"."""
    done, unit = step.progress.get("done"), step.progress.get("unit", "")
    return outcome if done is None else f"{outcome} at {done} of {step.progress.get('total')} {unit}".rstrip()


def list_logs(
    session: Session, job_id: str, wanted: LogFilter, *, after: int | None, limit: int
) -> Sequence[JobLog]:
    """Oldest first; `after` is the row id of the last one seen."""
    query = select(JobLog).where(JobLog.job_id == job_id)
    if wanted.level is not None:
        query = query.where(JobLog.level.in_(wanted.level.and_above))
    if wanted.phase is not None:
        query = query.where(JobLog.phase == wanted.phase)
    if wanted.iteration is not None:
        query = query.where(JobLog.iteration_number == wanted.iteration)
    if after is not None:
        query = query.where(JobLog.id > after)
    return session.scalars(query.order_by(JobLog.id).limit(limit)).all()


def without_nul(text: str) -> str:
    """The text as PostgreSQL stores it: it takes no NUL, and a failure may quote what a model wrote."""
    return text.replace("\x00", "\ufffd")
