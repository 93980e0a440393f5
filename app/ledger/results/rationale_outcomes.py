"""Rationales by route, verdict, decision and reason at once: docs/decisions/0023.

What became of a rationale is one of some twenty combinations, whatever the size of the job. They are found by
jumping through an index from one to the next, and a page that is filtered by several of the four is merged
from a walk for each combination that passes. No row that does not belong to the page is ever looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, String, literal_column, select
from sqlalchemy.orm import Session

from app.ledger.keyset import walk
from app.tables.rationales import OUTCOME, Rationale

_outcome = literal_column(OUTCOME, String)
_COLUMNS = ("route", "verdict", "decision", "reason")


def outcomes_of(session: Session, job_id: str, **wanted: str | None) -> list[str]:
    """The job's combinations that pass these filters (None: any). As many index probes as it has."""
    least = select(_outcome).where(Rationale.job_id == job_id).order_by(_outcome).limit(1)
    known = select(least.scalar_subquery().label("outcome")).cte("known", recursive=True)
    following = least.where(_outcome > known.c.outcome).correlate(known).scalar_subquery()
    jumps = select(following).where(known.c.outcome.is_not(None))
    found = session.scalars(select(known.union_all(jumps).c.outcome))
    return [outcome for outcome in found if outcome is not None and _passes(outcome, wanted)]


def outcome_walk(session: Session, job_id: str, outcome: str, after: int) -> Select[Any]:
    """Ids of the combination after `after`, ascending."""
    return walk(session, [(Rationale.job_id, job_id), (_outcome, outcome)], Rationale.id, after)


def _passes(outcome: str, wanted: dict[str, str | None]) -> bool:
    values: Sequence[str] = outcome.split("/", len(_COLUMNS) - 1)
    return all(wanted.get(name) in (None, value) for name, value in zip(_COLUMNS, values, strict=True))
