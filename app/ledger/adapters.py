"""Adapters: one per iteration, immutable once recorded, usable once verified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import new_id
from app.errors import NotFound
from app.ledger.events import append_event
from app.ledger.steps import Claim, check_fence
from app.ledger.transitions import lock_job
from app.models.base import JsonObject
from app.models.jobs import Job
from app.models.rationales import Adapter


def record_adapter(session: Session, claim: Claim, files: Sequence[JsonObject], training: JsonObject) -> None:
    """Record freshly trained weights. `files`: [{path, size_bytes, sha256}]. Raises Fenced.

    An earlier attempt may have recorded its weights and died before it finished the step: those stay.
    """
    lock_job(
        session, claim.job_id
    )  # finish_step in the same transaction wants it, and it comes before the step
    check_fence(session, claim)
    if find_adapter(session, claim.job_id, claim.iteration) is None:
        session.add(
            Adapter(
                id=new_id("adp"),
                job_id=claim.job_id,
                iteration_number=claim.iteration,
                files=list(files),
                training=training,
            )
        )


def record_verification(
    session: Session, claim: Claim, files: Sequence[JsonObject], verification: JsonObject
) -> None:
    """Record that the adapter is proven to load, with its card and manifest. Raises Fenced."""
    job = lock_job(session, claim.job_id)
    check_fence(session, claim)
    adapter = find_adapter(session, claim.job_id, claim.iteration)
    if adapter is None:
        raise RuntimeError(f"iteration {claim.iteration} of {claim.job_id} has no adapter to verify")
    if adapter.verification is None:
        adapter.files = list(files)
        adapter.verification = verification
        append_event(session, job, "adapter.verified", {"iteration": claim.iteration, "adapter": adapter.id})


def find_adapter(session: Session, job_id: str, iteration: int) -> Adapter | None:
    query = select(Adapter).where(Adapter.job_id == job_id, Adapter.iteration_number == iteration)
    return session.scalars(query).one_or_none()


def list_adapters(session: Session, job_id: str) -> Sequence[Adapter]:
    """A job's verified adapters, by iteration."""
    query = select(Adapter).where(Adapter.job_id == job_id, Adapter.verification.is_not(None))
    return session.scalars(query.order_by(Adapter.iteration_number)).all()


def get_adapter(session: Session, project_id: str, adapter_id: str) -> tuple[Adapter, Job]:
    """A verified adapter of this project, with its job; else NotFound."""
    query: Any = select(Adapter, Job).join(Job, Job.id == Adapter.job_id)
    query = query.where(
        Adapter.id == adapter_id, Job.project_id == project_id, Adapter.verification.is_not(None)
    )
    row = session.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"There is no adapter {adapter_id}.")
    return row
