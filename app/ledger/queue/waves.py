"""Which train examples an iteration asks: drawn by the seed, or recorded with it and continued in waves.

star_engine.data.adaptive decides; here is what it reads and where that is kept. The caller of whatever writes
holds the job's lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session

from app.ledger.data.examples import selected_positions, split_size, train_groups
from app.tables.data import Example
from app.tables.jobs import Iteration, Job
from app.tables.rationales import Rationale
from star_engine.config.star import StarConfig
from star_engine.data.adaptive import (
    Outcome,
    Selected,
    begun,
    continued,
    in_turn,
    progress,
    selected_from,
)
from star_engine.data.selection import in_stage
from star_engine.sampling.rationales import WITH_HINT, Route
from star_engine.tasks.verdict import VerdictCode

RIGHT = Rationale.verdict == VerdictCode.CORRECT.value


def selection_of(session: Session, job_id: str, number: int) -> Selected | None:
    """The recorded selection of an iteration; None where the seed alone decides."""
    stored = session.scalar(
        select(Iteration.selection).where(Iteration.job_id == job_id, Iteration.number == number)
    )
    return None if stored is None else selected_from(stored)


def asked_positions(
    session: Session, job_id: str, dataset_id: str, config: StarConfig, number: int
) -> Sequence[int]:
    """Positions of the train examples that an iteration asks so far, in the order of its selection."""
    selected = selection_of(session, job_id, number)
    if selected is not None:
        return selected.positions
    return selected_positions(session, dataset_id, config, number)


def begin_selection(session: Session, job: Job, iteration: Iteration) -> None:
    """Record the first wave of an iteration, where what it asks is recorded."""
    if not job.config.records_selection or iteration.selection is not None:
        return
    history = _history(session, job.id, iteration.number)
    turn = _turn(session, job, iteration.number, history)
    before = history.get(iteration.number - 1)
    iteration.selection = begun(job.config, iteration.number, turn, before).as_json()
    session.flush()


def continue_selection(session: Session, job: Job, iteration: Iteration) -> bool:
    """Add another wave to what an iteration asks, or close it; whether there is another wave."""
    if iteration.selection is None or (known := selected_from(iteration.selection)).used is not None:
        return False
    history = _history(session, job.id, iteration.number)
    selected = continued(job.config, _turn(session, job, iteration.number, history), known)
    iteration.selection = selected.as_json()
    session.flush()
    return selected.used is None


def record_outcomes(iteration: Iteration, outcomes: Mapping[int, Outcome]) -> None:
    """Keep what became of selected examples, by their positions."""
    if iteration.selection is None:
        return
    known = selected_from(iteration.selection)
    if known.used is None:
        iteration.selection = known.found(outcomes).as_json()


def _turn(session: Session, job: Job, number: int, history: Mapping[int, Selected]) -> list[int]:
    config = job.config
    groups = train_groups(session, job.dataset_id) if config.curriculum else None
    candidates = in_stage(config, split_size(session, job.dataset_id, "train"), number, groups)
    return in_turn(config, number, candidates, progress(history))


def failures_before(session: Session, job_id: str, number: int) -> dict[int, int]:
    """How many iterations before this one have failed at an example in a row, by its position."""
    known = progress(_history(session, job_id, number))
    return {position: one.unsolved for position, one in known.items()}


def _history(session: Session, job_id: str, number: int) -> dict[int, Selected]:
    """The selections of the iterations before, by number. One that was taken over from a job that did not
    record any is made of its tries: it was done with all that it asked.
    """
    earlier = select(Iteration).where(
        Iteration.job_id == job_id, Iteration.number > 0, Iteration.number < number
    )
    return {
        one.number: _of_tries(session, one) if one.selection is None else selected_from(one.selection)
        for one in session.scalars(earlier)
    }


def _of_tries(session: Session, iteration: Iteration) -> Selected:
    generated = Rationale.route == Route.GENERATED
    hinted = Rationale.route.in_(WITH_HINT)
    wanted = (
        generated,
        generated & RIGHT,
        hinted,
        hinted & RIGHT,
        Rationale.decision == "kept",
    )
    rows = session.execute(
        select(Example.position, *map(_count, wanted))
        .join(Example, Example.id == Rationale.example_id)
        .where(Rationale.iteration_id == iteration.id, Rationale.route != Route.MIXED)
        .group_by(Example.position)
        .order_by(Example.position)
    )
    outcomes = {int(position): Outcome(*map(int, counts)) for position, *counts in rows}
    asked = len(outcomes)
    return Selected(tuple(outcomes), None, outcomes, used=asked, done_with=asked)


def _count(which: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((which, 1), else_=0))
