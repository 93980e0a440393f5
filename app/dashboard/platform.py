"""The platform: workers, queue, what the project may use and has used, its keys, and who changed what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from app.dashboard.rendering import page, url
from app.dashboard.session import Admin, Operator, Viewer
from app.data.base_models import read_models
from app.http.dependencies import Config, Db, OfferedModels
from app.http.router import page_router
from app.http.schemas import After
from app.jobs.read import read_jobs
from app.ledger.jobs.lists import JobFilter
from app.ledger.platform.audit_log import AuditFilter
from app.ledger.platform.keys import Caller, Scope
from app.platform.api_keys import DAY, ApiKeyIn, create_key, read_keys, revoke_key
from app.platform.audit import read_audit
from app.platform.bills import read_project_bill
from app.platform.data_retention import read_data_retention
from app.platform.quotas import read_own_quota, read_text_usage, read_usage
from app.platform.workers import read_workers, release_worker
from app.results.quality.shares import read_sharing
from app.tables.statuses import JobStatus

router = page_router("/platform")
ROWS = 50
DAYS = 14  # of usage that are shown
WAITING = (JobStatus.QUEUED, JobStatus.VALIDATING, JobStatus.RUNNING)


@router.get("")
def overview(request: Request, caller: Viewer, db: Db, offered: OfferedModels) -> Response:
    return page(
        request,
        "platform.html",
        caller,
        workers=read_workers(db, limit=1000).data,
        waiting=read_jobs(db, caller.project_id, JobFilter(statuses=WAITING), limit=100),
        quota=read_own_quota(db, caller),
        kept=read_data_retention(db, caller),
        models=read_models(db, offered, limit=100).data,
        sharing=read_sharing(db, caller),
    )


@router.post("/workers/{worker_id}/release")
def release(caller: Operator, db: Db, worker_id: str) -> Response:
    release_worker(db, worker_id)
    return RedirectResponse(url("platform"), status_code=303)


@router.get("/usage")
def usage(request: Request, caller: Viewer, db: Db, settings: Config, after: After = None) -> Response:
    since = (datetime.now(UTC) - timedelta(days=DAYS)).date()
    found = read_usage(db, caller, since=since, limit=1000, after=after)
    phases = sorted({row.phase for row in found.data})
    days: dict[str, dict[str, float]] = {}
    for row in found.data:
        of_day = days.setdefault(row.day.isoformat(), dict.fromkeys(phases, 0.0))
        of_day[row.phase] += row.gpu_seconds
    most = max((sum(spent.values()) for spent in days.values()), default=0.0)
    return page(
        request,
        "usage.html",
        caller,
        found=found,
        days=days,
        phases=phases,
        most=most,
        shown_days=DAYS,
        bill=read_project_bill(db, caller, settings, since=since) if settings.gpu_prices else None,
        texts=read_text_usage(db, caller, since=since, limit=1000).data,
    )


@router.get("/keys")
def keys(request: Request, caller: Admin, db: Db, after: After = None) -> Response:
    found = read_keys(db, caller, limit=ROWS, after=after)
    return page(request, "keys.html", caller, found=found, made=None, scopes=_givable(caller))


@router.post("/keys")
def make_key(
    request: Request,
    caller: Admin,
    db: Db,
    name: Annotated[str, Form(min_length=1, max_length=200)],
    scope: Annotated[Scope, Form()] = Scope.SUBMIT,
    days: Annotated[int, Form(ge=0, le=3650)] = 0,
) -> Response:
    """The key is in the answer to this form and nowhere else; `days` 0: it never expires."""
    wanted = ApiKeyIn(name=name, scopes=[scope], expires_in_seconds=days * DAY or None)
    made = create_key(db, caller, wanted)
    found = read_keys(db, caller, limit=ROWS)
    return page(request, "keys.html", caller, found=found, made=made, scopes=_givable(caller), status=201)


@router.post("/keys/{api_key_id}/revoke")
def revoke(caller: Admin, db: Db, api_key_id: str) -> Response:
    revoke_key(db, caller, api_key_id)
    return RedirectResponse(url("platform", "keys"), status_code=303)


@router.get("/audit")
def changes(
    request: Request,
    caller: Admin,
    db: Db,
    target: Annotated[str | None, Query(max_length=250)] = None,
    key: Annotated[str | None, Query(max_length=250)] = None,
    after: After = None,
) -> Response:
    wanted = AuditFilter(None, None, target or None, None, key or None, None, None)
    found = read_audit(db, caller, wanted, limit=ROWS, after=after)
    return page(request, "audit.html", caller, found=found, target=target, key=key)


def _givable(caller: Caller) -> list[Scope]:
    """A key makes none that may do more than itself."""
    return [scope for scope in Scope if caller.may(scope)]
