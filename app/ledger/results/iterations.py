"""Reading iterations: their metrics, their adapter, their training set page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from sqlalchemy import Engine, Select, and_, select
from sqlalchemy.orm import Session

from app.database import reading
from app.errors import NotFound
from app.ledger.data.examples import as_example
from app.tables.data import Example
from app.tables.jobs import Iteration, Job
from app.tables.rationales import Adapter, Rationale
from app.tables.rationales import TrainingExample as TrainingRow
from star_engine.adapters.roles import AdapterRole
from star_engine.config.star import StarConfig
from star_engine.sampling.rationales import RationaleKey, Route
from star_engine.tasks.examples import Example as EngineExample
from star_engine.tasks.programs.tool_use import turns_from
from star_engine.tasks.verdict import VerdictCode
from star_engine.training_set.rows import TrainingExample, keeps_hint, masks_from

PAGE = 500  # training examples read per transaction: a slow reader must not hold one open


def list_iterations(
    session: Session, job_id: str, *, after: int, limit: int
) -> Sequence[tuple[Iteration, str | None]]:
    """Iterations with number > after, each with the id of its verified adapter."""
    query = _with_adapter(job_id).where(Iteration.number > after).order_by(Iteration.number).limit(limit)
    return session.execute(query).all()


def get_iteration(session: Session, job_id: str, number: int) -> tuple[Iteration, str | None]:
    """An iteration with the id of its verified adapter; else NotFound."""
    row = session.execute(_with_adapter(job_id).where(Iteration.number == number)).one_or_none()
    if row is None:
        raise NotFound(f"The job {job_id} has no iteration {number} yet.")
    return row


def iterations_among(session: Session, job_id: str, numbers: range) -> Sequence[Iteration]:
    """The iterations of these numbers, ascending."""
    query = select(Iteration).where(Iteration.job_id == job_id, Iteration.number.in_(list(numbers)))
    return session.scalars(query.order_by(Iteration.number)).all()


def config_of(job: Job, iteration: Iteration) -> StarConfig:
    """What an iteration was made with: the job's settings, or those of the job it was taken over from."""
    return iteration.config or job.config


def _as_trained(row: TrainingRow, key: RationaleKey, config: StarConfig) -> TrainingExample:
    return TrainingExample(
        key,
        row.prompt,
        row.completion,
        keeps_hint(config, key),
        masks_from(row.masked or ()),
        turns_from(row.turns or ()),
    )


def each_training_example(engine: Engine, iteration_id: int, config: StarConfig) -> Iterator[TrainingExample]:
    """The training set in the order in which it is hashed."""
    after = -1
    while True:
        with reading(engine) as session:
            rows = session.execute(_training_page(iteration_id, after)).all()
        for row, route, sample, example_id in rows:
            key = RationaleKey(example_id, route, sample)
            yield _as_trained(row, key, config)
        if len(rows) < PAGE:
            return
        after = rows[-1][0].position


def each_trained_example(
    engine: Engine, iteration_id: int, config: StarConfig
) -> Iterator[tuple[TrainingExample, EngineExample]]:
    """The same, each row with the example that it was rendered from."""
    after = -1
    while True:
        with reading(engine) as session:
            page = session.execute(_trained_page(iteration_id, after)).all()
            rows = [(row, route, sample, as_example(example)) for row, route, sample, example in page]
        for row, route, sample, example in rows:
            key = RationaleKey(example.id, route, sample)
            yield _as_trained(row, key, config), example
        if len(rows) < PAGE:
            return
        after = rows[-1][0].position


def each_with_wrong_tries(engine: Engine, iteration_id: int) -> Iterator[tuple[TrainingRow, list[str]]]:
    """The iteration's own rows in order, each with the texts of the wrong tries at its example.

    Wrong is what was asked without a hint, ended by itself and was judged so by the verifier: neither what
    could not be read, nor what a reviewer has decided.
    """
    after = -1
    while True:
        with reading(engine) as session:
            rows = session.execute(_own_page(iteration_id, after)).all()
            wrong = _wrong_tries(session, iteration_id, {example_id for _, example_id in rows})
        for row, example_id in rows:
            yield row, wrong.get(example_id, [])
        if len(rows) < PAGE:
            return
        after = rows[-1][0].position


def _own_page(iteration_id: int, after: int) -> Select[TrainingRow, int]:
    return (
        select(TrainingRow, Rationale.example_id)
        .join(Rationale, Rationale.id == TrainingRow.rationale_id)
        .where(TrainingRow.iteration_id == iteration_id, TrainingRow.position > after)
        .order_by(TrainingRow.position)
        .limit(PAGE)
    )


def _wrong_tries(session: Session, iteration_id: int, examples: set[int]) -> dict[int, list[str]]:
    query = select(Rationale.example_id, Rationale.text).where(
        Rationale.iteration_id == iteration_id,
        Rationale.example_id.in_(examples),
        Rationale.route == Route.GENERATED,
        Rationale.verdict == VerdictCode.WRONG,
        Rationale.finish_reason == "stop",
        Rationale.override_id.is_(None),
    )
    found: dict[int, list[str]] = {}
    for example_id, text in session.execute(query.order_by(Rationale.example_id, Rationale.sample)):
        found.setdefault(example_id, []).append(text)
    return found


def _with_adapter(job_id: str) -> Select[Iteration, str | None]:
    verified = and_(
        Adapter.job_id == Iteration.job_id,
        Adapter.iteration_number == Iteration.number,
        Adapter.role.in_((AdapterRole.GENERATOR, AdapterRole.QUIET)),  # it has one or the other
        Adapter.verification.is_not(None),
    )
    columns: Any = select(Iteration, Adapter.id)  # an outer join: the id may be missing
    return cast(
        "Select[Iteration, str | None]",
        columns.outerjoin(Adapter, verified).where(Iteration.job_id == job_id),
    )


def _trained_page(iteration_id: int, after: int) -> Select[TrainingRow, Route, int, Example]:
    return (
        select(TrainingRow, Rationale.route, Rationale.sample, Example)
        .join(Rationale, Rationale.id == TrainingRow.rationale_id)
        .join(Example, Example.id == Rationale.example_id)
        .where(TrainingRow.iteration_id == iteration_id, TrainingRow.position > after)
        .order_by(TrainingRow.position)
        .limit(PAGE)
    )


def _training_page(iteration_id: int, after: int) -> Select[TrainingRow, Route, int, str]:
    return (
        select(TrainingRow, Rationale.route, Rationale.sample, Example.external_id)
        .join(Rationale, Rationale.id == TrainingRow.rationale_id)
        .join(Example, Example.id == Rationale.example_id)
        .where(TrainingRow.iteration_id == iteration_id, TrainingRow.position > after)
        .order_by(TrainingRow.position)
        .limit(PAGE)
    )
