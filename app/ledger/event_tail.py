"""Reads how far the jobs' logs have come and the events since, for all waiting clients in two queries."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import Engine, and_, or_, select
from sqlalchemy.orm import Session

from app.database import reading
from app.ledger.events import list_events
from app.ledger.transitions import TERMINAL
from app.tables.jobs import Event, Job

JOBS, EVENTS = 200, 1000  # per look; what is more is read at once afterwards


@dataclass(frozen=True, slots=True)
class Position:
    """The seq of a job's last event, and whether none can follow."""

    seq: int
    ended: bool


@dataclass(frozen=True, slots=True)
class News:
    positions: Mapping[str, Position]  # by job; a job that is gone has none
    events: Sequence[Event]  # of each job without a gap, in order


def replay(engine: Engine, job_id: str, after: int, limit: int) -> tuple[Position, Sequence[Event]]:
    """Where the log stood, and then its events with seq > after, oldest first: up to there all of them."""
    with reading(engine) as session:
        position = _positions(session, [job_id]).get(job_id, Position(after, ended=True))
        return position, list_events(session, job_id, after, limit)


def news_since(engine: Engine, known: Mapping[str, int]) -> News:
    """What happened to these jobs after the seq known of each. One query where nothing did, else two."""
    with reading(engine) as session:
        positions = _positions(session, known)
        behind = ((name, known[name]) for name, position in positions.items() if position.seq > known[name])
        since = [and_(Event.job_id == name, Event.seq > seq) for name, seq in islice(behind, JOBS)]
        if not since:
            return News(positions, [])
        newest = select(Event).where(or_(*since)).order_by(Event.job_id, Event.seq).limit(EVENTS)
        return News(positions, session.scalars(newest).all())


def _positions(session: Session, job_ids: Collection[str]) -> dict[str, Position]:
    """The row is locked while an event is written, so its counter never names one that cannot be read yet."""
    query = select(Job.id, Job.events_written, Job.status).where(Job.id.in_(job_ids))
    return {name: Position(seq, status in TERMINAL) for name, seq, status in session.execute(query)}
