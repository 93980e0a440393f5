"""What became of each train example so far: solved or not, since when, tried how often."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, case, exists, func, select
from sqlalchemy.orm import Session

from app.tables.data import Example
from app.tables.jobs import Job
from app.tables.rationales import Rationale
from star_engine.sampling.rationales import WITH_HINT, Route
from star_engine.tasks.verdict import VerdictCode

SUSPECT_AFTER = 3  # iterations without a right try, hinted ones included
AT_ONCE = 200  # examples whose tries are counted in one query
ROUTES = (Route.GENERATED, *WITH_HINT)
RIGHT = Rationale.verdict == VerdictCode.CORRECT.value


class ExampleState(StrEnum):
    """By the newest iteration that tried the example."""

    SOLVED = "solved"  # right without a hint
    FORGOTTEN = "forgotten"  # not, but in an earlier iteration
    UNSOLVED = "unsolved"  # never right without a hint
    SUSPECT = "suspect"  # never right at all in SUSPECT_AFTER iterations: probably a wrong answer key


@dataclass(frozen=True, slots=True)
class ExampleProgress:
    """The tries of a job at one train example."""

    example: Example
    state: ExampleState
    since: int  # the iteration from which on it was solved, or not
    iterations: int  # that tried it
    last_iteration: int
    tries: int  # without a hint
    right: int
    hinted: int
    hinted_right: int
    trained: int  # iterations whose training sets have a row of it


def example_progress(
    session: Session, job: Job, state: ExampleState | None, *, after: int, limit: int
) -> Sequence[ExampleProgress]:
    """At most `limit` examples that were tried and are in this state, in the order of the dataset.

    after: the row id of the last one seen. A page of a rare state reads the tries of many examples.
    """
    found: list[ExampleProgress] = []
    while len(found) < limit:
        query = _tried(job, state).where(Example.id > after).order_by(Example.id).limit(AT_ONCE)
        examples = session.scalars(query).all()
        found.extend(one for one in _each(session, job, examples) if state in (None, one.state))
        if len(examples) < AT_ONCE:
            break
        after = examples[-1].id
    return found[:limit]


def _tried(job: Job, state: ExampleState | None) -> Select[Example]:
    """Examples with a try; where the state says whether one was ever right without a hint, only these."""
    tried = exists().where(
        Rationale.example_id == Example.id, Rationale.job_id == job.id, Rationale.route.in_(ROUTES)
    )
    solved = tried.where(Rationale.route == Route.GENERATED, RIGHT)
    query = select(Example).where(Example.dataset_id == job.dataset_id, Example.split == "train", tried)
    if state is None:
        return query
    return query.where(solved if state in (ExampleState.SOLVED, ExampleState.FORGOTTEN) else ~solved)


def _each(session: Session, job: Job, examples: Sequence[Example]) -> Iterator[ExampleProgress]:
    generated = Rationale.route == Route.GENERATED
    counted: Any = select(
        Rationale.example_id,
        Rationale.iteration_number,
        _count(generated),
        _count(generated & RIGHT),
        _count(~generated),
        _count(~generated & RIGHT),
        _count(Rationale.decision == "kept"),
    )
    rows = session.execute(
        counted.where(
            Rationale.job_id == job.id,
            Rationale.example_id.in_([one.id for one in examples]),
            Rationale.route.in_(ROUTES),
        )
        .group_by(Rationale.example_id, Rationale.iteration_number)
        .order_by(Rationale.iteration_number)
    )
    visits: dict[int, list[tuple[int, ...]]] = {}
    for example_id, *counts in rows:
        visits.setdefault(example_id, []).append(tuple(map(int, counts)))
    for example in examples:
        if found := visits.get(example.id):
            yield _summed(example, found)


def _count(which: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((which, 1), else_=0))


def _summed(example: Example, visits: Sequence[tuple[int, ...]]) -> ExampleProgress:
    """`visits`: by iteration, ascending: its number, tries, right, hinted, hinted_right, kept."""
    solved = [right > 0 for _, _, right, *_ in visits]
    streak = next((n for n, one in enumerate(reversed(solved)) if one != solved[-1]), len(solved))
    tries, right, hinted, hinted_right = (sum(column) for column in list(zip(*visits, strict=True))[1:5])
    return ExampleProgress(
        example=example,
        state=_state(solved, ever_right=right + hinted_right > 0),
        since=visits[len(visits) - streak][0],
        iterations=len(visits),
        last_iteration=visits[-1][0],
        tries=tries,
        right=right,
        hinted=hinted,
        hinted_right=hinted_right,
        trained=_positive(kept for *_, kept in visits),
    )


def _positive(counts: Iterable[int]) -> int:
    return sum(count > 0 for count in counts)


def _state(solved: Sequence[bool], *, ever_right: bool) -> ExampleState:
    if solved[-1]:
        return ExampleState.SOLVED
    if any(solved):
        return ExampleState.FORGOTTEN
    suspect = not ever_right and len(solved) >= SUSPECT_AFTER
    return ExampleState.SUSPECT if suspect else ExampleState.UNSOLVED
