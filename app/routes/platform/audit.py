"""The audit log, for a project's admins."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Depends, Query

from app.http.auth import Admin
from app.http.dependencies import Db
from app.http.router import api_router
from app.http.schemas import After, LongLimit, Moment, OfProject, Page
from app.ledger.platform.audit_log import AuditFilter
from app.platform.audit import AuditEntryOut, read_audit

router = api_router("audit", "/v1/audit")

Change = Literal["created", "changed", "deleted"]


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
    """List every object that a request changed, recorded in the same transaction. Entries cannot
    be edited.
    """
    return read_audit(db, caller, wanted, project=project, limit=limit, after=after)
