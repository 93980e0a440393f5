"""Jobs: create, look up, cancel, pause, resume."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Annotated, Any, Literal

from fastapi import Depends, Header, Query, Response
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.database import reading, transaction
from app.http.auth import Reader, Submitter
from app.http.dependencies import Config, Db, OfferedModels, Polled
from app.http.idempotency import only_one
from app.http.polled_jobs import poll_answer
from app.http.router import api_router
from app.http.schemas import After, In, Limit, Page, ProblemOut, already, page
from app.jobs.baselines import JobFamilyIn, check_family
from app.jobs.create import create_once, made_before
from app.jobs.dry_run import DryRunOut, dry_run
from app.jobs.filters import job_filter
from app.jobs.views import JobOut, show_job, show_jobs
from app.ledger.jobs.jobs import (
    cancel_family,
    cancel_job,
    get_job,
    pause_job,
    resume_job,
)
from app.ledger.jobs.lists import JobFilter, list_jobs
from app.ledger.platform.keys import Caller
from app.settings import Settings
from app.tables.jobs import Job

router = api_router("jobs", "/v1/jobs")

NOT_MADE: dict[int | str, dict[str, Any]] = {
    200: {"description": "A dry run, or an equal job that was there before.", "model": JobOut | DryRunOut},
    409: {"description": "A request with this Idempotency-Key is being answered.", "model": ProblemOut},
}
IdempotencyKey = Annotated[
    str | None, Header(max_length=255, description="The same key and body again make no second job.")
]


@router.post("", status_code=201, summary="Create a job, or try it out", responses=NOT_MADE)
def create(
    caller: Submitter,
    db: Db,
    settings: Config,
    offered: OfferedModels,
    sent: JobFamilyIn,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> JobOut | DryRunOut:
    """Everything that can be checked is checked before any GPU time is spent.

    With `dry_run` nothing is made: the answer (200) holds the resolved configuration, warnings, the first
    prompts with their tokens, and an estimate. With `dedupe` an equal job that has neither failed nor been
    cancelled is returned (200, header `Deduplicated`).
    """
    if sent.dry_run:
        response.status_code = 200
        with reading(db) as session:
            return dry_run(session, check_family(session, caller.project_id, offered, sent, settings))
    with only_one(db, caller.project_id, idempotency_key):
        return _create(caller, db, settings, offered, sent, response, idempotency_key)


def _create(
    caller: Caller,
    db: Engine,
    settings: Settings,
    offered: frozenset[str],
    sent: JobFamilyIn,
    response: Response,
    idempotency_key: str | None,
) -> JobOut:
    fingerprint = sha256(sent.model_dump_json().encode()).hexdigest()
    made = made_before(db, caller, settings, idempotency_key, fingerprint)
    if made is not None:
        response.headers["Idempotent-Replayed"] = "true"
    else:
        with reading(db) as session:
            new = check_family(session, caller.project_id, offered, sent, settings)
        made, found = create_once(db, caller, new, settings, idempotency_key, fingerprint, dedupe=sent.dedupe)
        if found:
            response.status_code = 200
            response.headers["Deduplicated"] = "true"
    response.headers["Location"] = f"/v1/jobs/{made.id}"
    return made


@router.get("", summary="List jobs")
def list_(
    caller: Reader,
    db: Db,
    where: Annotated[JobFilter, Depends(job_filter)],
    limit: Limit = 20,
    after: After = None,
) -> Page[JobOut]:
    with reading(db) as session:
        found = list_jobs(session, caller.project_id, where=where, after=after, limit=limit + 1)
        return page(show_jobs(session, found), limit)


@router.get("/{job_id}", summary="Get a job", response_model=JobOut)
def get(
    caller: Reader,
    db: Db,
    polled: Polled,
    job_id: str,
    if_none_match: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """Carries an ETag: polling with If-None-Match is answered with 304 while nothing has changed.

    Such a poll may learn of progress, queue and estimates a second late; of the status at once.
    """
    with reading(db) as session:
        job = get_job(session, caller.project_id, job_id)
    view = polled.view(db, job, polled=if_none_match is not None)
    return poll_answer(view, if_none_match)


def shown(caller: Caller, db: Engine, job_id: str) -> JobOut:
    """The same for the dashboard, which has no ETag to check."""
    with reading(db) as session:
        return show_job(session, get_job(session, caller.project_id, job_id))


@router.post("/{job_id}/cancel", status_code=202, responses=already(JobOut), summary="Cancel a job for good")
def cancel(
    caller: Submitter,
    db: Db,
    response: Response,
    job_id: str,
    baselines: Annotated[bool, Query(description="Also those beside it.")] = False,
) -> JobOut:
    """Asked twice it is answered with 200; a job that has ended otherwise with 409."""
    return _change(db, caller, response, job_id, cancel_family if baselines else cancel_job)


@router.post("/{job_id}/pause", status_code=202, responses=already(JobOut), summary="Pause a job")
def pause(caller: Submitter, db: Db, response: Response, job_id: str) -> JobOut:
    """Nothing is lost: steps hand back what they have done."""
    return _change(db, caller, response, job_id, pause_job)


class ResumeIn(In):
    """`accept`: the reason for which the job paused itself, to go on all the same."""

    accept: Literal["no_spark"] | None = None


@router.post("/{job_id}/resume", status_code=202, responses=already(JobOut), summary="Resume a paused job")
def resume(
    caller: Submitter,
    db: Db,
    settings: Config,
    response: Response,
    job_id: str,
    sent: ResumeIn | None = None,
) -> JobOut:
    """A job that paused itself answers 409 with the reason. Only `no_spark` can be accepted."""
    accept = None if sent is None else sent.accept
    return _change(
        db, caller, response, job_id, lambda session, job: resume_job(session, job, settings, accept)
    )


def _change(
    db: Engine, caller: Caller, response: Response, job_id: str, verb: Callable[[Session, Job], Job]
) -> JobOut:
    with transaction(db) as session:
        job = get_job(session, caller.project_id, job_id)
        before = job.status
        job = verb(session, job)
        response.status_code = 200 if job.status == before else 202
        session.flush()
        return show_job(session, job)
