"""The audit log as it is shown."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy import Engine

from app.database import reading
from app.errors import BadRequest
from app.http.schemas import Page, Resource, page
from app.ledger.platform.audit_log import AuditFilter, list_audit
from app.ledger.platform.keys import Caller
from app.ledger.platform.projects import meant_project
from app.tables.audit import AuditEntry

_ID = re.compile(r"aud_(\d{1,18})")


class AuditEntryOut(Resource):
    """`fields` names the changed fields; their values are not logged."""

    object: Literal["audit_entry"] = "audit_entry"
    project: str
    key: str
    request_id: str
    action: str
    change: str
    target_type: str
    target: str
    fields: list[str]
    reason: Annotated[str | None, Field(description="That the request gave, as to force a promotion.")]


def read_audit(
    db: Engine,
    caller: Caller,
    wanted: AuditFilter,
    *,
    limit: int,
    project: str | None = None,
    after: str | None = None,
) -> Page[AuditEntryOut]:
    """A page of the project's changes, newest first. `project` is another than the caller's own."""
    last = None if after is None else _row_id(after)
    with reading(db) as session:
        project_id = meant_project(session, caller, project, with_deleted=True)
        found = list_audit(session, project_id, wanted, after=last, limit=limit + 1)
    return page([_out(entry) for entry in found], limit)


def _row_id(entry_id: str) -> int:
    match = _ID.fullmatch(entry_id)
    if match is None:
        raise BadRequest(f"{entry_id!r} is no id of an entry: they look like aud_123.")
    return int(match[1])


def _out(entry: AuditEntry) -> AuditEntryOut:
    return AuditEntryOut(
        id=f"aud_{entry.id}",
        created_at=entry.created_at,
        project=entry.project_id,
        key=entry.key_id,
        request_id=entry.request_id,
        action=entry.action,
        change=entry.change,
        target_type=entry.target_type,
        target=entry.target,
        fields=entry.fields,
        reason=entry.reason,
    )
