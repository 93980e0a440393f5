"""Jobs: create, look up, cancel, pause, resume."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request, Response
from sqlalchemy import Engine

from app.errors import Invalid
from app.http.auth import Reader, Submitter
from app.http.dependencies import Config, Db, DryRunSlots, JobSlots, OfferedModels
from app.http.idempotency import IdempotencyKey
from app.http.ranges import matches
from app.http.router import api_router
from app.http.schemas import After, Limit, Page, ProblemOut, already
from app.intake.slots import ProjectSlots
from app.jobs.baselines import JobFamilyIn
from app.jobs.change import ResumeIn, cancel_job, pause_job, resume_job, retry_job
from app.jobs.create import Made, create_family, try_family
from app.jobs.dry_run.describe import DryRunOut
from app.jobs.filters import job_filter
from app.jobs.polled import PolledJobs
from app.jobs.read import read_jobs
from app.jobs.views import JobOut
from app.ledger.jobs.lists import JobFilter
from app.ledger.platform.keys import Caller
from app.results.quality.probes import ProbedDryRunOut, start_probe
from app.settings import Settings

router = api_router("jobs", "/v1/jobs")

NOT_MADE: dict[int | str, dict[str, Any]] = {
    200: {"description": "A dry run, or an existing equal job.", "model": JobOut | DryRunOut},
    202: {"description": "A dry run with a probe, which has begun.", "model": ProbedDryRunOut},
    409: {
        "description": "A request with this Idempotency-Key is still being processed.",
        "model": ProblemOut,
    },
}


async def _polled_jobs(request: Request) -> PolledJobs:
    polled: PolledJobs = request.app.state.polled_jobs
    return polled


Polled = Annotated[PolledJobs, Depends(_polled_jobs)]


@router.post("", status_code=201, summary="Create a job, or describe it with dry_run", responses=NOT_MADE)
async def create(
    caller: Submitter,
    db: Db,
    settings: Config,
    offered: OfferedModels,
    dry_runs: DryRunSlots,
    slots: JobSlots,
    sent: JobFamilyIn,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> JobOut | ProbedDryRunOut | DryRunOut:
    """Create a job. Everything that can be checked is checked before any GPU time is used.

    With `dry_run` nothing is made: the answer (200) holds the resolved configuration, warnings, the first
    prompts with their tokens, and an estimate. With `return_equal` an equal job that has neither failed nor
    been cancelled is returned (200, header `Deduplicated`). With `dry_run` and `probe` a sample of the train
    questions is asked as well (202): see GET /v1/probes/{id}; it is cancelled as a job is.
    """
    if sent.probe is not None:
        return await _probe(caller, db, settings, offered, slots, sent, response, idempotency_key)
    if sent.dry_run:
        response.status_code = 200
        return await dry_runs.run(
            caller.project_id, try_family, db, caller.project_id, offered, sent, settings
        )
    made = await slots.run(
        caller.project_id, create_family, db, caller, offered, sent, settings, idempotency_key
    )
    return made_answer(made, response)


async def _probe(
    caller: Caller,
    db: Engine,
    settings: Settings,
    offered: frozenset[str],
    slots: ProjectSlots,
    sent: JobFamilyIn,
    response: Response,
    key: str | None,
) -> ProbedDryRunOut:
    if not sent.dry_run:
        fix = "Send dry_run: true with it; the job that is made afterwards finds its tries on record."
        raise Invalid.for_field("probe", "A probe is part of a dry run.", fix, code="probe_without_dry_run")
    found, replayed = await slots.run(
        caller.project_id, start_probe, db, caller, offered, sent, settings, key
    )
    response.status_code = 202
    response.headers["Location"] = f"/v1/probes/{found.probe.id}"
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return found


def made_answer(made: Made, response: Response) -> JobOut:
    """The job, with headers that say where it is and whether it was there before."""
    response.headers["Location"] = f"/v1/jobs/{made.job.id}"
    if made.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    if made.deduplicated:
        response.status_code = 200
        response.headers["Deduplicated"] = "true"
    return made.job


@router.get("", summary="List jobs")
def list_(
    caller: Reader,
    db: Db,
    where: Annotated[JobFilter, Depends(job_filter)],
    limit: Limit = 20,
    after: After = None,
) -> Page[JobOut]:
    return read_jobs(db, caller.project_id, where, limit=limit, after=after)


@router.get("/{job_id}", summary="Get a job", response_model=JobOut)
async def get(
    caller: Reader,
    polled: Polled,
    job_id: str,
    if_none_match: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """Has an ETag: polling with If-None-Match returns 304 while nothing has changed.

    Progress, queue and estimates may be up to a second old; the status never is.
    """
    view = await polled.read(caller.project_id, job_id, polled=if_none_match is not None)
    headers = {"ETag": view.etag, "Cache-Control": "no-cache"}
    if matches(if_none_match, view.etag):
        return Response(status_code=304, headers=headers)
    return Response(view.body, media_type="application/json", headers=headers)


@router.post("/{job_id}/cancel", status_code=202, responses=already(JobOut), summary="Cancel a job for good")
def cancel(
    caller: Submitter,
    db: Db,
    response: Response,
    job_id: str,
    baselines: Annotated[bool, Query(description="Cancel its baselines, too.")] = False,
) -> JobOut:
    """Cancelling a cancelled job returns 200; a job that has ended otherwise, 409."""
    return _changed(response, cancel_job(db, caller.project_id, job_id, baselines=baselines))


@router.post("/{job_id}/pause", status_code=202, responses=already(JobOut), summary="Pause a job")
def pause(caller: Submitter, db: Db, response: Response, job_id: str) -> JobOut:
    """Pause a job. Nothing is lost: running steps release their claim and keep what they have recorded."""
    return _changed(response, pause_job(db, caller.project_id, job_id))


@router.post("/{job_id}/resume", status_code=202, responses=already(JobOut), summary="Resume a paused job")
def resume(
    caller: Submitter,
    db: Db,
    settings: Config,
    response: Response,
    job_id: str,
    sent: ResumeIn | None = None,
) -> JobOut:
    """A job that paused itself returns 409 with the reason. Only `no_spark` can be accepted."""
    return _changed(response, resume_job(db, caller.project_id, job_id, settings, sent))


@router.post("/{job_id}/retry", status_code=202, responses=already(JobOut), summary="Retry a failed job")
def retry(caller: Submitter, db: Db, settings: Config, response: Response, job_id: str) -> JobOut:
    """It continues from the step that failed, with all that it has recorded; its attempts start from zero."""
    return _changed(response, retry_job(db, caller.project_id, job_id, settings))


def _changed(response: Response, answer: tuple[JobOut, bool]) -> JobOut:
    job, changed = answer
    response.status_code = 202 if changed else 200
    return job
