"""Pages of rationales: what a page costs depends neither on how deep it lies nor on how many there are.

Every filter has an index that ends in the id, so a page is one ordered walk without a sort; where several
filters meet, it is merged from a walk for each outcome that passes them (rationale_outcomes). An iteration's
rationales lie side by side (all are recorded before the next is sampled), so it becomes a range of ids and
goes with any of these indexes. A text is looked for in the next SCANNED rows of that walk and no further: see
docs/decisions/0011.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Select, func, select, union_all
from sqlalchemy.orm import Session

from app.ledger.keyset import LAST, walk, walk_back
from app.ledger.results.rationale_outcomes import outcome_walk, outcomes_of
from app.tables.data import Example
from app.tables.rationales import Rationale
from star_engine.sampling.rationales import Route

SCANNED = 2500  # rows of 1 kB that a page looks for a text in
Walks = Callable[[int], Sequence[Select[Any]]]  # of the ids after this one, ascending


@dataclass(frozen=True, slots=True)
class RationaleFilter:
    """What a page of rationales is narrowed to; None means any."""

    iteration: int | None = None
    route: Route | None = None
    verdict: str | None = None
    decision: str | None = None
    reason: str | None = None
    example: int | None = None  # row id
    text: str | None = None  # anywhere in the rationale, as it is written


@dataclass(frozen=True, slots=True)
class RationalePage:
    rows: Sequence[tuple[Rationale, Example]]
    has_more: bool  # there is more to look at; with a text, it may hold no more
    last: int | None  # the row id to go on after


def rationale_page(
    session: Session, job_id: str, wanted: RationaleFilter, *, after: int, limit: int
) -> RationalePage:
    """A page in the order of recording; `after` is the row id of the last one seen."""
    within = _range(session, job_id, wanted.iteration)
    if within is None:
        return RationalePage([], False, None)
    first, final = within
    walks = walks_of(session, job_id, wanted)
    after = max(after, first - 1)
    if not walks(after):
        return RationalePage([], False, None)
    if wanted.text is not None:
        return _holding(session, walks, after, final, wanted.text, limit)
    ids = list(session.scalars(_merged(walks(after), limit + 1, final).order_by("id").limit(limit + 1)))
    more = len(ids) > limit
    return RationalePage(_rows(session, ids[:limit]), more, ids[:limit][-1] if ids else None)


def walks_of(session: Session, job_id: str, wanted: RationaleFilter) -> Walks:
    """Return one index walk where a single index covers the filters; else one per outcome.

    Of several the index of one would lead through all rows that the others refuse: a second at a million.
    """
    filters = {name: getattr(wanted, name) for name in ("route", "verdict", "decision", "reason")}
    if wanted.example is not None or sum(value is not None for value in filters.values()) < 2:
        return lambda after: [walk_of(session, job_id, wanted, after)]
    outcomes = outcomes_of(session, job_id, **filters)
    return lambda after: [outcome_walk(session, job_id, outcome, after) for outcome in outcomes]


def _merged(walks: Sequence[Select[Any]], each: int, final: int) -> CompoundSelect[Any]:
    """Merge the walks: the first `each` ids of every walk, up to `final`.

    Within the walk a bound that no index ends at would make it look for its last row to the end of the job.
    """
    parts = [walk.limit(each).subquery() for walk in walks]
    return union_all(*(select(part.c.id).where(part.c.id <= final) for part in parts))


def walk_of(session: Session, job_id: str, wanted: RationaleFilter, after: int) -> Select[Any]:
    """The ids after `after` that pass all filters but iteration and text, ascending.

    The filter that lets least through leads: its index is walked, and the others are looked at on the way.
    """
    filters = {
        Rationale.example_id: wanted.example,
        Rationale.reason: wanted.reason,
        Rationale.verdict: wanted.verdict,
        Rationale.decision: wanted.decision,
        Rationale.route: wanted.route,
    }
    asked: list[tuple[Any, Any]] = [(column, value) for column, value in filters.items() if value is not None]
    place: list[tuple[Any, Any]] = [(Rationale.job_id, job_id), *asked[:1]]
    if wanted.example is not None:
        place.reverse()  # that index begins with the example
    query = walk(session, place, Rationale.id, after)
    return query.where(*(column == value for column, value in asked[1:]))


def bounds_of(session: Session, job_id: str, number: int) -> tuple[Select[Any], Select[Any]]:
    """Return the first and last row id of an iteration's rationales."""
    place = [(Rationale.job_id, job_id), (Rationale.iteration_number, number)]
    return walk(session, place, Rationale.id, 0).limit(1), walk_back(session, place, Rationale.id).limit(1)


def _range(session: Session, job_id: str, iteration: int | None) -> tuple[int, int] | None:
    """First and last id of the iteration; None if it has no rationale."""
    if iteration is None:
        return 0, LAST
    begin, end = bounds_of(session, job_id, iteration)
    first, final = session.scalar(begin), session.scalar(end)
    return None if first is None or final is None else (first, final)


def _holding(session: Session, walks: Walks, after: int, final: int, text: str, limit: int) -> RationalePage:
    """Return those of the next SCANNED rows that contain the text.

    What is told of a row is told of all before it: nothing counts beyond the first walk that was cut short.
    """
    share = max(1, SCANNED // len(walks(after)))
    parts = [walk.limit(share).subquery() for walk in walks(after)]
    told = (select(func.count(), func.max(part.c.id)).where(part.c.id <= final) for part in parts)
    counts = session.execute(union_all(*told)).all()
    cut = [last for count, last in counts if count == share]
    end = min(cut) if cut else max((last for _, last in counts if last is not None), default=None)
    if end is None:
        return RationalePage([], False, None)
    looked_at = _merged(walks(after), share, end).subquery()
    holding = select(looked_at.c.id).join(Rationale, Rationale.id == looked_at.c.id)
    holding = holding.where(_holds(session, text)).order_by(looked_at.c.id)
    ids = list(session.scalars(holding.limit(limit + 1)))
    if len(ids) > limit:
        return RationalePage(_rows(session, ids[:limit]), True, ids[limit - 1])
    return RationalePage(_rows(session, ids), bool(cut), end)


def _holds(session: Session, text: str) -> ColumnElement[bool]:
    """LIKE would take % and _ for something else, and on SQLite A for a."""
    if session.get_bind().dialect.name == "postgresql":
        return func.strpos(Rationale.text, text) > 0
    return func.instr(Rationale.text, text) > 0


def _rows(session: Session, ids: Sequence[int]) -> Sequence[tuple[Rationale, Example]]:
    query = select(Rationale, Example).join(Example, Example.id == Rationale.example_id)
    rows = session.execute(query.where(Rationale.id.in_(ids))).all()
    return sorted(((row[0], row[1]) for row in rows), key=lambda row: row[0].id)
