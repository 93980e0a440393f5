"""Making a job once: under one Idempotency-Key, and, where that is asked for, of one content."""

from __future__ import annotations

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from app.database import reading, transaction
from app.failpoints import failpoint
from app.jobs.views import JobOut, show_new_job
from app.ledger.jobs.equal import same_job, spec_sha256
from app.ledger.jobs.jobs import NewJob, create_job, remember_key, replayed_job
from app.ledger.platform.keys import Caller
from app.settings import Settings


def made_before(
    db: Engine, caller: Caller, settings: Settings, key: str | None, fingerprint: str
) -> JobOut | None:
    """What this key made before, if anything. Raises Invalid if it stood for another request."""
    if key is None:
        return None
    with reading(db) as session:
        job = replayed_job(session, caller.project_id, key, fingerprint)
        return None if job is None else show_new_job(session, job, settings)


def create_once(
    db: Engine,
    caller: Caller,
    new: NewJob,
    settings: Settings,
    key: str | None,
    fingerprint: str,
    *,
    dedupe: bool = False,
) -> tuple[JobOut, bool]:
    """The job and whether it was there before: made by this key, or (`dedupe`) an equal one."""
    try:
        with transaction(db) as session:
            sha = spec_sha256(new.config, new.model, new.dataset, new.prompt_set)
            same = same_job(session, caller.project_id, sha) if dedupe and not new.beside else None
            job = same or create_job(session, caller.project_id, caller.key_id, new, settings)
            if key is not None:
                remember_key(session, job, key, fingerprint)
            made = show_new_job(session, job, settings)
            failpoint("job.before_commit")
        failpoint("job.after_commit")
        return made, same is not None
    except IntegrityError:  # the same key came in beside this one and was first
        replayed = made_before(db, caller, settings, key, fingerprint)
        if replayed is None:
            raise
        return replayed, True
