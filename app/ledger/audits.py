"""What the audits of an iteration need of the one before, and where their findings go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.ledger.rationales import claimed_iteration
from app.ledger.steps import Claim
from app.models.data import Example
from app.models.jobs import Iteration
from app.models.rationales import Rationale
from star_engine.audits.iteration import Before
from star_engine.rationales import Route


def audited_before(session: Session, claim: Claim) -> Before:
    """Of the iteration before the claimed one; empty for the first."""
    here = (Iteration.job_id == claim.job_id, Iteration.number == claim.iteration - 1)
    iteration = session.scalars(select(Iteration).where(*here)).one_or_none()
    if iteration is None or claim.iteration == 1:
        return Before()
    taught = session.scalars(
        select(Example.external_id)
        .join(Rationale, Rationale.example_id == Example.id)
        .where(
            Rationale.iteration_id == iteration.id,
            Rationale.route == Route.RATIONALIZED.value,
            Rationale.decision == "kept",
        )
    )
    mean = iteration.metrics.get("audits", {}).get("length", {}).get("mean")
    return Before(frozenset(taught), mean)


def record_audits(session: Session, claim: Claim, found: Mapping[str, Any]) -> None:
    """Keep the findings with the iteration. The caller has checked the fence in this transaction."""
    iteration = claimed_iteration(session, claim)
    known = iteration.metrics.get("audits", {})
    iteration.metrics = {**iteration.metrics, "audits": {**known, **found}}
