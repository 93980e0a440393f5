"""Copies the rows of iterations 0 to n from the forked job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, insert, literal, select
from sqlalchemy.orm import Session, aliased

from app.database import new_id
from app.errors import Conflict
from app.tables.base import Base
from app.tables.candidates import Candidate, PreferencePair, QuestionCurve, Thought, VerifierCurve
from app.tables.jobs import Iteration, Job
from app.tables.rationales import Adapter, Evaluation, Rationale, TrainingCurve, TrainingExample
from star_engine.adapters.roles import AdapterRole


@dataclass(frozen=True, slots=True)
class ForkPoint:
    """Where a fork begins: after this iteration of this job."""

    job_id: str
    iteration: int  # 0: only the baselines are taken over


def take_over(session: Session, job: Job, point: ForkPoint) -> None:
    """Copy iterations 0 to n with their rationales, training sets, adapters and answers.

    The files of adapters are shared: storage names them by their SHA-256. Rows are copied within the
    database, column by column, so that a column that is added later is taken over too.
    """
    source = session.get_one(Job, point.job_id, populate_existing=True)  # the retention may just have had it
    if source.texts_removed_at is not None:
        raise Conflict("The texts of the job have just been removed.", code="texts_removed")
    adapters = _copy_adapters(session, source, job, point.iteration)
    start = select(Adapter.deleted_at).where(Adapter.id == adapters.get(point.iteration))
    if point.iteration > 0 and session.execute(start).one_or_none() != (None,):
        raise Conflict(
            f"The adapter of iteration {point.iteration}, which a fork would go on from, is gone.",
            code="adapter_gone",
        )
    for old in _iterations(session, source, point.iteration):
        new = Iteration(
            job_id=job.id,
            number=old.number,
            phases_done=old.phases_done,
            metrics=old.metrics,
            training_set_sha256=old.training_set_sha256,
            selection=old.selection,
            stored_config=old.stored_config or source.stored_config,
            finished_at=old.finished_at,
        )
        session.add(new)
        session.flush()
        _copy_rationales(session, old, new, adapters.get(old.number - 1))
        _copy(session, Evaluation, Evaluation.iteration_id == old.id, {"iteration_id": new.id})
        for table in (Candidate, QuestionCurve, PreferencePair, VerifierCurve, Thought):
            _copy(session, table, table.iteration_id == old.id, {"iteration_id": new.id})
        _copy_training_set(session, old, new)
        _copy(session, TrainingCurve, TrainingCurve.iteration_id == old.id, {"iteration_id": new.id})


def _iterations(session: Session, source: Job, last: int) -> Sequence[Iteration]:
    query = select(Iteration).where(Iteration.job_id == source.id, Iteration.number <= last)
    return session.scalars(query.order_by(Iteration.number)).all()


def _copy_adapters(session: Session, source: Job, job: Job, last: int) -> dict[int, str]:
    """The ids of the copied generators, or of what thinks, by iteration. No retention deletes the originals
    meanwhile.
    """
    query = select(Adapter).where(Adapter.job_id == source.id, Adapter.iteration_number <= last)
    query = query.where(Adapter.verification.is_not(None))
    copies: dict[int, str] = {}
    for old in session.scalars(query.order_by(Adapter.iteration_number).with_for_update(read=True)):
        copied = new_id("adp")
        _copy(session, Adapter, Adapter.id == old.id, {"id": copied, "job_id": job.id, "pinned": False})
        if old.role is not AdapterRole.VERIFIER:
            copies[old.iteration_number] = copied
    return copies


def _copy_rationales(session: Session, old: Iteration, new: Iteration, adapter_id: str | None) -> None:
    changed: dict[str, Any] = {"job_id": new.job_id, "iteration_id": new.id}
    if adapter_id is not None:
        changed["sampler_adapter_id"] = adapter_id
    _copy(session, Rationale, Rationale.iteration_id == old.id, changed)


def _copy_training_set(session: Session, old: Iteration, new: Iteration) -> None:
    """A row of the training set points to its rationale, whose copy is found by example, route and sample."""
    made, copied = aliased(Rationale), aliased(Rationale)
    columns = _columns(TrainingExample, {"iteration_id": literal(new.id), "rationale_id": copied.id})
    query = (
        select(*columns.values())
        .join(made, made.id == TrainingExample.rationale_id)
        .join(
            copied,
            (copied.iteration_id == new.id)
            & (copied.example_id == made.example_id)
            & (copied.route == made.route)
            & (copied.sample == made.sample),
        )
        .where(TrainingExample.iteration_id == old.id)
        .order_by(TrainingExample.position)
    )
    session.execute(insert(TrainingExample).from_select(list(columns), query))


def _copy(session: Session, table: type[Base], which: ColumnElement[bool], changed: dict[str, Any]) -> None:
    columns = _columns(table, {name: literal(value) for name, value in changed.items()})
    query = select(*columns.values()).where(which).order_by(table.__table__.c.id)
    session.execute(insert(table).from_select(list(columns), query))


def _columns(table: type[Base], changed: dict[str, Any]) -> dict[str, Any]:
    """What each column of the copy is: the original's, but for these. Serial ids are new."""
    columns: dict[str, Any] = {column.key: column for column in table.__table__.columns}
    if "id" not in changed:
        del columns["id"]
    return columns | changed
