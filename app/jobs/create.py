"""Makes a job once: under one Idempotency-Key, and, where that is asked for, of one content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database import reading, transaction
from app.failpoints import failpoint
from app.http.idempotency import only_one
from app.jobs.baselines import JobFamilyIn, check_family
from app.jobs.dry_run.describe import DryRunOut, dry_run
from app.jobs.fork import ForkIn, check_fork
from app.jobs.views import JobOut, show_new_job
from app.ledger.jobs.equal import same_job, spec_sha256
from app.ledger.jobs.jobs import NewJob, create_job, job_with_texts, remember_key, replayed_job
from app.ledger.platform.keys import Caller
from app.ledger.platform.prices import prices_of
from app.settings import Settings
from app.tables.jobs import Job

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Made:
    job: JobOut
    replayed: bool = False  # an earlier request with the same Idempotency-Key had made it
    deduplicated: bool = False  # an equal job was there


def try_family(
    db: Engine, project_id: str, offered: frozenset[str], sent: JobFamilyIn, settings: Settings
) -> DryRunOut:
    """What the job would be and take. Makes nothing; raises Invalid as making it would."""
    with reading(db) as session:
        new = check_family(session, project_id, offered, sent, settings)
        return dry_run(session, new, prices_of(settings))


def create_family(
    db: Engine,
    caller: Caller,
    offered: frozenset[str],
    sent: JobFamilyIn,
    settings: Settings,
    key: str | None = None,
) -> Made:
    """The job with its baselines. `key` is the Idempotency-Key."""
    return _make_once(
        db,
        caller,
        settings,
        key,
        fingerprint=sha256(sent.model_dump_json().encode()).hexdigest(),
        check=lambda session: check_family(session, caller.project_id, offered, sent, settings),
        return_equal=sent.wants_equal,
    )


def try_fork(
    db: Engine, project_id: str, offered: frozenset[str], job_id: str, sent: ForkIn, settings: Settings
) -> DryRunOut:
    """What the fork would be and still take. Makes nothing; raises as making it would."""
    with reading(db) as session:
        source = job_with_texts(session, project_id, job_id)
        return dry_run(session, check_fork(session, offered, source, sent, settings), prices_of(settings))


def create_fork(
    db: Engine,
    caller: Caller,
    offered: frozenset[str],
    job_id: str,
    sent: ForkIn,
    settings: Settings,
    key: str | None = None,
) -> Made:
    """A job that continues from an iteration of this one. `key` is the Idempotency-Key."""

    def check(session: Session) -> NewJob:
        job = job_with_texts(session, caller.project_id, job_id)
        return check_fork(session, offered, job, sent, settings)

    body = sent.model_dump_json(exclude={"dry_run"})  # as before there was one
    fingerprint = sha256(f"fork {job_id} {body}".encode()).hexdigest()
    return _make_once(db, caller, settings, key, fingerprint=fingerprint, check=check)


def _make_once(
    db: Engine,
    caller: Caller,
    settings: Settings,
    key: str | None,
    *,
    fingerprint: str,
    check: Callable[[Session], NewJob],
    return_equal: bool = False,
) -> Made:
    """Checks the job outside of the transaction that makes it: checks can take a minute."""
    before = _made_before(db, caller, settings, key, fingerprint)  # replays do not wait for each other
    if before is not None:
        return before
    with only_one(db, caller.project_id, key):
        before = _made_before(db, caller, settings, key, fingerprint)
        if before is not None:
            return before
        with reading(db) as session:
            new = check(session)
        try:
            return _make(db, caller, settings, key, fingerprint, new, return_equal=return_equal)
        except IntegrityError:  # a request with the same key was handled at the same time and was first
            before = _made_before(db, caller, settings, key, fingerprint)
            if before is None:
                raise
            return before


def _made_before(
    db: Engine, caller: Caller, settings: Settings, key: str | None, fingerprint: str
) -> Made | None:
    """What this key made before, if anything. Raises Invalid if it was sent with another request."""
    if key is None:
        return None
    with reading(db) as session:
        job = replayed_job(session, caller.project_id, key, fingerprint)
        return None if job is None else Made(show_new_job(session, job, settings), replayed=True)


def _make(
    db: Engine,
    caller: Caller,
    settings: Settings,
    key: str | None,
    fingerprint: str,
    new: NewJob,
    *,
    return_equal: bool,
) -> Made:
    with transaction(db) as session:
        sha = spec_sha256(new.config, new.model, new.dataset, new.prompt_set)
        same = same_job(session, caller.project_id, sha) if return_equal and not new.beside else None
        job = same or create_job(session, caller.project_id, caller.key_id, new, settings)
        remember_key(session, job, key, fingerprint)
        made = show_new_job(session, job, settings)
        failpoint("job.before_commit")
    failpoint("job.after_commit")
    return Made(made, deduplicated=same is not None)


def fingerprint_of(operation: str, body: str) -> str:
    """The SHA-256 that tells another request under the same key. `operation`: with the ids in its path."""
    return sha256(f"{operation} {body}".encode()).hexdigest()


def made_once(
    db: Engine,
    project_id: str,
    key: str | None,
    fingerprint: str,
    make: Callable[[], Answer],
    show: Callable[[Session, Job], Answer],
) -> tuple[Answer, bool]:
    """The answer, and whether an earlier request with this key had made its job.

    `make` calls `remember_key` in the transaction that makes the job. Raises Invalid where the key stood for
    another request, and Conflict where its job was deleted or another request has been at it for long.
    """
    if key is None:
        return make(), False

    def before() -> Answer | None:
        with reading(db) as session:
            job = replayed_job(session, project_id, key, fingerprint)
            return None if job is None else show(session, job)

    if (known := before()) is not None:  # replays do not wait for each other
        return known, True
    with only_one(db, project_id, key):
        if (known := before()) is not None:
            return known, True
        try:
            return make(), False
        except IntegrityError:  # another process was first
            if (known := before()) is None:
                raise
            return known, True
