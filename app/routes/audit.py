"""Who changed what, for a project's admins."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from fastapi import Depends, Query

from app.database import reading
from app.errors import BadRequest
from app.http.auth import Admin
from app.http.dependencies import Db
from app.http.router import api_router
from app.http.schemas import After, LongLimit, Moment, Page, Resource, page
from app.ledger.platform.audit_log import AuditFilter, list_audit
from app.ledger.platform.projects import meant_project
from app.routes.api_keys import OfProject
from app.tables.audit import AuditEntry

router = api_router("audit", "/v1/audit")

_ID = re.compile(r"aud_(\d{1,18})")
Change = Literal["created", "changed", "deleted"]


class AuditEntryOut(Resource):
    """`fields` names what changed; what it was and is stays out of the log."""

    object: Literal["audit_entry"] = "audit_entry"
    project: str
    key: str
    request_id: str
    action: str
    change: str
    target_type: str
    target: str
    fields: list[str]


def _wanted(
    action: Annotated[
        str | None, Query(max_length=200, description="Method and route: `POST /v1/jobs/{job_id}/cancel`.")
    ] = None,
    change: Change | None = None,
    target: Annotated[str | None, Query(max_length=250, description="An object's id.")] = None,
    target_type: Annotated[str | None, Query(max_length=100, description="jobs, api_keys, ...")] = None,
    key: Annotated[str | None, Query(max_length=250, description="The id of the key that asked.")] = None,
    since: Moment | None = None,
    until: Moment | None = None,
) -> AuditFilter:
    return AuditFilter(action, change, target, target_type, key, since, until)


@router.get("", summary="List changes, newest first")
def list_(
    caller: Admin,
    db: Db,
    wanted: Annotated[AuditFilter, Depends(_wanted)],
    project: OfProject = None,
    limit: LongLimit = 100,
    after: After = None,
) -> Page[AuditEntryOut]:
    """Every object that a request changed, in the transaction that changed it. Nobody can edit this."""
    last = None if after is None else _row_id(after)
    with reading(db) as session:
        project_id = meant_project(session, caller, project)
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
    )
