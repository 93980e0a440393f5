"""Prompt sets: stored as the engine reads them, once per project and content."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import new_id
from app.errors import NotFound
from app.ledger.data.staging import next_version
from app.ledger.platform.audit_log import maker
from app.tables.data import PromptSet as PromptSetRow
from star_engine.tasks.examples import FewShotExample, PromptSet
from star_engine.tasks.kind import DOCUMENTS, Kind


def record_prompt_set(
    session: Session, project_id: str, name: str, prompt_set: PromptSet, *, listed: bool = True
) -> tuple[PromptSetRow, bool]:
    """The row of this prompt set and whether it is new: the same name and content again are the same row,
    which is listed once somebody has made it.
    """
    examples = [asdict(example) for example in prompt_set.examples]
    sha = _sha256(prompt_set.kind, examples)
    query = select(PromptSetRow).where(
        PromptSetRow.project_id == project_id, PromptSetRow.sha256 == sha, PromptSetRow.name == name
    )
    known = session.scalars(query.limit(1)).one_or_none()
    if known is not None:
        known.listed = known.listed or listed
        session.flush()
        return known, False
    row = PromptSetRow(
        id=new_id("ps"),
        project_id=project_id,
        name=name,
        kind=prompt_set.kind,
        examples=examples,
        sha256=sha,
        version=next_version(session, PromptSetRow, project_id, name),
        listed=listed,
        **maker(session),
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    return row, True


NO_FEW_SHOT = "no few-shot examples"


def no_few_shot(session: Session, project_id: str) -> PromptSetRow:
    """The prompt set of jobs on documents, which has no examples. See `row_of`."""
    return row_of(session, project_id, NO_FEW_SHOT, PromptSet(DOCUMENTS, ()))


def row_of(session: Session, project_id: str, name: str, prompt_set: PromptSet) -> PromptSetRow:
    """The project's prompt set of these examples. Where it has none yet, a row that is not recorded:
    `create_job` does that.
    """
    examples = [asdict(example) for example in prompt_set.examples]
    sha = _sha256(prompt_set.kind, examples)
    query = select(PromptSetRow).where(PromptSetRow.project_id == project_id, PromptSetRow.sha256 == sha)
    known = session.scalars(query.order_by(PromptSetRow.id).limit(1)).one_or_none()
    if known is not None:
        return known
    return PromptSetRow(
        id=new_id("ps"),
        project_id=project_id,
        name=name,
        kind=prompt_set.kind,
        examples=examples,
        sha256=sha,
    )


def as_prompt_set(row: PromptSetRow) -> PromptSet:
    examples = tuple(
        FewShotExample(**{**example, "choices": _tuple(example["choices"])}) for example in row.examples
    )
    return PromptSet(row.kind, examples)


def get_prompt_set(session: Session, project_id: str, prompt_set_id: str) -> PromptSetRow:
    row = session.get(PromptSetRow, prompt_set_id)
    if row is None or row.project_id != project_id:
        raise NotFound(f"There is no prompt set {prompt_set_id}.")
    return row


def list_prompt_sets(
    session: Session, project_id: str, *, name: str | None = None, after: str | None, limit: int
) -> Sequence[PromptSetRow]:
    """Newest first, without those that nobody has made; `after` is the id of the last one seen."""
    query = select(PromptSetRow).where(PromptSetRow.project_id == project_id, PromptSetRow.listed)
    query = query.order_by(PromptSetRow.id.desc()).limit(limit)
    if name is not None:
        query = query.where(PromptSetRow.name == name)
    if after is not None:
        query = query.where(PromptSetRow.id < after)
    return session.scalars(query).all()


def _sha256(kind: Kind, examples: list[dict[str, object]]) -> str:
    text = json.dumps([kind, examples], sort_keys=True, ensure_ascii=False)
    return sha256(text.encode()).hexdigest()


def _tuple(choices: list[str] | None) -> tuple[str, ...] | None:
    return None if choices is None else tuple(choices)
