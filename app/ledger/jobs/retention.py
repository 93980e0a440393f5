"""Which adapters stay: pinned and promoted ones, and what the retention keeps. Cards and manifests stay."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Engine, Exists, Text, cast, exists, or_, select, update
from sqlalchemy.orm import Session

from app.database import clock, reading, transaction
from app.errors import Conflict
from app.ledger.data.artifacts import needed
from app.ledger.jobs.facts import best_iteration
from app.ledger.quality.promotions import is_promoted
from app.ledger.transitions import TERMINAL, lock_job
from app.storage import Storage
from app.tables.base import JsonObject
from app.tables.jobs import Job
from app.tables.rationales import Adapter
from star_engine.adapters.layout import REMOVABLE, WEIGHTS

DAY = 86_400.0  # seconds
GRACE = timedelta(hours=1)  # from the deletion to the removal of the bytes: downloads end

log = structlog.get_logger()


def pin_adapter(session: Session, adapter: Adapter, *, pinned: bool) -> None:
    """Exempt an adapter from retention. Conflict if its weights are already deleted."""
    lock_job(session, adapter.job_id)  # the retention may be at work on the same job
    session.refresh(adapter)
    if pinned and adapter.deleted_at is not None:
        raise Conflict("The adapter's weights have been deleted.", code="adapter_deleted")
    adapter.pinned = pinned
    session.flush()


def set_retention(session: Session, job: Job, rule: JsonObject | None) -> None:
    """What stays of a job's adapters once it has ended; None: all of them."""
    lock_job(session, job.id).retention = rule


def delete_adapter(session: Session, adapter: Adapter) -> None:
    """Give up an adapter's weights. Conflict while it is pinned or while a job needs it."""
    job = lock_job(session, adapter.job_id)
    session.refresh(adapter)
    if adapter.deleted_at is not None:
        return
    if adapter.pinned:
        raise Conflict("The adapter is pinned. Unpin it first.", code="adapter_pinned")
    if session.scalar(select(is_promoted(adapter.id))):
        raise Conflict(
            "The adapter is promoted. Promote another one in its place, or end its promotion.",
            code="adapter_promoted",
        )
    if job.status not in TERMINAL:
        raise Conflict(
            f"Its job {job.id} is {job.status} and may need it. Wait until the job has ended, or cancel it.",
            code="adapter_in_use",
        )
    if session.scalar(select(_is_asked(adapter.id))):
        raise Conflict(
            "A job that asks it has not ended yet: an evaluation, a trial, or one whose answers it ranks.",
            code="adapter_in_use",
        )
    adapter.deleted_at = clock()
    session.flush()
    session.refresh(adapter)


def apply_retention(engine: Engine) -> int:
    """Delete what no rule keeps, of jobs that have ended; returns how many adapters."""
    with reading(engine) as session:
        query = select(Job.id).where(Job.retention.is_not(None), Job.status.in_(TERMINAL))
        alive = exists().where(Adapter.job_id == Job.id, Adapter.deleted_at.is_(None), ~Adapter.pinned)
        jobs = session.scalars(query.where(alive)).all()
    return sum(_apply_to(engine, job_id) for job_id in jobs)


def _apply_to(engine: Engine, job_id: str) -> int:
    with transaction(engine) as session:
        job = lock_job(session, job_id)
        query = select(Adapter).where(Adapter.job_id == job_id, Adapter.deleted_at.is_(None))
        adapters = session.scalars(query.order_by(Adapter.iteration_number)).all()
        of_job = select(Adapter.id).where(Adapter.job_id == job_id, is_promoted(Adapter.id))
        promoted = set(session.scalars(of_job))
        best = best_iteration(session, job)
        moment = session.scalars(select(clock())).one()
        kept = {one.iteration_number for one in adapters if one.pinned or one.id in promoted}
        outdated = _outdated(job, adapters, None if best is None else best["adapter_id"], moment, kept)
        deletable = [one for one in outdated if not session.scalar(select(_is_asked(one.id)))]
        for adapter in deletable:
            adapter.deleted_at = clock()
    return len(deletable)


def _outdated(
    job: Job, adapters: Sequence[Adapter], best: str | None, moment: datetime, exempt: set[int]
) -> list[Adapter]:
    """What the job's retention does not keep. `adapters`: those alive; `best`: a generator's id; `exempt`:
    iterations with an adapter that is pinned or promoted.

    The adapters of an iteration stay or go together: a verifier is of no use without its generator.
    """
    rule: JsonObject = job.retention or {}
    kept = set(exempt)
    days, last = rule.get("days"), rule.get("keep_last")
    ended = job.finished_at
    # Seconds: no calendar reaches as far as some rules that are stored. Else only the exempt stay.
    if days is None or ended is None or (moment - ended).total_seconds() <= days * DAY:
        if last is None:
            return []
        numbers = sorted({adapter.iteration_number for adapter in adapters})
        kept.update(numbers[max(0, len(numbers) - last) :])
        if rule.get("keep_best", True):
            kept.update(adapter.iteration_number for adapter in adapters if adapter.id == best)
    return [adapter for adapter in adapters if adapter.iteration_number not in kept]


def remove_weights(engine: Engine, storage: Storage, idle: timedelta = GRACE) -> int:
    """Remove the bytes of weights whose adapters were deleted `idle` ago; returns how many adapters'.

    Weights that another row still stands for (a forked job's adapter, a file) stay stored.
    """
    with reading(engine) as session:
        held = cast(Adapter.files, Text).contains(WEIGHTS)
        gone = select(Adapter.id, Adapter.files).where(
            Adapter.deleted_at < clock(-idle.total_seconds()), held
        )
        found = {adapter_id: (_removable(files), files) for adapter_id, files in session.execute(gone)}
        kept = needed(session, (sha for names, _ in found.values() for sha in names))
    removed = 0
    for adapter_id, (names, files) in found.items():
        if all(sha in kept or storage.delete(sha, idle) for sha in names):
            left = [entry for entry in files if entry["path"] not in REMOVABLE]
            with transaction(engine) as session:
                session.execute(update(Adapter).where(Adapter.id == adapter_id).values(files=left))
            log.info("weights_removed", adapter=adapter_id, sha256=names)
            removed += 1
    return removed


def _removable(files: Sequence[JsonObject]) -> list[str]:
    return [str(entry["sha256"]) for entry in files if entry["path"] in REMOVABLE]


def _is_asked(adapter_id: str) -> Exists:
    """Whether an open job evaluates it, tries it, or has it rank its answers."""
    scorers = (
        Job.stored_config["evaluation"]["test_time"]["scorer"].as_string(),
        Job.stored_config["controller"]["scorer"].as_string(),
    )
    asked = or_(Job.adapter_id == adapter_id, *(scorer == adapter_id for scorer in scorers))
    return exists().where(asked, Job.status.not_in(TERMINAL))
