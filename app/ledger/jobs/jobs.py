"""Jobs: create, look up, cancel, pause, resume."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import inspect, select, update
from sqlalchemy.orm import Session

from app.database import new_id
from app.errors import Conflict, Gone, NotFound
from app.failpoints import failpoint
from app.ledger.data.prompt_sets import as_prompt_set, record_prompt_set
from app.ledger.deletion.hold import hold_inputs, hold_job
from app.ledger.events import append_event
from app.ledger.jobs.equal import spec_sha256
from app.ledger.jobs.forks import ForkPoint, take_over
from app.ledger.jobs.relations import baselines_of
from app.ledger.platform.idempotency import known_key
from app.ledger.platform.quotas import check_new_job, check_resume
from app.ledger.platform.webhooks import create_webhook
from app.ledger.queue.outbox import notify
from app.ledger.queue.planning import advance
from app.ledger.traces import new_trace
from app.ledger.transitions import TERMINAL, drop_waiting_steps, lock_job, move_job, settle
from app.settings import Settings
from app.tables.base import JsonObject
from app.tables.data import Dataset, Model, PromptSet
from app.tables.jobs import IdempotencyKey, Iteration, Job, Step
from app.tables.rationales import Adapter
from app.tables.statuses import JobStatus, Purpose, StepStatus
from star_engine.config.star import StarConfig
from star_engine.loop import StopReason


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that has been checked and may be recorded."""

    name: str
    config: StarConfig
    model: Model
    dataset: Dataset
    prompt_set: PromptSet
    priority: int
    labels: JsonObject
    purpose: Purpose = Purpose.STAR
    adapter_id: str | None = None  # what an evaluation or a trial asks
    stands_for: int | None = None  # of a probe: train questions that an iteration of the job would ask
    fork: ForkPoint | None = None  # what it takes over from another job
    preset: str | None = None  # of a baseline
    beside: tuple[NewJob, ...] = ()  # its baselines
    budget_gpu_seconds: float | None = None
    deadline_at: datetime | None = None
    webhook: tuple[str, list[str]] | None = None  # URL and events, of this job alone


def create_job(session: Session, project_id: str, key_id: str, new: NewJob, settings: Settings) -> Job:
    """Record a job and its baselines, their first steps and their notifications in the caller's transaction.

    Raises QuotaExceeded.
    """
    job = _create_one(session, project_id, key_id, new, settings)
    for baseline in new.beside:
        _create_one(session, project_id, key_id, baseline, settings, beside=job)
    return job


def _create_one(
    session: Session, project_id: str, key_id: str, new: NewJob, settings: Settings, beside: Job | None = None
) -> Job:
    check_new_job(session, project_id)
    if inspect(new.prompt_set).transient:  # the platform's own, recorded with the first job that uses it
        shown, name = as_prompt_set(new.prompt_set), new.prompt_set.name
        row, _ = record_prompt_set(session, project_id, name, shown, listed=False)
        new = replace(new, prompt_set=row)
    hold_inputs(session, new.dataset.id, new.prompt_set.id, new.config)
    if new.fork is not None:
        hold_job(session, new.fork.job_id)
    if new.adapter_id is not None:
        hold_job(session, session.get_one(Adapter, new.adapter_id).job_id)
    job = _row(project_id, key_id, new, beside)
    session.add(job)
    session.flush()
    if new.webhook is not None:  # before the first event, so that it hears of it
        create_webhook(session, project_id, *new.webhook, job_id=job.id)
    facts = {"name": job.name, "model": job.model_id, "dataset": job.dataset_id}
    if new.fork is not None:
        job.forked_from, job.forked_from_iteration = new.fork.job_id, new.fork.iteration
        facts["forked_from"] = new.fork.job_id
        take_over(session, job, new.fork)
    append_event(session, job, "job.created", facts)
    move_job(session, job, JobStatus.QUEUED)
    advance(session, job, settings)
    failpoint("job.before_commit")
    return job


def _row(project_id: str, key_id: str, new: NewJob, beside: Job | None) -> Job:
    """`beside`: the job that it is a baseline of. Equal jobs are looked for among those that begin a loop."""
    of_loop = new.purpose is Purpose.STAR and new.fork is None
    return Job(
        id=new_id("job"),
        project_id=project_id,
        created_by=key_id,
        name=new.name,
        status=JobStatus.VALIDATING,
        stored_config=new.config.model_dump(mode="json"),
        dataset_id=new.dataset.id,
        prompt_set_id=new.prompt_set.id,
        model_id=new.model.id,
        priority=new.priority,
        labels=new.labels,
        spec_sha256=spec_sha256(new.config, new.model, new.dataset, new.prompt_set) if of_loop else None,
        purpose=new.purpose,
        adapter_id=new.adapter_id,
        stands_for=new.stands_for,
        baseline_of=None if beside is None else beside.id,
        baseline=new.preset,
        budget_gpu_seconds=new.budget_gpu_seconds,
        deadline_at=new.deadline_at,
        iteration=0,
        events_written=0,
        trace=new_trace(),
    )


def remember_key(session: Session, job: Job, key: str | None, fingerprint: str) -> None:
    """Tie the request's Idempotency-Key, where it has one, to the job, in the transaction that creates it."""
    if key is None:
        return
    session.add(IdempotencyKey(project_id=job.project_id, key=key, fingerprint=fingerprint, job_id=job.id))
    session.flush()


def replayed_job(session: Session, project_id: str, key: str, fingerprint: str) -> Job | None:
    """The job that this key made before, if any.

    Raises Invalid if the key stood for another request, Conflict where the job was deleted.
    """
    known = known_key(session, project_id, key, fingerprint)
    if known is None:
        return None
    job = session.get(Job, known.job_id)
    if job is None:
        raise Conflict(
            f"This Idempotency-Key has made the job {known.job_id}, which was deleted. Use a new key for a "
            "new job.",
            code="made_and_deleted",
        )
    return job


def get_job(session: Session, project_id: str, job_id: str) -> Job:
    job = session.get(Job, job_id)
    if job is None or job.project_id != project_id:
        raise NotFound(f"There is no job {job_id}.")
    return job


def job_with_texts(session: Session, project_id: str, job_id: str) -> Job:
    """The same; Gone where its texts were removed, as the project's retention says."""
    job = get_job(session, project_id, job_id)
    if job.texts_removed_at is not None:
        raise Gone(
            f"The texts of {job_id} were removed on {job.texts_removed_at:%Y-%m-%d}, as the project's "
            "retention says. Its metrics, its report and its adapters are kept.",
            code="texts_removed",
        )
    return job


def cancel_job(session: Session, job: Job) -> Job:
    """Stop a job for good. Asking twice is the same as asking once; a finished job raises Conflict."""
    job = lock_job(session, job.id)
    status = job.status
    if status in (JobStatus.CANCELLING, JobStatus.CANCELLED):
        return job
    _refuse_terminal(job, "cancelled")
    job.stop_reason = StopReason.USER_CANCELLED
    drop_waiting_steps(session, job)
    if status in (JobStatus.RUNNING, JobStatus.PAUSING):
        move_job(session, job, JobStatus.CANCELLING)
        settle(session, job)
    else:
        move_job(session, job, JobStatus.CANCELLED)
    return job


def cancel_family(session: Session, job: Job) -> Job:
    """Cancel a job and its baselines, except those that have ended."""
    job = cancel_job(session, job)
    for baseline in baselines_of(session, job.id):
        if baseline.status not in TERMINAL:
            cancel_job(session, baseline)
    return job


def pause_job(session: Session, job: Job) -> Job:
    """Hold a job: running steps hand back what they have, queued ones wait. Nothing recorded is lost."""
    job = lock_job(session, job.id)
    status = job.status
    if status in (JobStatus.PAUSING, JobStatus.PAUSED):
        return job
    _refuse_terminal(job, "paused")
    if status is JobStatus.CANCELLING:
        raise Conflict("The job is being cancelled.", code="job_cancelling")
    _move_waiting_steps(session, job, StepStatus.QUEUED, StepStatus.HELD)
    move_job(session, job, JobStatus.PAUSING if status is JobStatus.RUNNING else JobStatus.PAUSED)
    settle(session, job)
    return job


def resume_job(session: Session, job: Job, settings: Settings, accept: str | None = None) -> Job:
    """Resume the job where it was held.

    A job that paused itself would pause again, so it raises Conflict, unless `accept` names its reason and
    that is one to go on from: no_spark.
    """
    job = lock_job(session, job.id)
    if job.status in (JobStatus.QUEUED, JobStatus.RUNNING):
        return job
    _refuse_terminal(job, "resumed")
    if job.status is not JobStatus.PAUSED:
        raise Conflict(f"The job is {job.status}; wait until it is paused.", code="job_not_paused")
    if job.status_reason is not None:
        return _go_on_all_the_same(session, job, job.status_reason, settings, accept)
    if job.started_at is not None:
        check_resume(session, job.project_id)
    move_job(session, job, JobStatus.QUEUED if job.started_at is None else JobStatus.RUNNING)
    notify(session, _move_waiting_steps(session, job, StepStatus.HELD, StepStatus.QUEUED))
    return job


def _go_on_all_the_same(
    session: Session, job: Job, reason: JsonObject, settings: Settings, accept: str | None
) -> Job:
    acceptable = reason["code"] == StopReason.NO_SPARK
    if accept is None or not acceptable or accept != reason["code"]:
        way_on = f' To go on all the same, send {{"accept": "{reason["code"]}"}}.' if acceptable else ""
        raise Conflict(
            f"The job paused itself: {reason['message']} Resuming would end in the same place. "
            f"Create a new job with other settings, or cancel this one.{way_on}",
            code=reason["code"],
        )
    baselines = session.scalars(
        select(Iteration).where(Iteration.job_id == job.id, Iteration.number == 0)
    ).one()
    check_resume(session, job.project_id)
    baselines.metrics = {**baselines.metrics, "accepted": accept}
    job.status_reason = None
    move_job(session, job, JobStatus.RUNNING, accepted=accept)
    advance(session, job, settings)
    return job


def _refuse_terminal(job: Job, verb: str) -> None:
    if job.status in TERMINAL:
        raise Conflict(f"The job has {job.status} and cannot be {verb}.", code="job_is_terminal")


def _move_waiting_steps(session: Session, job: Job, old: StepStatus, new: StepStatus) -> list[str]:
    moved = update(Step).where(Step.job_id == job.id, Step.status == old).values(status=new, not_before=None)
    return list(session.scalars(moved.returning(Step.id)))
