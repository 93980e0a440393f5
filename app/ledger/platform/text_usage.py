"""Tokens of texts that people had written, added up by project, day and model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import select, tuple_, update
from sqlalchemy.orm import Session

from app.ledger.results.rationales import insert_once
from app.tables.platform import Project
from app.tables.usage import TextUsage


@dataclass(frozen=True, slots=True)
class Writer:
    """Who had a model write on one day (UTC, as 2026-01-31). `model`: a base model's id, or an adapter's."""

    project_id: str
    day: str
    model: str
    base_model: str


@dataclass(slots=True)
class Written:
    """How much was written."""

    texts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    executions: int = 0  # programs that texts called
    cpu_ms: int = 0  # of these


def add_text_usage(session: Session, written: Mapping[Writer, Written]) -> None:
    """Add to what is recorded, in the caller's transaction. Of a project that is gone nothing is kept."""
    projects = {who.project_id for who in written}
    known = set(session.scalars(select(Project.id).where(Project.id.in_(projects))))
    for who, much in sorted(written.items(), key=lambda one: _place(one[0])):  # in one order: no deadlock
        if who.project_id not in known:
            continue
        row = {
            "project_id": who.project_id,
            "day": who.day,
            "model": who.model,
            "base_model": who.base_model,
            "texts": 0,
            "prompt_tokens": 0,
            "completion_tokens": 0,
            "executions": 0,
            "cpu_ms": 0,
        }
        session.execute(insert_once(session, TextUsage), [row])
        place = tuple_(TextUsage.project_id, TextUsage.day, TextUsage.model)
        session.execute(
            update(TextUsage)
            .where(place == _place(who))
            .values(
                texts=TextUsage.texts + much.texts,
                prompt_tokens=TextUsage.prompt_tokens + much.prompt_tokens,
                completion_tokens=TextUsage.completion_tokens + much.completion_tokens,
                executions=TextUsage.executions + much.executions,
                cpu_ms=TextUsage.cpu_ms + much.cpu_ms,
            )
        )


def text_usage(
    session: Session,
    project_id: str,
    *,
    since: date | None,
    until: date | None,
    after: tuple[str, str] | None,
    limit: int,
) -> Sequence[TextUsage]:
    """List usage by day and model, oldest first. `after`: day and model of the last row of the page before;
    `until` with its day."""
    query = select(TextUsage).where(TextUsage.project_id == project_id)
    if since is not None:
        query = query.where(TextUsage.day >= since.isoformat())
    if until is not None:
        query = query.where(TextUsage.day <= until.isoformat())
    if after is not None:
        query = query.where(tuple_(TextUsage.day, TextUsage.model) > after)
    return session.scalars(query.order_by(TextUsage.day, TextUsage.model).limit(limit)).all()


def _place(who: Writer) -> tuple[str, str, str]:
    return who.project_id, who.day, who.model
