"""Thoughts of an iteration: recorded once, at the end of its evaluation, and read by page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.ledger.queue.steps import Claim, check_fence
from app.ledger.results.rationales import claimed_iteration, insert_once, storable
from app.ledger.transitions import lock_job
from app.tables.candidates import Thought as ThoughtRow
from app.tables.jobs import Iteration
from star_engine.thoughts import Thought


def record_thoughts(
    session: Session, claim: Claim, facts: Mapping[str, Any], thoughts: Sequence[Thought]
) -> None:
    """Keep what thoughts are worth with the claimed iteration, and some of them. Raises Fenced."""
    lock_job(session, claim.job_id)  # finish_step, in this transaction too, wants it before the step
    check_fence(session, claim)
    iteration = claimed_iteration(session, claim)
    iteration.metrics = {**iteration.metrics, "thinking": dict(facts)}
    rows = [
        {
            "iteration_id": iteration.id,
            "position": position,
            "before": storable(one.before),
            "thought": storable(one.thought),
            "token": storable(one.token),
            "gain": one.gain,
            "nll": one.nll,
            "drawn": one.drawn,
        }
        for position, one in enumerate(thoughts)
    ]
    if rows:
        session.execute(insert_once(session, ThoughtRow), rows)


def thought_page(
    session: Session, job_id: str, *, iteration: int | None, drawn: bool | None, after: int, limit: int
) -> list[tuple[int, ThoughtRow]]:
    """Thoughts of a job behind a row id, each with its iteration. `drawn`: only those that were drawn evenly,
    or only others; None: both.
    """
    query = select(Iteration.number, ThoughtRow).join(Iteration, Iteration.id == ThoughtRow.iteration_id)
    query = query.where(Iteration.job_id == job_id, ThoughtRow.id > after)
    if iteration is not None:
        query = query.where(Iteration.number == iteration)
    if drawn is not None:
        query = query.where(ThoughtRow.drawn.is_(drawn))
    rows = session.execute(query.order_by(ThoughtRow.id).limit(limit))
    return [(number, row) for number, row in rows]


def each_thought(session: Session, iteration_id: int) -> Iterator[ThoughtRow]:
    """All of an iteration's, in order."""
    query = select(ThoughtRow).where(ThoughtRow.iteration_id == iteration_id).order_by(ThoughtRow.position)
    yield from session.scalars(query)
