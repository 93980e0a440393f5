"""Jobs: create, look up, cancel, pause, resume."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.auth import Reader, Submitter
from app.conditional import matches
from app.context import Config, Db, OfferedModels
from app.database import reading, transaction
from app.failpoints import failpoint
from app.job_baselines import JobFamilyIn, check_family
from app.ledger.families import baselines_of
from app.ledger.jobs import (
    NewJob,
    best_iteration,
    cancel_family,
    cancel_job,
    create_job,
    get_job,
    job_progress,
    list_jobs,
    pause_job,
    remember_key,
    replayed_job,
    resume_job,
)
from app.ledger.keys import Caller
from app.ledger.planning import Purpose
from app.ledger.transitions import TERMINAL, JobStatus
from app.models.jobs import Job
from app.schemas import After, In, Limit, Page, Resource, Timestamp, page
from app.settings import Settings
from star_engine.config import StarConfig

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

IdempotencyKey = Annotated[
    str | None, Header(max_length=255, description="The same key and body again make no second job.")
]


class JobOut(Resource):
    object: Literal["job"] = "job"
    name: str
    status: JobStatus
    is_terminal: bool
    phase: str | None
    iteration: int
    iterations: int
    stop_reason: str | None
    status_reason: dict[str, Any] | None
    progress: Annotated[dict[str, Any], Field(description="Of the current phase: done, total, unit.")]
    model: str
    dataset: str
    prompt_set: str
    config: dict[str, Any]
    priority: int
    metadata: dict[str, Any]
    purpose: Annotated[Purpose, Field(description="star, or evaluation: one adapter on one dataset.")]
    adapter: Annotated[str | None, Field(description="The adapter that an evaluation asks.")]
    retention: Annotated[dict[str, Any] | None, Field(description="What stays of its adapters at its end.")]
    baselines: Annotated[list[dict[str, Any]], Field(description="job, preset, status of each beside it")]
    baseline_of: Annotated[str | None, Field(description="The job that this baseline stands beside.")]
    forked_from: Annotated[dict[str, Any] | None, Field(description="job, iteration: what it goes on from")]
    started_at: Timestamp | None
    finished_at: Timestamp | None
    best: Annotated[dict[str, Any] | None, Field(description="iteration, accuracy, adapter_id")]


@router.post("", status_code=201, summary="Create a job")
def create(
    caller: Submitter,
    db: Db,
    settings: Config,
    offered: OfferedModels,
    sent: JobFamilyIn,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> JobOut:
    """Everything that can be checked is checked before any GPU time is spent."""
    fingerprint = sha256(sent.model_dump_json().encode()).hexdigest()
    replayed = made_before(db, caller, idempotency_key, fingerprint)
    if replayed is None:
        with reading(db) as session:
            new = check_family(session, caller.project_id, offered, sent)
        made = create_once(db, caller, new, settings, idempotency_key, fingerprint)
    else:
        made = replayed
        response.headers["Idempotent-Replayed"] = "true"
    response.headers["Location"] = f"/v1/jobs/{made.id}"
    return made


@router.get("", summary="List jobs, newest first")
def list_(
    caller: Reader, db: Db, status: JobStatus | None = None, limit: Limit = 20, after: After = None
) -> Page[JobOut]:
    with reading(db) as session:
        found = list_jobs(session, caller.project_id, status=status, after=after, limit=limit + 1)
        return page([job_out(session, job) for job in found], limit)


@router.get("/{job_id}", summary="Get a job", response_model=JobOut)
def get(caller: Reader, db: Db, request: Request, job_id: str) -> Response:
    """Carries an ETag: polling with If-None-Match is answered with 304 while nothing has changed."""
    with reading(db) as session:
        body = job_out(session, get_job(session, caller.project_id, job_id)).model_dump_json().encode()
    etag = f'"{sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if matches(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


@router.post("/{job_id}/cancel", status_code=202, summary="Cancel a job for good")
def cancel(
    caller: Submitter,
    db: Db,
    response: Response,
    job_id: str,
    baselines: Annotated[bool, Query(description="Also those beside it.")] = False,
) -> JobOut:
    """Asked twice it is answered with 200; a job that has ended otherwise with 409."""
    return _change(db, caller, response, job_id, cancel_family if baselines else cancel_job)


@router.post("/{job_id}/pause", status_code=202, summary="Pause a job; nothing is lost")
def pause(caller: Submitter, db: Db, response: Response, job_id: str) -> JobOut:
    return _change(db, caller, response, job_id, pause_job)


class ResumeIn(In):
    """`accept`: the reason for which the job paused itself, to go on all the same."""

    accept: Literal["no_spark"] | None = None


@router.post("/{job_id}/resume", status_code=202, summary="Resume a paused job")
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
        return job_out(session, job)


def create_once(
    db: Engine, caller: Caller, new: NewJob, settings: Settings, key: str | None, fingerprint: str
) -> JobOut:
    try:
        with transaction(db) as session:
            job = create_job(session, caller.project_id, caller.key_id, new, settings)
            if key is not None:
                remember_key(session, job, key, fingerprint)
            made = job_out(session, job)
            failpoint("job.before_commit")
        failpoint("job.after_commit")
        return made
    except IntegrityError:  # the same key came in beside this one and was first
        replayed = made_before(db, caller, key, fingerprint)
        if replayed is None:
            raise
        return replayed


def made_before(db: Engine, caller: Caller, key: str | None, fingerprint: str) -> JobOut | None:
    if key is None:
        return None
    with reading(db) as session:
        job = replayed_job(session, caller.project_id, key, fingerprint)
        return None if job is None else job_out(session, job)


def job_out(session: Session, job: Job) -> JobOut:
    return JobOut(
        id=job.id,
        created_at=job.created_at,
        name=job.name,
        status=JobStatus(job.status),
        is_terminal=JobStatus(job.status) in TERMINAL,
        phase=job.phase,
        iteration=job.iteration,
        iterations=StarConfig.model_validate(job.config).iterations,
        stop_reason=job.stop_reason,
        status_reason=job.status_reason,
        progress=job_progress(session, job),
        model=job.model_id,
        dataset=job.dataset_id,
        prompt_set=job.prompt_set_id,
        config=job.config,
        priority=job.priority,
        metadata=job.labels,
        purpose=Purpose(job.purpose),
        adapter=job.adapter_id,
        retention=job.retention,
        baselines=[
            {"job": one.id, "preset": one.baseline, "status": one.status}
            for one in baselines_of(session, job.id)
        ],
        baseline_of=job.baseline_of,
        forked_from=None
        if job.forked_from is None
        else {"job": job.forked_from, "iteration": job.forked_from_iteration},
        started_at=job.started_at,
        finished_at=job.finished_at,
        best=best_iteration(session, job),
    )
