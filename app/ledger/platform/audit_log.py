"""The audit log: every object that a request changes, written in the change's own transaction.

No route writes it. While a request that may change something is served, every session notes which objects
it flushes and adds their entries before it commits, so a new route cannot forget to
(docs/decisions/0014).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import event, inspect, select
from sqlalchemy.orm import ORMExecuteState, Session

from app.tables.audit import AuditEntry
from app.tables.base import Base
from app.tables.platform import ApiKey

# What follows from a change by itself, or belongs to no one's decision.
CONSEQUENCES = frozenset(
    {
        "audit_log",
        "counters",
        "evaluations",
        "events",
        "examples",
        "executions",
        "idempotency_keys",
        "iterations",
        "job_logs",
        "outbox",
        "rationales",
        "steps",
        "study_pairs",
        "training_examples",
        "trial_answers",
        "usage",
        "webhook_deliveries",
        "workers",
    }
)
UNREMARKABLE = frozenset(
    {"events_written", "served_at"}
)  # columns that count, and say nothing of who did what
_NOTED, _REASON = "audit", "audit_reason"


@dataclass(frozen=True, slots=True)
class Acting:
    """The actor on whose behalf this request changes things."""

    project_id: str
    key_id: str
    request_id: str
    action: str  # method and route
    created: set[tuple[str, str]] = field(default_factory=set, compare=False)  # table and id


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """What a page of the log is narrowed to; None means any."""

    action: str | None = None
    change: str | None = None
    target: str | None = None
    target_type: str | None = None
    key_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


acting: ContextVar[Acting | None] = ContextVar("acting", default=None)


def maker(session: Session) -> dict[str, str | None]:
    """Columns that say who makes an object: the key of the request that is served, and its name now."""
    who = acting.get()
    key = None if who is None else session.get(ApiKey, who.key_id)
    return {"created_by": None if key is None else key.id, "creator": None if key is None else key.name}


def list_audit(
    session: Session, project_id: str, wanted: AuditFilter, *, after: int | None, limit: int
) -> Sequence[AuditEntry]:
    """Newest first; `after` is the row id of the last one seen."""
    query = select(AuditEntry).where(AuditEntry.project_id == project_id)
    equal = {
        AuditEntry.action: wanted.action,
        AuditEntry.change: wanted.change,
        AuditEntry.target: wanted.target,
        AuditEntry.target_type: wanted.target_type,
        AuditEntry.key_id: wanted.key_id,
    }
    for column, value in equal.items():
        if value is not None:
            query = query.where(column == value)
    if wanted.since is not None:
        query = query.where(AuditEntry.created_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(AuditEntry.created_at < wanted.until)
    if after is not None:
        query = query.where(AuditEntry.id < after)
    return session.scalars(query.order_by(AuditEntry.id.desc()).limit(limit)).all()


def give_reason(session: Session, reason: str | None) -> None:
    """What this transaction changes was changed for this reason: it stands in the entries of the log."""
    session.info[_REASON] = reason


class Unaudited(RuntimeError):
    """A request changes objects by a statement that no session can see: change them as objects."""


@event.listens_for(Session, "do_orm_execute")
def _refuse_unseen(state: ORMExecuteState) -> None:
    """UPDATE and DELETE of an audited table would pass by the log."""
    if acting.get() is None or not (state.is_update or state.is_delete):
        return
    mapper = state.bind_mapper
    if mapper is not None and mapper.local_table.name not in CONSEQUENCES:  # type: ignore[attr-defined]
        raise Unaudited(f"{mapper.class_.__name__} is changed by a statement")


@event.listens_for(Session, "before_flush")
def _note_changes(session: Session, *_: object) -> None:
    """Before: what a column is set to in SQL counts as unchanged once it was sent."""
    who = acting.get()
    if who is not None:
        for item in session.dirty:
            _note(session, item, "changed", who)
        for item in session.deleted:
            _note(session, item, "deleted", who)


@event.listens_for(Session, "after_flush")
def _note_created(session: Session, _: object) -> None:
    """After: only then it has an id."""
    who = acting.get()
    if who is not None:
        for item in session.new:
            _note(session, item, "created", who)


def _note(session: Session, item: object, change: str, who: Acting) -> None:
    """Write one entry per object and transaction, however often it is flushed.

    What a request creates in one transaction and completes in another, as an upload does, is created once.
    """
    if not isinstance(item, Base) or item.__tablename__ in CONSEQUENCES:
        return
    state = inspect(item)
    changed = [name for name in state.mapper.column_attrs.keys() if state.attrs[name].history.has_changes()]  # noqa: SIM118
    if "deleted_at" in changed and item.__dict__["deleted_at"] is not None and change == "changed":
        change = "deleted"  # its rows go later, which is nobody's decision any more
    fields = set(changed) - UNREMARKABLE if change == "changed" else set[str]()
    if change == "changed" and not fields:
        return
    target = "/".join(str(part) for part in state.mapper.primary_key_from_instance(item))
    noted = session.info.setdefault(_NOTED, {})
    known = noted.get((item.__tablename__, target))
    if change == "changed" and (item.__tablename__, target) in who.created:
        return
    if known is not None:
        known.fields, known.change = sorted(fields | set(known.fields)), change
        return
    if change == "created":
        who.created.add((item.__tablename__, target))
    owner = target if item.__tablename__ == "projects" else getattr(item, "project_id", who.project_id)
    noted[item.__tablename__, target] = AuditEntry(
        project_id=owner,
        key_id=who.key_id,
        request_id=who.request_id,
        action=who.action,
        change=change,
        target_type=item.__tablename__,
        target=target,
        fields=sorted(fields),
    )


@event.listens_for(Session, "before_commit")
def _write(session: Session) -> None:
    if acting.get() is None:
        return
    session.flush()
    reason = session.info.pop(_REASON, None)
    entries = session.info.pop(_NOTED, {}).values()
    for entry in entries:
        entry.reason = reason
    session.add_all(entries)


@event.listens_for(Session, "after_rollback")
def _forget(session: Session) -> None:
    session.info.pop(_NOTED, None)
    session.info.pop(_REASON, None)
