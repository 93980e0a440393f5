"""Pages of answers to held-out examples, and how each compares with another model's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, false, select, tuple_
from sqlalchemy.orm import Session, aliased

from app.tables.data import Example
from app.tables.jobs import Iteration
from app.tables.rationales import Evaluation
from star_engine.evaluation.accuracy import COMPARED, EvaluationMode

RIGHT = "correct"


def recorded_mode(mode: EvaluationMode, dataset_id: str | None) -> str:
    """How answers are recorded: by mode, and for a dataset that is measured along by its id behind it."""
    return mode if dataset_id is None else f"{mode}/{dataset_id}"


def dataset_of(recorded: str) -> str | None:
    """The dataset in a recorded mode; None: the job's own."""
    return recorded.partition("/")[2] or None


class Changed(StrEnum):
    GAINED = "gained"  # right here, and not there
    LOST = "lost"  # right there, and not here


@dataclass(frozen=True, slots=True)
class Against:
    """The answers to compare with: an iteration's adapter, or a few-shot baseline (iteration 0)."""

    iteration: int
    mode: EvaluationMode


@dataclass(frozen=True, slots=True)
class AnswerFilter:
    """What a page of answers is narrowed to; None means any."""

    iteration: int | None = None
    mode: EvaluationMode | None = None
    verdict: str | None = None
    example: int | None = None  # row id
    dataset: str | None = None  # one of evaluation.also; None: the job's own
    changed: Changed | None = None  # needs `against`


@dataclass(frozen=True, slots=True)
class FoundAnswer:
    iteration: int
    given: Evaluation
    example: Example
    other: Evaluation | None  # the answer that it is compared with


def answer_page(
    session: Session,
    job_id: str,
    wanted: AnswerFilter,
    against: Against | None,
    *,
    after: int | None,
    limit: int,
) -> Sequence[FoundAnswer]:
    """Return at most `limit` + 1 answers by iteration, mode and example; `after` is the last row id seen.

    The order is that of the unique index, so that a page is one walk of it however deep it lies.
    """
    other = aliased(Evaluation)
    columns: Any = select(Iteration.number, Evaluation, Example, other)
    query = (
        columns.join(Evaluation, Evaluation.iteration_id == Iteration.id)
        .join(Example, Example.id == Evaluation.example_id)
        .outerjoin(other, _same_example(session, job_id, wanted.dataset, against, other))
        .where(Iteration.job_id == job_id, *_narrowed(wanted, other))
        .order_by(Evaluation.iteration_id, Evaluation.mode, Evaluation.example_id)
        .limit(limit + 1)
    )
    seen = None if after is None else session.get(Evaluation, after)
    if seen is not None:
        place = tuple_(Evaluation.iteration_id, Evaluation.mode, Evaluation.example_id)
        query = query.where(place > (seen.iteration_id, seen.mode, seen.example_id))
    return [FoundAnswer(*row) for row in session.execute(query)]


def answered(session: Session, job_id: str) -> Sequence[Against]:
    """Return the iterations and modes with answers to the job's own held-out examples."""
    query = (
        select(Iteration.number, Evaluation.mode)
        .join(Evaluation, Evaluation.iteration_id == Iteration.id)
        .where(Iteration.job_id == job_id, Evaluation.mode.in_([mode.value for mode in COMPARED]))
        .group_by(Iteration.number, Evaluation.mode)
        .order_by(Iteration.number, Evaluation.mode)
    )
    return [Against(number, EvaluationMode(mode)) for number, mode in session.execute(query)]


def _same_example(
    session: Session, job_id: str, dataset: str | None, against: Against | None, other: Any
) -> ColumnElement[bool]:
    if against is None:
        return false()
    place = select(Iteration.id).where(Iteration.job_id == job_id, Iteration.number == against.iteration)
    return and_(
        other.iteration_id == session.scalar(place),
        other.mode == recorded_mode(against.mode, dataset),
        other.example_id == Evaluation.example_id,
    )


def _narrowed(wanted: AnswerFilter, other: Any) -> list[ColumnElement[bool]]:
    every = tuple(EvaluationMode) if wanted.changed is None else COMPARED  # gained with a hint is not gained
    modes = [wanted.mode] if wanted.mode is not None else list(every)
    found: list[ColumnElement[bool]] = [
        Evaluation.mode.in_([recorded_mode(mode, wanted.dataset) for mode in modes])
    ]
    if wanted.iteration is not None:
        found.append(Iteration.number == wanted.iteration)
    if wanted.verdict is not None:
        found.append(Evaluation.verdict == wanted.verdict)
    if wanted.example is not None:
        found.append(Evaluation.example_id == wanted.example)
    if wanted.changed is Changed.GAINED:
        found += [Evaluation.verdict == RIGHT, other.verdict != RIGHT]
    if wanted.changed is Changed.LOST:
        found += [Evaluation.verdict != RIGHT, other.verdict == RIGHT]
    return found
