"""Human verdicts on rationales: kept as history, and honoured whenever a training set is built.

An override holds for one example and one text, wherever that text comes again: in the iteration at hand if
its training set is not built yet, in all later ones, and in the forks of the job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.errors import Conflict
from app.ledger.platform.keys import Caller
from app.ledger.transitions import TERMINAL, lock_job
from app.tables.data import Example
from app.tables.jobs import Iteration, Job
from app.tables.overrides import Override
from app.tables.platform import ApiKey
from app.tables.rationales import Rationale
from star_engine.sampling.rationales import Rationale as Try
from star_engine.sampling.rationales import RationaleKey, Route


@dataclass(frozen=True, slots=True)
class Overrides:
    """The overrides that apply to a job, by example id and hash of the text."""

    newest: int  # row id, 0 if there is none: tells whether another one came since
    found: Mapping[tuple[str, str], Override]

    def of(self, tries: Iterable[Try]) -> dict[RationaleKey, Override]:
        """Which of these tries are judged otherwise."""
        reviewed = {example_id for example_id, _ in self.found}
        keyed = (
            (item.key, self.found.get((item.key.example_id, text_sha256(item.text))))
            for item in tries
            if item.key.example_id in reviewed
        )
        return {key: override for key, override in keyed if override is not None}


def text_sha256(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def override_verdict(
    session: Session, caller: Caller, job: Job, rationale: Rationale, verdict: str, reason: str
) -> Override:
    """Record a reviewer's verdict. Takes the job's lock: a training set is built before it or after it.

    Raises Conflict for a text of another dataset: the next iteration draws others, whatever is said of it.
    """
    if rationale.route == Route.MIXED:
        fix = "Upload that dataset again with the row corrected, or without it."
        raise Conflict(f"The text was mixed in from another dataset. {fix}", code="mixed_rationale")
    lock_job(session, job.id)
    key = session.get_one(ApiKey, caller.key_id)
    override = Override(
        job_id=job.id,
        rationale_id=rationale.id,
        example_id=rationale.example_id,
        text_sha256=text_sha256(rationale.text),
        verdict=verdict,
        reason=reason,
        key_id=key.id,
        reviewer=key.name,
        person=key.person,
    )
    session.add(override)
    session.flush()
    session.refresh(override)
    return override


def override_history(session: Session, job: Job, rationale: Rationale) -> Sequence[Override]:
    """All overrides of this text of this example that hold for the job, oldest first; the last one counts."""
    query = select(Override).where(
        Override.job_id.in_(lineage(session, job.id)),
        Override.example_id == rationale.example_id,
        Override.text_sha256 == text_sha256(rationale.text),
    )
    return session.scalars(query.order_by(Override.id)).all()


def read_overrides(session: Session, job_id: str) -> Overrides:
    """What reviewers of the job, and of those it was forked from, have said."""
    query = (
        select(Override, Example.external_id)
        .join(Example, Example.id == Override.example_id)
        .where(Override.job_id.in_(lineage(session, job_id)))
        .order_by(Override.id)
    )
    found = {(example_id, row.text_sha256): row for row, example_id in session.execute(query)}
    return Overrides(max((row.id for row in found.values()), default=0), found)


def newest_override(session: Session, job_id: str) -> int:
    query = select(func.max(Override.id)).where(Override.job_id.in_(lineage(session, job_id)))
    return session.scalar(query) or 0


def record_overruled(
    session: Session, row_ids: Mapping[RationaleKey, int], overrides: Mapping[RationaleKey, Override]
) -> None:
    """Write onto each overruled rationale which override decided: the lineage of its training row."""
    if overrides:
        rows = [{"id": row_ids[key], "override_id": override.id} for key, override in overrides.items()]
        session.execute(update(Rationale), rows)


def honoured_from(session: Session, job: Job) -> int | None:
    """Return the first iteration whose training set will apply an override made now; None if only
    a fork's will.
    """
    if job.status in TERMINAL:
        return None
    query = select(func.max(Iteration.number)).where(
        Iteration.job_id == job.id, Iteration.training_set_sha256.is_not(None)
    )
    following = (session.scalar(query) or 0) + 1
    return following if following <= job.config.iterations else None


def lineage(session: Session, job_id: str) -> list[str]:
    """The jobs whose overrides hold for this one: itself and those that it was forked from."""
    found: list[str] = []
    at: str | None = job_id
    while at is not None:
        found.append(at)
        at = session.scalar(select(Job.forked_from).where(Job.id == at))
    return found
