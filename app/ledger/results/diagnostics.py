"""What the audits of an iteration need of the one before, and where their findings go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.ledger.queue.steps import Claim, check_fence
from app.ledger.results.rationales import claimed_iteration
from app.ledger.transitions import lock_job
from app.tables.data import Example
from app.tables.jobs import Iteration
from app.tables.rationales import Rationale
from star_engine.diagnostics.iteration import Before
from star_engine.sampling.rationales import Route


def audited_before(session: Session, claim: Claim) -> Before:
    """Return the audits of the iteration before the claimed one; empty for the first."""
    here = (Iteration.job_id == claim.job_id, Iteration.number == claim.iteration - 1)
    iteration = session.scalars(select(Iteration).where(*here)).one_or_none()
    if iteration is None or claim.iteration == 1:
        return Before()
    taught = session.scalars(
        select(Example.external_id)
        .join(Rationale, Rationale.example_id == Example.id)
        .where(
            Rationale.iteration_id == iteration.id,
            Rationale.route == Route.RATIONALIZED,
            Rationale.decision == "kept",
        )
    )
    found = iteration.metrics.get("audits", {})
    return Before(frozenset(taught), found.get("length", {}).get("mean"), found.get("style"))


def recorded_audits(session: Session, claim: Claim) -> dict[str, Any]:
    """Return the audits recorded so far for the claimed iteration."""
    return dict(claimed_iteration(session, claim).metrics.get("audits", {}))


def record_control(session: Session, claim: Claim, found: Mapping[str, Any]) -> None:
    """Keep what a controller has found with the iteration. Raises Fenced."""
    lock_job(session, claim.job_id)
    check_fence(session, claim)
    iteration = claimed_iteration(session, claim)
    iteration.metrics = {**iteration.metrics, "control": dict(found)}


def record_audits(session: Session, claim: Claim, found: Mapping[str, Any]) -> None:
    """Keep the findings with the iteration. Raises Fenced."""
    lock_job(session, claim.job_id)  # finish_step, in this transaction too, wants it before the step
    check_fence(session, claim)
    iteration = claimed_iteration(session, claim)
    known = iteration.metrics.get("audits", {})
    iteration.metrics = {**iteration.metrics, "audits": {**known, **found}}
