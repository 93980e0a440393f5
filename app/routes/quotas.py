"""What a project may use, and what it has used."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, Field, StrictFloat, StrictInt

from app.database import reading, transaction
from app.errors import BadRequest
from app.http.auth import Operator, Reader
from app.http.dependencies import Db
from app.http.router import api_router
from app.http.schemas import After, Day, In, Item, LongLimit, Page, partial_page
from app.ledger.platform.projects import get_project, meant_project
from app.ledger.platform.quotas import Standing, set_quota, standings
from app.ledger.platform.spending import SpentFilter, spent
from app.routes.api_keys import OfProject

router = api_router("usage", "/v1")

Count = Annotated[StrictInt, Field(ge=0, le=10**6)]
Bytes = Annotated[StrictInt, Field(ge=0, le=2**62)]


class QuotaIn(In):
    """The whole quota: what is left out is without a limit."""

    running_jobs: Count | None = None
    queued_jobs: Count | None = None
    gpu_hours: Annotated[StrictFloat, Field(ge=0, le=10**9)] | None = None  # per calendar month, UTC
    dataset_bytes: Bytes | None = None
    adapter_bytes: Bytes | None = None


class StandingOut(BaseModel):
    """`held` is what running steps have used so far; the limit holds for both together."""

    limit: float | None
    used: float
    held: float


class QuotaOut(Item):
    object: Literal["quota"] = "quota"
    project: str
    running_jobs: StandingOut
    queued_jobs: StandingOut
    gpu_hours: StandingOut
    dataset_bytes: StandingOut
    adapter_bytes: StandingOut


class UsageOut(Item):
    """What one phase of one job used on one day (UTC): of its claims that ended then."""

    object: Literal["usage"] = "usage"
    day: date
    project: str
    job: str
    phase: str
    gpu_seconds: float
    claims: int


@router.get("/quota", summary="Get the project's quota and what is used of it")
def get(caller: Reader, db: Db) -> QuotaOut:
    with reading(db) as session:
        return _out(caller.project_id, standings(session, caller.project_id))


@router.get("/projects/{project_id}/quota", summary="Get a project's quota")
def get_of(caller: Operator, db: Db, project_id: str) -> QuotaOut:
    with reading(db) as session:
        return _out(project_id, standings(session, get_project(session, project_id).id))


@router.put("/projects/{project_id}/quota", summary="Set a project's quota")
def put(caller: Operator, db: Db, project_id: str, sent: QuotaIn) -> QuotaOut:
    """What is used beyond it already stays; nothing new begins."""
    with transaction(db) as session:
        set_quota(session, get_project(session, project_id).id, sent.model_dump())
        return _out(project_id, standings(session, project_id))


@router.get("/usage", summary="List GPU-seconds by day, job and phase, oldest first")
def usage(
    caller: Reader,
    db: Db,
    project: OfProject = None,
    job: Annotated[str | None, Query(max_length=250)] = None,
    phase: Annotated[str | None, Query(max_length=50)] = None,
    since: Annotated[Day | None, Query(description="First day, UTC.")] = None,
    until: Annotated[Day | None, Query(description="Last day, UTC.")] = None,
    limit: LongLimit = 100,
    after: After = None,
) -> Page[UsageOut]:
    """Their sum is what the workers have held GPUs for, in claims that have ended."""
    last = None if after is None else _place(after)
    with reading(db) as session:
        project_id = meant_project(session, caller, project)
        wanted = SpentFilter(project_id, job, phase, since, until)
        found = spent(session, wanted, after=last, limit=limit + 1)
    rows = [
        UsageOut(
            id=f"usage_{row.day}_{row.job_id}_{row.phase}",
            day=date.fromisoformat(row.day),
            project=project_id,
            job=row.job_id,
            phase=row.phase,
            gpu_seconds=row.gpu_seconds,
            claims=row.claims,
        )
        for row in found
    ]
    return partial_page(rows[:limit], len(rows) > limit, rows[:limit][-1].id if rows else None)


def _place(usage_id: str) -> tuple[str, str, str]:
    """The day, the job and the phase in an id."""
    parts = usage_id.split("_", 4)  # usage, day, "job", its own id, phase
    if len(parts) != 5 or parts[0] != "usage":
        raise BadRequest(f"{usage_id!r} is no id of usage: they look like usage_2026-01-31_job_..._sample.")
    return parts[1], f"{parts[2]}_{parts[3]}", parts[4]


def _out(project_id: str, found: list[Standing]) -> QuotaOut:
    by_name = {row.name: StandingOut(limit=row.limit, used=row.used, held=row.held) for row in found}
    return QuotaOut(id=f"quota_{project_id}", project=project_id, **by_name)
