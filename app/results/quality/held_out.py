"""The held-out questions side by side: who answered which one right, what was gained, and what was lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from app.database import reading
from app.errors import BadRequest
from app.ledger.jobs.jobs import job_with_texts
from app.ledger.jobs.outcomes import read_iterations, read_outcomes
from app.tables.data import Example
from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.evaluation.answer import best_iteration
from star_engine.evaluation.report import Difference, Outcomes, difference, reference

MAX_COLUMNS = 14  # few-shot baselines, and the newest iterations


class State(StrEnum):
    """What became of a question between the two models that are compared."""

    LOST = "lost"
    GAINED = "gained"
    WAVERING = "wavering"  # the same by both, and otherwise in between
    WRONG = "wrong"
    RIGHT = "right"


@dataclass(frozen=True, slots=True)
class Asked:
    """A model that was asked all of them: a column. `name` is what `against` of the answers takes."""

    name: str
    iteration: int
    mode: EvaluationMode
    correct: int
    n: int


@dataclass(frozen=True, slots=True)
class Question:
    """A row: whether each column answered it right; None where it was not asked."""

    id: str
    question: str
    answer: str
    state: State
    right: tuple[bool | None, ...]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A page of questions, lost ones first, and how many there are of each state."""

    columns: tuple[Asked, ...]
    left_out: int  # older iterations that have no column
    one: str  # the name of the column that is compared
    against: str
    difference: Difference | None
    counts: Mapping[State, int]
    questions: tuple[Question, ...]
    total: int  # of the state that is shown
    after: int  # questions before this page


def read_held_out(
    db: Engine,
    project_id: str,
    job_id: str,
    *,
    one: str | None = None,
    against: str | None = None,
    state: State | None = None,
    after: int = 0,
    limit: int = 50,
) -> HeldOut | None:
    """The best iteration against the better few-shot baseline, unless others are named.

    None before two models have answered. Raises BadRequest for a name that has no answers, Gone where the
    project's retention has removed them.
    """
    with reading(db) as session:
        job = job_with_texts(session, project_id, job_id)
        known = {_name(found): found for found in read_outcomes(session, read_iterations(session, job))}
        if len(known) < 2:
            return None
        here = _chosen(known, one, best_iteration(list(known.values())))
        there = _chosen(known, against, reference(known.values()), other_than=here)
        columns = _columns(known, here, there)
        states = _states(here, there, [known[name] for name in columns])
        order = list(State)
        rows = sorted(states, key=lambda example: (order.index(states[example]), example))
        wanted = [example for example in rows if state is None or states[example] is state]
        shown = wanted[after : after + limit]
        return HeldOut(
            columns=tuple(_asked(known[name]) for name in columns),
            left_out=len(known) - len(columns),
            one=_name(here),
            against=_name(there),
            difference=difference(here.correct, there.correct),
            counts={each: sum(found is each for found in states.values()) for each in State},
            questions=tuple(_questions(session, shown, states, [known[name] for name in columns])),
            total=len(wanted),
            after=after,
        )


def _name(found: Outcomes) -> str:
    return str(found.iteration) if found.mode is EvaluationMode.ADAPTER else found.mode.value


def _chosen(
    known: Mapping[str, Outcomes],
    name: str | None,
    usual: Outcomes | None,
    other_than: Outcomes | None = None,
) -> Outcomes:
    if name is None:
        others = [found for found in known.values() if found is not other_than]
        return others[-1] if usual is None or usual is other_than else usual
    if name not in known:
        raise BadRequest(f"There are no answers of {name!r}; there are those of: {', '.join(known)}.")
    return known[name]


def _columns(known: Mapping[str, Outcomes], *always: Outcomes) -> list[str]:
    """Baselines, the two that are compared, and the newest iterations that there is room for."""
    kept = [name for name, found in known.items() if not found.iteration or found in always]
    rest = [name for name in known if name not in kept]
    room = max(0, MAX_COLUMNS - len(kept))
    chosen = {*kept, *rest[len(rest) - room :]} if room else {*kept}
    return [name for name in known if name in chosen]


def _states(here: Outcomes, there: Outcomes, columns: Sequence[Outcomes]) -> dict[int, State]:
    found = {}
    for example in here.correct.keys() & there.correct.keys():
        right, before = here.correct[example], there.correct[example]
        if right is not before:
            found[example] = State.GAINED if right else State.LOST
        elif any(column.correct.get(example, right) is not right for column in columns):
            found[example] = State.WAVERING
        else:
            found[example] = State.RIGHT if right else State.WRONG
    return found


def _asked(found: Outcomes) -> Asked:
    correct = sum(found.correct.values())
    return Asked(_name(found), found.iteration, found.mode, correct, len(found.correct))


def _questions(
    session: Session, ids: Sequence[int], states: Mapping[int, State], columns: Sequence[Outcomes]
) -> list[Question]:
    query = select(Example).where(Example.id.in_(ids))
    rows = {example.id: example for example in session.scalars(query)}
    return [
        Question(
            id=rows[example].external_id,
            question=rows[example].question,
            answer=rows[example].answer,
            state=states[example],
            right=tuple(column.correct.get(example) for column in columns),
        )
        for example in ids
    ]
