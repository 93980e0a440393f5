"""A project's quotas and usage."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response

from app.http.auth import Operator, Reader
from app.http.dependencies import Config, Db
from app.http.ranges import IfMatch, tagged
from app.http.router import api_router
from app.http.schemas import CHANGED, After, Day, LongLimit, OfProject, Page
from app.platform.bills import JobBillOut, ProjectBillOut, read_job_bill, read_project_bill
from app.platform.quotas import (
    QuotaIn,
    QuotaOut,
    TextUsageOut,
    UsageOut,
    change_quota,
    limits_of,
    read_own_quota,
    read_quota,
    read_text_usage,
    read_usage,
)

router = api_router("usage", "/v1")


@router.get("/quota", summary="Get the project's quota and usage")
def get(caller: Reader, db: Db, response: Response) -> QuotaOut:
    return _tagged(response, read_own_quota(db, caller))


@router.get("/projects/{project_id}/quota", summary="Get a project's quota")
def get_of(caller: Operator, db: Db, response: Response, project_id: str) -> QuotaOut:
    """Its ETag is that of the limits: what is used of them does not change it."""
    return _tagged(response, read_quota(db, project_id))


@router.put("/projects/{project_id}/quota", responses=CHANGED, summary="Set a project's quota")
def put(
    caller: Operator, db: Db, expected: IfMatch, response: Response, project_id: str, sent: QuotaIn
) -> QuotaOut:
    """Replace the quota. Usage above it stays; nothing new starts."""
    return _tagged(response, change_quota(db, project_id, sent, expected))


def _tagged(response: Response, shown: QuotaOut) -> QuotaOut:
    tagged(response, limits_of(shown))
    return shown


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
    """The sums are the GPU time of all ended claims, and the programs that jobs ran in a sandbox."""
    return read_usage(
        db,
        caller,
        project=project,
        job=job,
        phase=phase,
        since=since,
        until=until,
        limit=limit,
        after=after,
    )


@router.get("/bill", summary="Get what the project's GPU time costs, by job")
def bill(
    caller: Reader,
    db: Db,
    settings: Config,
    project: OfProject = None,
    since: Annotated[Day | None, Query(description="First day, UTC.")] = None,
    until: Annotated[Day | None, Query(description="Last day, UTC.")] = None,
) -> ProjectBillOut:
    """GPU-hours of all claims that ended in these days, at the prices that are set now. Without a price of
    each class of GPU that was used there is no amount, and `unavailable` says which is missing.
    """
    return read_project_bill(db, caller, settings, project=project, since=since, until=until)


@router.get("/jobs/{job_id}/bill", summary="Get what a job's GPU time costs, by iteration")
def job_bill(caller: Reader, db: Db, settings: Config, job_id: str) -> JobBillOut:
    """With the cost of each train question that was newly solved. Without a price of each class of GPU that
    was used there is no amount, and `unavailable` says which is missing.
    """
    return read_job_bill(db, caller, job_id, settings)


@router.get("/usage/texts", summary="List tokens of completions by day and model, oldest first")
def texts(
    caller: Reader,
    db: Db,
    project: OfProject = None,
    since: Annotated[Day | None, Query(description="First day, UTC.")] = None,
    until: Annotated[Day | None, Query(description="Last day, UTC.")] = None,
    limit: LongLimit = 100,
    after: After = None,
) -> Page[TextUsageOut]:
    """What `/v1/completions` and `/v1/chat/completions` wrote, up to a second ago."""
    return read_text_usage(db, caller, project=project, since=since, until=until, limit=limit, after=after)
