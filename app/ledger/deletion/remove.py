"""Removes what is marked as deleted: rows a batch at a time, then bytes that nothing else needs.

A job with a million rationales in one transaction would hold SQLite's only writer for a minute, and
PostgreSQL's dead rows for as long. Every transaction here can be the last one before a crash: what is left is
found again by its mark. Schedulers do not meet: each batch locks its object's row, or leaves it to the other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Engine, delete, exists, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database import clock, reading, transaction
from app.failpoints import failpoint
from app.ledger.data.artifacts import needed
from app.storage import Storage
from app.tables.base import WITH_DELETED
from app.tables.candidates import Candidate, PreferencePair, QuestionCurve, Thought, VerifierCurve
from app.tables.data import Dataset, Example, PromptSet
from app.tables.executions import Execution
from app.tables.jobs import Event, Iteration, Job, Step
from app.tables.logs import JobLog
from app.tables.overrides import Override
from app.tables.quality import Study
from app.tables.rationales import (
    Adapter,
    Evaluation,
    Rationale,
    TrainingCurve,
    TrainingExample,
    TrialAnswer,
)
from app.tables.statuses import StepStatus
from app.tables.webhooks import WebhookDelivery

BATCH = 2000  # rows per transaction: 0.1 s on SQLite, which has one writer
SECONDS = 1.0  # of one call, however much there is to remove: the reaper must have its turn
GRACE = timedelta(hours=1)  # from the mark to the removal of an adapter's bytes: downloads end

log = structlog.get_logger()


def remove_deleted(
    engine: Engine, storage: Storage, seconds: float = SECONDS, grace: timedelta = GRACE
) -> int:
    """Go on removing for some `seconds`; returns how many objects are gone for good."""
    ends = time.monotonic() + seconds
    gone = 0
    for job_id in _jobs(engine, grace):
        gone += _remove_job(engine, storage, job_id, grace, ends)
        if time.monotonic() > ends:
            return gone
    for dataset_id in _unused(engine, Dataset, Job.dataset_id):
        gone += _remove_dataset(engine, dataset_id, ends)
        if time.monotonic() > ends:
            return gone
    for prompt_set_id in _unused(engine, PromptSet, Job.prompt_set_id):
        with transaction(engine) as session:
            session.connection().execute(delete(PromptSet).where(PromptSet.id == prompt_set_id))
            gone += 1
    return gone


def _jobs(engine: Engine, grace: timedelta) -> list[str]:
    """Deleted jobs of which something can be removed now: no step of theirs runs, and their texts are there
    or their grace is over."""
    has_texts = exists().where(Iteration.job_id == Job.id)
    over = Job.deleted_at <= clock(-grace.total_seconds())
    runs = exists().where(Step.job_id == Job.id, Step.status == StepStatus.RUNNING)
    query = select(Job.id).where(Job.deleted_at.is_not(None), has_texts | over, ~runs).order_by(Job.id)
    with reading(engine) as session:
        return list(session.scalars(query, execution_options=WITH_DELETED))


def _remove_job(engine: Engine, storage: Storage, job_id: str, grace: timedelta, ends: float) -> bool:
    """Whether the job is gone for good; False: it was time to stop, or its bytes stay for a while."""
    for table, which in _recorded(job_id):
        if not remove_rows(engine, Job, job_id, table, which, ends):
            return False
    with reading(engine) as session:
        over = select(Job.id).where(Job.id == job_id, Job.deleted_at <= clock(-grace.total_seconds()))
        if session.scalar(over, execution_options=WITH_DELETED) is None:
            return False
        names = _artifacts(session, job_id)
        removable = names - needed(session, names)
    young = [sha for sha in sorted(removable) if not storage.delete(sha, grace)]
    if young:
        return False
    failpoint("delete.after_bytes")
    with transaction(engine) as session:
        session.connection().execute(delete(Execution).where(Execution.job_id == job_id))
        session.connection().execute(delete(Job).where(Job.id == job_id))
        failpoint("delete.before_commit")
    log.info("job_removed", job=job_id)
    return True


def _recorded(job_id: str) -> Iterator[tuple[Any, ColumnElement[bool]]]:
    """The tables that a job fills, those that refer to others first. Adapters and checkpoints stay, since
    they name the bytes; what was used (usage) stays for good."""
    iterations = select(Iteration.id).where(Iteration.job_id == job_id)
    yield TrainingExample, TrainingExample.iteration_id.in_(iterations)
    yield Override, Override.job_id == job_id
    yield Rationale, Rationale.job_id == job_id
    yield Evaluation, Evaluation.iteration_id.in_(iterations)
    yield Candidate, Candidate.iteration_id.in_(iterations)
    yield QuestionCurve, QuestionCurve.iteration_id.in_(iterations)
    yield TrainingCurve, TrainingCurve.iteration_id.in_(iterations)
    yield PreferencePair, PreferencePair.iteration_id.in_(iterations)
    yield VerifierCurve, VerifierCurve.iteration_id.in_(iterations)
    yield Thought, Thought.iteration_id.in_(iterations)
    yield TrialAnswer, TrialAnswer.job_id == job_id
    yield Study, Study.job_id == job_id
    yield WebhookDelivery, WebhookDelivery.job_id == job_id
    yield Event, Event.job_id == job_id
    yield JobLog, JobLog.job_id == job_id
    yield Step, (Step.job_id == job_id) & Step.checkpoint.is_(None)
    yield Iteration, Iteration.job_id == job_id


def _artifacts(session: Session, job_id: str) -> set[str]:
    """The SHA-256 of all files that the job's adapters and checkpoints name."""
    adapters = session.scalars(select(Adapter.files).where(Adapter.job_id == job_id))
    names = {entry["sha256"] for files in adapters for entry in files}
    checkpoints = select(Step.checkpoint).where(Step.job_id == job_id, Step.checkpoint.is_not(None))
    return names | {entry["sha256"] for one in session.scalars(checkpoints) if one for entry in one["files"]}


def _unused(engine: Engine, table: type[Dataset] | type[PromptSet], refers: Any) -> list[str]:
    """Deleted datasets or prompt sets that no job names any more, deleted ones included."""
    named = exists().where(refers == table.id)
    query = select(table.id).where(table.deleted_at.is_not(None), ~named).order_by(table.id)
    with reading(engine) as session:
        return list(session.scalars(query, execution_options=WITH_DELETED))


def _remove_dataset(engine: Engine, dataset_id: str, ends: float) -> bool:
    try:
        if not remove_rows(engine, Dataset, dataset_id, Example, Example.dataset_id == dataset_id, ends):
            return False
        with transaction(engine) as session:
            session.connection().execute(delete(Dataset).where(Dataset.id == dataset_id))
            failpoint("delete.before_commit")
    except IntegrityError:  # a deleted job was measured on it or has mixed it in, and is not removed yet
        return False
    log.info("dataset_removed", dataset=dataset_id)
    return True


def remove_rows(
    engine: Engine,
    owner: type[Job] | type[Dataset],
    owner_id: str,
    table: Any,
    which: ColumnElement[bool],
    ends: float,
    blank: Mapping[str, Any] | None = None,
) -> bool:
    """Whether none is left. Between two batches other writers have as long as a batch took.

    One batch is removed even if it is time to stop, so that every turn comes further. `blank`: what is
    written to the rows where they stay, after which `which` does not find them any more.
    """
    while True:
        began = time.monotonic()
        with transaction(engine) as session:
            mine = select(owner.id).where(owner.id == owner_id).with_for_update(skip_locked=True)
            if session.scalar(mine, execution_options=WITH_DELETED) is None:
                return False
            some = select(table.id).where(which).limit(BATCH)
            change = delete(table) if blank is None else update(table).values(**blank)
            removed = session.connection().execute(change.where(table.id.in_(some))).rowcount
            if removed:
                failpoint("delete.before_commit")
        if removed < BATCH:
            return True
        if time.monotonic() > ends:
            return False
        time.sleep(time.monotonic() - began)
