"""Estimates queue place, start and end of the jobs on a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import clock
from app.ledger.queue.estimates import (
    NOTHING,
    History,
    Left,
    Span,
    Unknown,
    queue_seconds,
    read_history,
    what_is_left,
)
from app.ledger.queue.position import Place, Queue, place_of, read_queue
from app.ledger.transitions import TERMINAL
from app.tables.base import JsonObject
from app.tables.data import Dataset
from app.tables.jobs import Job

GRAIN = timedelta(minutes=1)  # an estimate that changed with every second would spoil every ETag


@dataclass(frozen=True, slots=True)
class Outlook:
    place: Place
    start_at: datetime | None  # None also once it has begun
    end_at: datetime | None
    unknown: Unknown | None  # why there is no estimate


def outlooks(session: Session, jobs: Sequence[Job], progress: Mapping[str, JsonObject]) -> dict[str, Outlook]:
    """Return the outlook of each unfinished job, by id. `progress` is that of each job's phase."""
    active = [job for job in jobs if job.status not in TERMINAL]
    if not active:
        return {}
    queue = read_queue(session)
    history = read_history(session, {job.model_id for job in active})
    datasets = select(Dataset.id, Dataset.splits).where(Dataset.id.in_({job.dataset_id for job in active}))
    splits = {name: sizes for name, sizes in session.execute(datasets)}  # noqa: C416 - a result is no mapping
    now = session.scalars(select(clock())).one()
    found = {}
    for job in active:
        place = place_of(queue, job)
        wait = _wait(history, queue, job, place)
        left = what_is_left(history, job, splits[job.dataset_id], progress.get(job.id, {}))
        workers = queue.fitting.get(job.model_id, 1)
        found[job.id] = _outlook(job, place, wait, left, workers, now)
    return found


def _wait(history: History, queue: Queue, job: Job, place: Place) -> Span | Unknown:
    if place.reason in ("paused", "ending"):
        return Unknown("paused", "It does not go on, so it has no end to tell.")
    if place.steps_ahead is None:
        return NOTHING
    return queue_seconds(history, queue, job.model_id, place.steps_ahead)


def _outlook(
    job: Job, place: Place, wait: Span | Unknown, left: Left | Unknown, workers: int, now: datetime
) -> Outlook:
    if isinstance(wait, Unknown):
        return Outlook(place, None, None, wait)
    start = None if job.started_at is not None else _moment(now, wait.expected)
    if isinstance(left, Unknown):
        return Outlook(place, start, None, left)
    return Outlook(place, start, _moment(now, (wait + left.seconds(workers)).expected), None)


def _moment(now: datetime, seconds: float) -> datetime:
    """The next full GRAIN after so many seconds from now."""
    moment = (now + timedelta(seconds=seconds)).replace(second=0, microsecond=0)
    return moment + GRAIN
