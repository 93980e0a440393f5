"""Promotions: one adapter stands for each name and stage of a project, and stays as long as it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Exists, Select, exists, select
from sqlalchemy.orm import Session

from app.database import clock, new_id
from app.errors import Conflict, NotFound
from app.ledger.jobs.outcomes import read_iterations, read_outcomes
from app.ledger.platform.audit_log import give_reason
from app.ledger.platform.keys import Caller
from app.ledger.transitions import lock_job
from app.tables.base import JsonObject
from app.tables.jobs import Job
from app.tables.platform import ApiKey
from app.tables.quality import Promotion
from app.tables.rationales import Adapter
from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.evaluation.report import Difference, difference


@dataclass(frozen=True, slots=True)
class Place:
    """What an adapter is promoted to."""

    name: str
    stage: str


@dataclass(frozen=True, slots=True)
class Grounds:
    """On what it is promoted. `forced`: the receipt does not show a gain, and somebody wants it anyway."""

    receipt: JsonObject
    over_previous: JsonObject | None
    forced: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class Promoted:
    """A promotion with its adapter and the adapter's job."""

    promotion: Promotion
    adapter: Adapter
    job: Job


def current_promotion(session: Session, project_id: str, place: Place) -> Promotion | None:
    """What stands there now."""
    query = select(Promotion).where(
        Promotion.project_id == project_id,
        Promotion.name == place.name,
        Promotion.stage == place.stage,
        Promotion.ended_at.is_(None),
    )
    return session.scalars(query).one_or_none()


def promote(session: Session, caller: Caller, adapter: Adapter, place: Place, on: Grounds) -> Promotion:
    """Put the adapter there in place of what stood there. Raises Conflict for deleted weights.

    The caller has made sure that another adapter stands there, or none. The job's lock keeps the retention
    away meanwhile.
    """
    lock_job(session, adapter.job_id)
    session.refresh(adapter)
    if adapter.deleted_at is not None:
        raise Conflict("The adapter's weights have been deleted.", code="adapter_deleted")
    before = current_promotion(session, caller.project_id, place)
    if before is not None:
        before.ended_at = clock()
        session.flush()
    made = Promotion(
        id=new_id("prm"),
        project_id=caller.project_id,
        name=place.name,
        stage=place.stage,
        adapter_id=adapter.id,
        forced=on.forced,
        reason=on.reason,
        receipt=on.receipt,
        over_previous=on.over_previous,
        key_id=caller.key_id,
        promoted_by=session.get_one(ApiKey, caller.key_id).name,
    )
    session.add(made)
    give_reason(session, on.reason)
    session.flush()
    session.refresh(made)
    return made


def end_promotion(session: Session, promotion: Promotion) -> None:
    """Nothing stands there any more. One that has ended stays as it is."""
    if promotion.ended_at is None:
        promotion.ended_at = clock()
        session.flush()
        session.refresh(promotion)


def get_promotion(session: Session, project_id: str, promotion_id: str) -> Promoted:
    query = _of_project(project_id).where(Promotion.id == promotion_id)
    found = session.execute(query).one_or_none()
    if found is None:
        raise NotFound(f"There is no promotion {promotion_id}.")
    return Promoted(*found)


def list_promotions(
    session: Session,
    project_id: str,
    *,
    name: str | None = None,
    stage: str | None = None,
    adapter: str | None = None,
    current: bool = False,
    after: str | None = None,
    limit: int,
) -> Sequence[Promoted]:
    """Newest first."""
    query = _of_project(project_id)
    equal = {Promotion.name: name, Promotion.stage: stage, Promotion.adapter_id: adapter}
    for column, value in equal.items():
        if value is not None:
            query = query.where(column == value)
    if current:
        query = query.where(Promotion.ended_at.is_(None))
    if after is not None:
        query = query.where(Promotion.id < after)
    rows = session.execute(query.order_by(Promotion.id.desc()).limit(limit))
    return [Promoted(*row) for row in rows]


def _of_project(project_id: str) -> Select[Promotion, Adapter, Job]:
    """Without those of deleted jobs: they go with their adapters."""
    query = select(Promotion, Adapter, Job).join(Adapter, Adapter.id == Promotion.adapter_id)
    return query.join(Job, Job.id == Adapter.job_id).where(Promotion.project_id == project_id)


def over_previous(
    session: Session, adapter: Adapter, previous: Adapter | None, choices: int
) -> Difference | None:
    """The paired difference to the adapter that stood there, on the held-out questions that both answered.

    choices: of how many iterations the adapter was chosen.
    """
    if previous is None:
        return None
    own, other = (_correct(session, one) for one in (adapter, previous))
    return difference(own, other, choices=choices)


def _correct(session: Session, adapter: Adapter) -> dict[int, bool]:
    job = session.get_one(Job, adapter.job_id)
    turns = [one for one in read_iterations(session, job) if one.number == adapter.iteration_number]
    found = [one for one in read_outcomes(session, turns) if one.mode is EvaluationMode.ADAPTER]
    return dict(found[0].correct) if found else {}


def is_promoted(adapter_id: object) -> Exists:
    """Whether an adapter, named by its id or by a column, stands anywhere."""
    return exists().where(Promotion.adapter_id == adapter_id, Promotion.ended_at.is_(None))
