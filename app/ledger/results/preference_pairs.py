"""Preference pairs: recorded once per iteration, then what the reference model says of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.ledger.queue.steps import Claim, check_fence
from app.ledger.results.rationales import as_rationale, claimed_iteration, insert_once, storable
from app.ledger.transitions import lock_job
from app.tables.candidates import PreferencePair
from app.tables.data import Example
from app.tables.rationales import Rationale
from star_engine.sampling.rationales import RationaleKey, Route
from star_engine.training_set.pairs import PairRow, Tried, TryKey


def tries_so_far(session: Session, claim: Claim) -> Iterator[Tried]:
    """The tries without a hint of the claimed iteration and those before it."""
    query = (
        select(Rationale, Example.external_id)
        .join(Example, Example.id == Rationale.example_id)
        .where(Rationale.job_id == claim.job_id, Rationale.iteration_number <= claim.iteration)
        .where(Rationale.route == Route.GENERATED)
        .order_by(Rationale.iteration_number, Example.position, Rationale.sample)
        .execution_options(yield_per=1000)
    )
    for row, external_id in session.execute(query):
        yield Tried(row.iteration_number, as_rationale(row, external_id))


def recorded_pairs(session: Session, iteration_id: int) -> list[PairRow]:
    """The pairs of an iteration, by position."""
    query = (
        select(PreferencePair, Example.external_id)
        .join(Example, Example.id == PreferencePair.example_id)
        .where(PreferencePair.iteration_id == iteration_id)
        .order_by(PreferencePair.position)
    )
    return [_as_row(row, name) for row, name in session.execute(query)]


def record_pairs(
    session: Session,
    claim: Claim,
    rows: Sequence[PairRow],
    facts: Mapping[str, Any],
    row_ids: Mapping[str, int],
) -> None:
    """Record all pairs of the claimed iteration with their figures. Raises Fenced, and RuntimeError where an
    earlier attempt has recorded others.
    """
    lock_job(session, claim.job_id)
    check_fence(session, claim)
    iteration = claimed_iteration(session, claim)
    known = iteration.metrics.get("pairs", {}).get("sha256")
    if known not in (None, facts["sha256"]):
        raise RuntimeError(f"pairs {facts['sha256']} differ from the recorded {known}")
    values = [
        {
            "iteration_id": iteration.id,
            "position": row.position,
            "example_id": row_ids[row.chosen.key.example_id],
            "chosen_iteration": row.chosen.iteration,
            "chosen_sample": row.chosen.key.sample,
            "rejected_iteration": row.rejected.iteration,
            "rejected_sample": row.rejected.key.sample,
            "prompt": storable(row.prompt),
            "chosen": storable(row.chosen_text),
            "rejected": storable(row.rejected_text),
            "held_out": row.held_out,
            "weight": row.weight,
        }
        for row in rows
    ]
    if values:
        session.execute(insert_once(session, PreferencePair), values)
    iteration.metrics = {**iteration.metrics, "pairs": dict(facts)}


def record_references(session: Session, claim: Claim, found: Mapping[int, tuple[float, float]]) -> None:
    """Record what the reference model says of pairs, by position. Raises Fenced."""
    check_fence(session, claim)
    iteration = claimed_iteration(session, claim)
    query = select(PreferencePair.id, PreferencePair.position).where(
        PreferencePair.iteration_id == iteration.id,
        PreferencePair.position.between(min(found, default=0), max(found, default=0)),
    )
    rows = [
        {"id": row_id, "reference_chosen": found[at][0], "reference_rejected": found[at][1]}
        for row_id, at in session.execute(query)
        if at in found
    ]
    if rows:
        session.execute(update(PreferencePair), rows)


def _as_row(row: PreferencePair, name: str) -> PairRow:
    return PairRow(
        position=row.position,
        chosen=TryKey(row.chosen_iteration, RationaleKey(name, Route.GENERATED, row.chosen_sample)),
        rejected=TryKey(row.rejected_iteration, RationaleKey(name, Route.GENERATED, row.rejected_sample)),
        prompt=row.prompt,
        chosen_text=row.chosen,
        rejected_text=row.rejected,
        held_out=row.held_out,
        weight=row.weight,
        reference_chosen=row.reference_chosen,
        reference_rejected=row.reference_rejected,
    )
