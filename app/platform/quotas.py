"""Quotas and usage as they are sent and shown."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, Field, RootModel, StrictFloat, StrictInt
from sqlalchemy import Engine

from app.database import reading, transaction
from app.errors import BadRequest
from app.http.ranges import ANY_VERSION, Expected
from app.http.schemas import In, Item, Page, page, partial_page
from app.ledger.platform.keys import Caller
from app.ledger.platform.projects import get_project, meant_project
from app.ledger.platform.quotas import Standing, set_quota, standings
from app.ledger.platform.spending import SpentFilter, spent
from app.ledger.platform.text_usage import text_usage

Count = Annotated[StrictInt, Field(ge=0, le=10**6)]
Bytes = Annotated[StrictInt, Field(ge=0, le=2**62)]


class QuotaIn(In):
    """The whole quota: fields left out are unlimited."""

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


class Limits(RootModel[dict[str, float | None]]):
    """By the quota's fields."""


class UsageOut(Item):
    """What one phase of one job used on one day (UTC): claims that ended and programs that ran then."""

    object: Literal["usage"] = "usage"
    day: date
    project: str
    job: str
    phase: str
    gpu_seconds: float
    claims: int
    executions: int = Field(description="Programs that ran in a sandbox.")
    sandbox_seconds: float = Field(description="CPU seconds of these programs.")


class TextUsageOut(Item):
    """What a model wrote for people on one day (UTC), outside of jobs."""

    object: Literal["text_usage"] = "text_usage"
    day: date
    project: str
    model: Annotated[str, Field(description="A base model, or an adapter's id.")]
    base_model: str
    texts: int
    prompt_tokens: Annotated[int, Field(description="Of each text, its prompt's.")]
    completion_tokens: int
    executions: int = Field(description="Programs that these texts called (`with_tools`).")
    sandbox_seconds: float = Field(description="CPU seconds of these programs.")


def read_own_quota(db: Engine, caller: Caller) -> QuotaOut:
    with reading(db) as session:
        return _out(caller.project_id, standings(session, caller.project_id))


def read_quota(db: Engine, project_id: str) -> QuotaOut:
    """Any project's quota, for operators."""
    with reading(db) as session:
        return _out(project_id, standings(session, get_project(session, project_id).id))


def limits_of(shown: QuotaOut) -> Limits:
    """The quota without what is used of it: what its ETag is made of."""
    return Limits({name: getattr(shown, name).limit for name in QuotaIn.model_fields})


def change_quota(db: Engine, project_id: str, sent: QuotaIn, expected: Expected = ANY_VERSION) -> QuotaOut:
    """Replace the whole quota. Usage above it stays; nothing new starts."""
    with transaction(db) as session:
        project = get_project(session, project_id)  # it stands for the quota, which may not be there yet
        expected.check(session, project, lambda: limits_of(_out(project_id, standings(session, project_id))))
        set_quota(session, project.id, sent.model_dump())
        return _out(project_id, standings(session, project_id))


def read_usage(
    db: Engine,
    caller: Caller,
    *,
    limit: int,
    project: str | None = None,
    job: str | None = None,
    phase: str | None = None,
    since: date | None = None,
    until: date | None = None,
    after: str | None = None,
) -> Page[UsageOut]:
    """A page of what was used by day, job and phase, oldest first: by claims that have ended."""
    last = None if after is None else _place(after)
    with reading(db) as session:
        project_id = meant_project(session, caller, project, with_deleted=True)
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
            executions=row.executions,
            sandbox_seconds=row.sandbox_seconds,
        )
        for row in found
    ]
    return partial_page(rows[:limit], len(rows) > limit, rows[:limit][-1].id if rows else None)


def read_text_usage(
    db: Engine,
    caller: Caller,
    *,
    limit: int,
    project: str | None = None,
    since: date | None = None,
    until: date | None = None,
    after: str | None = None,
) -> Page[TextUsageOut]:
    """A page of tokens by day and model, oldest first."""
    last = None if after is None else _text_place(after)
    with reading(db) as session:
        project_id = meant_project(session, caller, project, with_deleted=True)
        found = text_usage(session, project_id, since=since, until=until, after=last, limit=limit + 1)
        rows = [
            TextUsageOut(
                id=f"texts_{row.day}_{row.model}",
                day=date.fromisoformat(row.day),
                project=project_id,
                model=row.model,
                base_model=row.base_model,
                texts=row.texts,
                prompt_tokens=row.prompt_tokens,
                completion_tokens=row.completion_tokens,
                executions=row.executions,
                sandbox_seconds=row.cpu_ms / 1000,
            )
            for row in found
        ]
    return page(rows, limit)


def _text_place(usage_id: str) -> tuple[str, str]:
    """The day and the model in an id."""
    parts = usage_id.split("_", 2)
    if len(parts) != 3 or parts[0] != "texts":
        raise BadRequest(f"{usage_id!r} is no id of usage: they look like texts_2026-01-31_MODEL.")
    return parts[1], parts[2]


def _place(usage_id: str) -> tuple[str, str, str]:
    """The day, the job and the phase in an id."""
    parts = usage_id.split("_", 4)  # usage, day, "job", its own id, phase
    if len(parts) != 5 or parts[0] != "usage":
        raise BadRequest(f"{usage_id!r} is no id of usage: they look like usage_2026-01-31_job_..._sample.")
    return parts[1], f"{parts[2]}_{parts[3]}", parts[4]


def _out(project_id: str, found: list[Standing]) -> QuotaOut:
    by_name = {row.name: StandingOut(limit=row.limit, used=row.used, held=row.held) for row in found}
    return QuotaOut(id=f"quota_{project_id}", project=project_id, **by_name)
