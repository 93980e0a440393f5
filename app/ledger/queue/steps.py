"""Claim, heartbeat, finish, fail: how a worker may touch a step. Every effect first checks the fence.

Locks are taken in one order, job then step: claiming, finishing, cancelling and reaping never deadlock.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from app.database import clock, transaction
from app.failpoints import failpoint
from app.ledger.events import append_event
from app.ledger.jobs.logs import Level, in_words, without_nul, write_log
from app.ledger.platform.quotas import held_back, may_start
from app.ledger.platform.usage import Outcome, record_usage, share_out
from app.ledger.queue.budgets import end_exhausted
from app.ledger.queue.capacity import Capacity, saw_worker
from app.ledger.queue.dispatch import PATIENCE_SECONDS, next_step
from app.ledger.queue.outbox import notify
from app.ledger.queue.planning import advance
from app.ledger.queue.quarantine import GPU_FAILURES, note_failure
from app.ledger.queue.shards import leave_some
from app.ledger.traces import job_traceparent
from app.ledger.transitions import (
    TERMINAL,
    drop_waiting_steps,
    lock_job,
    move_job,
    move_step,
    settle,
)
from app.settings import Settings
from app.tables.base import JsonObject
from app.tables.jobs import Job, Step, known_settings
from app.tables.platform import Project
from app.tables.statuses import JobStatus, StepStatus
from star_engine.config.star import StarConfig
from star_engine.loop import PhaseName

Order = Literal["continue", "cancel", "pause"]


class Fenced(Exception):
    """The lease was lost: somebody else may hold this step now, so nothing more may be written for it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's right to work on one step, until the lease ends or the fence moves on."""

    step_id: str
    fence: int
    attempt: int  # 1 for the first
    job_id: str
    project_id: str
    iteration: int
    phase: PhaseName
    shard: int
    work: JsonObject
    config: StarConfig
    model_id: str
    dataset_id: str
    prompt_set_id: str
    traceparent: str | None = None  # of its job's span
    planned_in: str | None = None  # the span in which the step was planned


def claim_step(
    engine: Engine,
    worker_id: str,
    lease_seconds: float,
    warm_model: str | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
    capacity: Capacity | None = None,
    fits: Callable[[Step], bool] = lambda _step: True,
    *,
    sticks: bool = False,
) -> Claim | None:
    """Claim the step that is next in turn (app/ledger/queue/dispatch.py). None: nothing that fits is queued.

    `fits`: whether the caller wants it; None is returned where it does not, and the step's turn stays.
    A candidate that another worker snatched means that work goes on there, so looking again always ends.
    A job whose settings are of a newer version is left to the workers of that version.
    """
    newer: list[str] = []
    while True:
        with transaction(engine) as session:
            saw_worker(session, worker_id, capacity)
            held = held_back(session)
            wanted = next_step(worker_id, warm_model, patience_seconds, held, sticks=sticks)
            candidate = session.execute(wanted.where(Job.id.not_in(newer))).one_or_none()
            if candidate is None or not fits(session.get_one(Step, candidate.id)):
                return None
            job = lock_job(session, candidate.job_id)
            if known_settings(job.stored_config) is None:
                newer.append(job.id)
                continue
            claim = _try_claim(session, job, candidate.id, worker_id, lease_seconds)
            if claim is not None:
                failpoint("claim.before_commit")
                return claim


def _try_claim(
    session: Session, job: Job, step_id: str, worker_id: str, lease_seconds: float
) -> Claim | None:
    """The caller holds the job's lock."""
    if end_exhausted(session, job):
        return None
    if job.status == JobStatus.QUEUED and not may_start(session, job.project_id):
        return None
    share_out(session, job.id, worker_id)
    step = session.scalars(
        update(Step)
        .where(Step.id == step_id, Step.status == StepStatus.QUEUED)
        .values(
            status=StepStatus.RUNNING,
            fence=Step.fence + 1,
            attempt=Step.attempt + 1,
            lease_owner=worker_id,
            lease_until=clock(lease_seconds),
            started_at=clock(),
        )
        .returning(Step),
        execution_options={"synchronize_session": False, "populate_existing": True},
    ).one_or_none()
    if step is None:
        return None
    leave_some(session, step)
    if job.status == JobStatus.QUEUED:
        move_job(session, job, JobStatus.RUNNING)
    session.execute(update(Project).where(Project.id == job.project_id).values(served_at=clock()))
    return Claim(
        step_id=step.id,
        fence=step.fence,
        attempt=step.attempt,
        job_id=job.id,
        project_id=job.project_id,
        iteration=step.iteration_number,
        phase=step.phase,
        shard=step.shard,
        work=step.work,
        config=job.config,
        model_id=job.model_id,
        dataset_id=job.dataset_id,
        prompt_set_id=job.prompt_set_id,
        traceparent=job_traceparent(job),
        planned_in=step.traceparent,
    )


def heartbeat(session: Session, claim: Claim, progress: JsonObject, lease_seconds: float) -> Order:
    """Prolong the lease, report progress, and learn what the job's owner wants. Raises Fenced."""
    renewed = session.execute(
        update(Step)
        .where(*_held_by(claim))
        .values(lease_until=clock(lease_seconds), progress=progress)
        .returning(Step.id)
    ).one_or_none()
    if renewed is None:
        raise Fenced(claim.step_id)
    status = session.scalar(select(Job.status).where(Job.id == claim.job_id))
    if status in (JobStatus.PAUSING, JobStatus.PAUSED):
        return "pause"
    return "continue" if status == JobStatus.RUNNING else "cancel"


def check_fence(session: Session, claim: Claim) -> None:
    """The first statement of every effect: holds the step's row until the commit, or raises Fenced."""
    held = session.execute(
        select(Step.id).where(*_held_by(claim)).with_for_update(key_share=True)
    ).one_or_none()
    if held is None:
        raise Fenced(claim.step_id)


def finish_step(session: Session, claim: Claim, settings: Settings) -> None:
    """Record a step as done and, if it was its phase's last, plan what follows in the same transaction."""
    job = lock_job(session, claim.job_id)
    check_fence(session, claim)
    step = _fresh(session, claim.step_id)
    record_usage(session, job, step, "succeeded")
    write_log(session, step, Level.INFO, in_words(step, "Done"))
    move_step(session, claim.step_id, StepStatus.SUCCEEDED)
    if job.status in (JobStatus.RUNNING, JobStatus.PAUSING):
        advance(session, job, settings)
    settle(session, job)


def release_step(session: Session, claim: Claim) -> None:
    """Stop working on a step that has not failed (drain, pause, cancel). The attempt does not count."""
    job = lock_job(session, claim.job_id)
    check_fence(session, claim)
    step = _fresh(session, claim.step_id)
    record_usage(session, job, step, "handed_back")
    write_log(session, step, Level.INFO, f"{in_words(step, 'Handed back')}: its worker or the job stops.")
    _return_step(session, job, claim.step_id)
    session.execute(update(Step).where(Step.id == claim.step_id).values(attempt=Step.attempt - 1))
    settle(session, job)


def fail_step(
    session: Session,
    claim: Claim,
    error: JsonObject,
    *,
    retryable: bool,
    settings: Settings,
    passes: bool = False,
    work: JsonObject | None = None,
    trace: str | None = None,
) -> None:
    """Record a failed attempt: the step is queued again, or its job fails with this error.

    `error` is {code, category (user | platform | capacity), message, hint, log_tail?}. `work`: what the next
    attempt should know in addition to the step's work. `trace`: for the log that operators read.
    """
    job = lock_job(session, claim.job_id)
    check_fence(session, claim)
    if work:
        session.execute(update(Step).where(Step.id == claim.step_id).values(work={**claim.work, **work}))
    end_attempt(
        session,
        job,
        claim.step_id,
        error,
        retryable=retryable,
        settings=settings,
        passes=passes,
        trace=trace,
    )


def end_attempt(
    session: Session,
    job: Job,
    step_id: str,
    error: JsonObject,
    *,
    retryable: bool,
    settings: Settings,
    outcome: Outcome = "failed",
    passes: bool = False,
    trace: str | None = None,
) -> None:
    """The same for a caller that holds the job's lock and knows that the attempt is over (the reaper)."""
    step = _fresh(session, step_id)
    error = {name: without_nul(said) if isinstance(said, str) else said for name, said in error.items()}
    record_usage(session, job, step, outcome)
    place = {
        "phase": step.phase,
        "iteration": step.iteration_number,
        "shard": step.shard,
        "attempt": step.attempt,
    }
    step.error = {**error, **place}
    if error["code"] in GPU_FAILURES:
        note_failure(step)
    session.flush()
    passes = passes and step.passing_failures < settings.retry_limit
    again = passes or (retryable and step.attempt < settings.max_attempts)
    again = again or job.status is not JobStatus.RUNNING
    what = f"{in_words(step, outcome.capitalize())}: {error['message']} ({error['code']}) {error['hint']}"
    write_log(session, step, Level.WARNING if again else Level.ERROR, what.strip(), trace)
    if again:
        _try_again(session, job, step, place, _pause_seconds(step, settings) if passes else None)
    else:
        _fail_job(session, job, step)
    settle(session, job)


def _try_again(session: Session, job: Job, step: Step, place: JsonObject, pause: float | None) -> None:
    """`pause`: seconds for which a failure of the platform is waited out, which costs the step no attempt."""
    error = step.error or {}
    if job.status is JobStatus.RUNNING:
        facts = {"code": error["code"], "message": error["message"], **place}
        when = {} if pause is None else {"retry_in_seconds": round(pause, 1)}
        append_event(session, job, "step.retried", facts | when)
    if pause is not None:
        step.attempt -= 1
        step.passing_failures += 1
        step.not_before, step.notified_at = clock(pause), None
        session.flush()
    _return_step(session, job, step.id, at_once=pause is None)


def _fail_job(session: Session, job: Job, step: Step) -> None:
    error = step.error or {}
    move_step(session, step.id, StepStatus.FAILED)
    job.status_reason = error
    shown = {key: value for key, value in error.items() if key != "log_tail"}
    move_job(session, job, JobStatus.FAILED, **shown)
    drop_waiting_steps(session, job)


def _pause_seconds(step: Step, settings: Settings) -> float:
    """Seconds, minutes, then as long as the settings allow: three times as long each time, less up to half
    at random, so that the steps of many jobs do not come back together."""
    longest = min(settings.retry_max_seconds, settings.retry_seconds * 3 ** min(step.passing_failures, 30))
    return float(longest * random.uniform(0.5, 1))


def _fresh(session: Session, step_id: str) -> Step:
    return session.get_one(Step, step_id, populate_existing=True)


def _held_by(claim: Claim) -> tuple[Any, ...]:
    return (Step.id == claim.step_id, Step.fence == claim.fence, Step.status == StepStatus.RUNNING)


def _return_step(session: Session, job: Job, step_id: str, *, at_once: bool = True) -> None:
    """What becomes of a step that stops unfinished follows from its job."""
    status = job.status
    if status in TERMINAL or status is JobStatus.CANCELLING:
        move_step(session, step_id, StepStatus.CANCELLED)
    elif status in (JobStatus.PAUSING, JobStatus.PAUSED):
        move_step(session, step_id, StepStatus.HELD)
    else:
        move_step(session, step_id, StepStatus.QUEUED)
        if at_once:
            notify(session, [step_id])
