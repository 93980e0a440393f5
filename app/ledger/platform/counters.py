"""Counters of what leaves no other trace in the tables; read by GET /metrics."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.ledger.results.rationales import insert_once
from app.tables.platform import Counter


def count(session: Session, name: str) -> None:
    """Add one, in the caller's transaction."""
    session.execute(insert_once(session, Counter), [{"name": name, "value": 0}])
    session.execute(update(Counter).where(Counter.name == name).values(value=Counter.value + 1))


def counters(session: Session) -> dict[str, int]:
    """All that were ever counted."""
    return {row.name: row.value for row in session.scalars(select(Counter))}
