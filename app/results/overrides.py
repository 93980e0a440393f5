"""Reviewers' verdicts on rationales as they are sent and shown."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.database import reading, transaction
from app.errors import NotFound
from app.http.idempotency import UNKEYED, Once
from app.http.schemas import In, Page, Resource, Text, page
from app.ledger.jobs.jobs import job_with_texts
from app.ledger.platform.keys import Caller
from app.ledger.results.overrides import honoured_from, override_history, override_verdict
from app.results.rationales import rationale_of
from app.tables.jobs import Job
from app.tables.overrides import Override
from app.tables.rationales import Rationale

MAX_SHOWN = 1000  # overrides of one text


class OverrideIn(In):
    verdict: Literal["correct", "wrong"]
    reason: Annotated[Text, Field(min_length=1, max_length=2000)]


class OverrideOut(Resource):
    """Applies to this text of this example wherever it occurs in the job and its forks."""

    object: Literal["override"] = "override"
    job: str
    rationale: str
    verdict: str
    reason: str
    reviewer: str
    key: str
    person: Annotated[
        str | None, Field(description="The reviewer, by the identity provider's subject; null: no person.")
    ]


class NewOverrideOut(OverrideOut):
    honoured_from: Annotated[
        int | None,
        Field(description="The first iteration whose training set applies it. Null: only a fork's will."),
    ]


def create_override(
    db: Engine, caller: Caller, job_id: str, rationale_id: str, sent: OverrideIn, once: Once = UNKEYED
) -> NewOverrideOut:
    """Overrules the verifier for this text. The last override of a text counts."""
    with transaction(db) as session:
        job, rationale = _found(session, caller.project_id, job_id, rationale_id)
        made = override_verdict(session, caller, job, rationale, sent.verdict, sent.reason)
        once.remember(session, f"ovr_{made.id}")
        return NewOverrideOut(**dict(_out(made)), honoured_from=honoured_from(session, job))


def read_override(
    db: Engine, caller: Caller, job_id: str, rationale_id: str, override_id: str
) -> NewOverrideOut:
    """One override of the rationale; else NotFound."""
    with reading(db) as session:
        job, rationale = _found(session, caller.project_id, job_id, rationale_id)
        history = override_history(session, job, rationale)
        found = next((one for one in history if f"ovr_{one.id}" == override_id), None)
        if found is None:
            raise NotFound(f"There is no override {override_id}.")
        return NewOverrideOut(**dict(_out(found)), honoured_from=honoured_from(session, job))


def read_overrides(db: Engine, project_id: str, job_id: str, rationale_id: str) -> Page[OverrideOut]:
    """The overrides of one rationale, oldest first."""
    with reading(db) as session:
        job, rationale = _found(session, project_id, job_id, rationale_id)
        found = override_history(session, job, rationale)
    return page([_out(override) for override in found], MAX_SHOWN)


def _found(session: Session, project_id: str, job_id: str, rationale_id: str) -> tuple[Job, Rationale]:
    job = job_with_texts(session, project_id, job_id)
    return job, rationale_of(session, job, rationale_id)[0]


def _out(row: Override) -> OverrideOut:
    return OverrideOut(
        id=f"ovr_{row.id}",
        created_at=row.created_at,
        job=row.job_id,
        rationale=f"rat_{row.rationale_id}",
        verdict=row.verdict,
        reason=row.reason,
        reviewer=row.reviewer,
        key=row.key_id,
        person=row.person,
    )
